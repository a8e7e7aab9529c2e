"""What a search is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from schedules.artefact import LEARNED, Schedule
from schedules.compile import SOLVERS
from schedules.grids import GRIDS
from schedules.search.oss import Cost
from workers.lab.searching import baselines

Measure = Literal["pixels", "latents"]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One search.

    Attributes:
        solver: whose grids are searched, one of SOLVERS for flow models, or LEARNED.
        budgets: numbers of steps, rising; with `placement`, of the network's evaluations for one image.
        guidance_scale: at which the schedules will be used.
        guidance_range: least and most scale that the schedules should serve; checked, and narrowed where they fail;
            None serves the searched scale alone.
        seeds: for calibration.
        validation: seeds that choose.
        held_out: seeds for the evidence.
        seed_offset: moves all three sets of seeds.
        grid: intervals of the grid that paths are searched on.
        path_budget: most steps of the path search; larger budgets start from the curve of the one before.
        path_seeds: calibration seeds that it pools its cost over.
        teacher_steps: Euler steps of the teacher, a multiple of the grid.
        refine: network evaluations to refine one budget with, per calibration seed.
        screen: calibration seeds that choose among starting grids.
        cost: what the path search ranks by.
        free_start: let grids begin below sigma 1.
        measure: refine and choose by the error of decoded pixels, as evidence has it, or of latents.
        log: pool errors by the geometric mean, that is, rank by mean PSNR.
        baselines: grids to compare with under the same solver; "SOLVER GRID" where coefficients are searched.
        batch: most rows in one call of the network.
        placement: search too at which rows guidance is evaluated, its cost counted in evaluations.
        start: what was found before, to go on from.
        grids: names of those that baselines may be on; a flow's by default.
    """

    solver: str
    budgets: tuple[int, ...]
    guidance_scale: float
    guidance_range: tuple[float, float] | None = None
    seeds: int = 64
    validation: int = 64
    held_out: int = 128
    seed_offset: int = 0
    grid: int = 20
    path_budget: int = 6
    path_seeds: int = 32
    teacher_steps: int = 100
    refine: int = 60
    screen: int = 12
    cost: Cost = "x0"
    free_start: bool = False
    measure: Measure = "pixels"
    log: bool = True
    baselines: tuple[str, ...] = baselines.FLOW
    batch: int = 128
    # Searches are kept under the name of what they had before these.
    placement: bool = field(default=False, repr=False)
    start: Schedule | None = field(default=None, repr=False)
    smaller: str | None = field(default=None, repr=False)
    grids: tuple[str, ...] = field(default=tuple(GRIDS), repr=False)

    def __post_init__(self) -> None:
        if self.solver not in (*SOLVERS, LEARNED):
            raise ValueError(f"solver: must be one of {', '.join((*SOLVERS, LEARNED))}, is {self.solver!r}")
        if not self.budgets or list(self.budgets) != sorted(set(self.budgets)) or self.budgets[0] < 1:
            raise ValueError(f"budgets: must rise from 1 or more without repeats, are {self.budgets}")
        low, high = self.guidance_range or (self.guidance_scale, self.guidance_scale)
        if not 1 <= low <= self.guidance_scale <= high:
            raise ValueError(f"guidance_range: must enclose {self.guidance_scale:g} from 1 up, is {low:g} to {high:g}")
        if not 1 <= self.path_budget <= self.grid:
            raise ValueError(f"path_budget: must be in 1..{self.grid} (the grid's intervals), is {self.path_budget}")
        if self.teacher_steps % self.grid:
            raise ValueError(f"teacher_steps: must be a multiple of the grid's {self.grid}, is {self.teacher_steps}")
        self._check_seeds()
        if not self.baselines:
            raise ValueError("baselines: must name at least one grid")
        for name in self.baselines:
            self.baseline(name)
        self._check_placement()
        self._check_start()

    def _check_seeds(self) -> None:
        for name in ("seeds", "validation", "held_out"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, is {getattr(self, name)}")
        for name in ("screen", "path_seeds"):
            if not 1 <= getattr(self, name) <= self.seeds:
                raise ValueError(f"{name}: must be in 1..{self.seeds} (the seeds), is {getattr(self, name)}")

    def _check_placement(self) -> None:
        if self.placement and (not self.learned or self.guidance_scale == 1):
            raise ValueError("placement: needs learned coefficients and a guidance scale above 1")
        if self.smaller is not None and not self.placement:
            raise ValueError("smaller: needs placement, whose budgets count evaluations")
        if self.placement and self.budgets[0] < 2:
            raise ValueError(f"evaluations: must be at least 2, one guided step, are {self.budgets}")

    def _check_start(self) -> None:
        if self.start is None:
            return
        if not self.learned or self.placement or self.start.solver != LEARNED:
            raise ValueError("start: only learned coefficients can be gone on from, with guidance where it is")
        before = float(self.start.provenance.parameters["guidance_scale"])
        if before != self.guidance_scale:
            raise ValueError(f"start: was searched at guidance scale {before:g}, not at {self.guidance_scale:g}")
        if missing := [steps for steps in self.budgets if self.start.entry(steps) is None]:
            raise ValueError(f"start: has no schedule for {', '.join(map(str, missing))} steps")

    @property
    def learned(self) -> bool:
        """Whether the coefficients are searched too."""
        return self.solver == LEARNED

    @property
    def unit(self) -> str:
        """What budgets count."""
        return "evaluations" if self.placement else "steps"

    def baseline(self, name: str) -> tuple[str, str]:
        """The solver and the grid of a baseline.

        Raises:
            ValueError: there is no such solver or grid.
        """
        solver, _, grid = name.rpartition(" ") if self.learned else (self.solver, " ", name)
        if solver not in SOLVERS or grid not in self.grids:
            form = "SOLVER GRID" if self.learned else "GRID"
            raise ValueError(f"baselines: must be {form}, with a grid of {', '.join(self.grids)}; {name!r} is not")
        return solver, grid

    def in_order(self) -> tuple[int, ...]:
        """The budgets as they are searched: with learned coefficients they rise, grids begin with their anchors."""
        if self.learned:
            return self.budgets
        return tuple(sorted(self.budgets, key=lambda steps: (not self.is_anchor(steps), steps)))

    def is_anchor(self, steps: int) -> bool:
        """Whether a budget is searched on its own: all up to 8, even ones up to 16, every fourth up to 32, and so on.

        The budgets between two anchors take the mean of their curves; without both neighbours they are anchors too.
        """
        return self.neighbours(steps) is None

    def neighbours(self, steps: int) -> tuple[int, int] | None:
        """The anchors next to a budget that lies between two of the requested ones."""
        stride = 2 ** max(0, steps.bit_length() - 3)
        low = steps // stride * stride
        if low == steps or not {low, low + stride} <= set(self.budgets):
            return None
        return low, low + stride


def parse_budgets(text: str, name: str = "budgets") -> tuple[int, ...]:
    """Read "1-20", "4,6,10" or a mixture.

    Args:
        text: what was written.
        name: of the option.

    Raises:
        ValueError: it is not that.
    """
    budgets: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
            raise ValueError(f"{name}: must be like 1-20 or 4,6,10, all at least 1, is {text!r}")
        budgets |= set(range(int(first), int(last) + 1))
    return tuple(sorted(budgets))


def parse_range(text: str) -> tuple[float, float]:
    """Read "1,4".

    Raises:
        ValueError: it is not two numbers.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"guidance_range: must be two numbers, such as 1,4, is {text!r}") from error
    return low, high
