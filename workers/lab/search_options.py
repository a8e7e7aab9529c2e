"""What `pacer schedules search` can be told, and the request that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from schedules.artefact import LEARNED, Schedule, check_variant, read
from schedules.compile import SOLVERS
from schedules.registry import SHIPPED
from workers.lab.misfit import misfit
from workers.lab.model import LabModel
from workers.lab.options import DATA, Batch, DataFolder, Guidance, OutFolder, PromptFile, TeacherSteps
from workers.lab.searching.baselines import usual_baselines
from workers.lab.searching.request import SearchRequest, parse_budgets, parse_range

_DEFAULT = SearchRequest("euler", (1,), 1.0)
_SEEDS, _SEEDS_LEARNED = 64, 256
_PLACED, _PLACED_VARIANT, _SIZED_VARIANT = "8,10,12,15,20", "placed", "sized"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """The options as they are written; each says its meaning.

    Raises:
        ValueError: two of them contradict each other, or the budgets or the variant are malformed.
    """

    model: Annotated[
        str | None, typer.Option(help="A shipped model, digits-8 or a local folder; the first served.")
    ] = None
    method: Annotated[
        Literal["grid", "pacer"], typer.Option(help="Search the noise levels of a solver, or coefficients with them.")
    ] = "grid"
    solver: Annotated[str | None, typer.Option(help=f"Whose grids: {', '.join(SOLVERS)}; euler by default.")] = None
    variant: Annotated[
        str | None,
        typer.Option(help="A word, such as g3, for a further artefact; placed with --placement, sized with --smaller."),
    ] = None
    budgets: Annotated[str, typer.Option(help="Numbers of steps, such as 1-20 or 4,6,10.")] = "1-20"
    placement: Annotated[
        bool, typer.Option(help="With --method pacer: search at which rows guidance is evaluated, too.")
    ] = False
    smaller: Annotated[
        str | None, typer.Option(help="With --placement: one of the model's smaller networks, that rows may run.")
    ] = None
    evaluations: Annotated[
        str | None, typer.Option(help=f"Network evaluations, with --placement instead of budgets; {_PLACED}.")
    ] = None
    guidance: Guidance = None
    guidance_range: Annotated[
        str | None, typer.Option(help="Scales to serve, such as 1,4; checked, and narrowed where it fails.")
    ] = None
    seeds: Annotated[
        int | None, typer.Option(help=f"Calibration seeds; {_SEEDS}, with --method pacer {_SEEDS_LEARNED}.")
    ] = None
    validation: Annotated[int, typer.Option(help="Seeds that choose between what was found.")] = _DEFAULT.validation
    held_out: Annotated[int, typer.Option(help="Seeds of the evidence.")] = _DEFAULT.held_out
    seed_offset: Annotated[int, typer.Option(help="Moves all seeds and prompts.")] = 0
    grid: Annotated[int, typer.Option(help="Intervals of the grid that paths are searched on.")] = _DEFAULT.grid
    path_budget: Annotated[int, typer.Option(help="Most steps of the path search.")] = _DEFAULT.path_budget
    teacher_steps: TeacherSteps = _DEFAULT.teacher_steps
    refine: Annotated[int, typer.Option(help="Evaluations per seed to refine a budget with.")] = _DEFAULT.refine
    screen: Annotated[int, typer.Option(help="Calibration seeds that choose among starts.")] = _DEFAULT.screen
    cost: Annotated[Literal["x0", "x"], typer.Option(help="What paths are ranked by.")] = _DEFAULT.cost
    pooling: Annotated[Literal["log", "mean"], typer.Option(help="Geometric or plain mean over seeds.")] = "log"
    measure: Annotated[Literal["pixels", "latents"], typer.Option(help="Whose error to refine.")] = _DEFAULT.measure
    free_start: Annotated[bool, typer.Option(help="Let grids begin below pure noise.")] = False
    baselines: Annotated[
        str | None, typer.Option(help='Grids to compare with; pairs such as "ab2 shift3" for --method pacer.')
    ] = None
    prompts: PromptFile = None
    batch: Batch = _DEFAULT.batch
    start: Annotated[
        Path | None,
        typer.Option(help="With --method pacer: an artefact to go on from; give other seeds by --seed-offset."),
    ] = None
    processes: Annotated[
        int, typer.Option(min=1, help="With --method pacer: budgets are shared out among them, GPUs in turn.")
    ] = 1
    resume: Annotated[bool, typer.Option(help="Go on with an interrupted search.")] = False
    out: OutFolder = SHIPPED
    report: Annotated[
        Path | None, typer.Option(help="Page to write, with a .json beside it; out/search-MODEL-SOLVER.html.")
    ] = None
    data: DataFolder = DATA

    def __post_init__(self) -> None:
        if self.learned and self.solver not in (None, LEARNED):
            raise ValueError(f"solver: --method pacer learns its own, called {LEARNED!r}; leave {self.solver!r} out")
        if self.placement and not self.learned:
            raise ValueError("placement: only --method pacer searches where guidance is evaluated")
        if self.evaluations is not None and not self.placement:
            raise ValueError("evaluations: only --placement counts them; --budgets counts steps")
        if self.variant is not None:
            check_variant(self.variant)
        self.wanted()  # malformed ones are told before a model has taken its seconds to load

    @property
    def learned(self) -> bool:
        """Whether coefficients are searched."""
        return self.method == "pacer"

    def wanted(self) -> tuple[int, ...]:
        """Budgets of steps, or of evaluations where guidance is placed."""
        if self.placement:
            return parse_budgets(self.evaluations or _PLACED, "evaluations")
        return parse_budgets(self.budgets)

    def request(self, lab: LabModel) -> SearchRequest:
        """What is asked for of a model.

        Raises:
            ValueError: it is not possible with this model, or at all.
        """
        _check_placeable(lab, placement=self.placement)
        usual = _SEEDS_LEARNED if self.learned else _SEEDS
        seeds = usual if self.seeds is None else self.seeds
        return SearchRequest(
            LEARNED if self.learned else self.solver or "euler", self.wanted(),
            lab.guidance_scale if self.guidance is None else self.guidance,
            guidance_range=None if self.guidance_range is None else parse_range(self.guidance_range),
            seeds=seeds, validation=self.validation, held_out=self.held_out, seed_offset=self.seed_offset,
            grid=self.grid, teacher_steps=self.teacher_steps, refine=self.refine, screen=min(seeds, self.screen),
            path_seeds=min(seeds, _DEFAULT.path_seeds), path_budget=min(self.grid, self.path_budget), cost=self.cost,
            free_start=self.free_start, measure=self.measure, log=self.pooling == "log",
            baselines=self._baselines(lab), batch=self.batch, placement=self.placement, start=_start(self.start, lab),
            smaller=_smaller(self.smaller, lab), grids=lab.native.grids,
        )  # fmt: skip

    def variant_of(self, request: SearchRequest) -> str | None:
        """What the artefact is called beside its solver."""
        if self.variant is not None:
            return self.variant
        if request.smaller is not None:
            return _SIZED_VARIANT
        if request.placement:
            return _PLACED_VARIANT
        return None if request.start is None else request.start.variant

    def _baselines(self, lab: LabModel) -> tuple[str, ...]:
        return tuple(self.baselines.split(",")) if self.baselines else usual_baselines(lab.native, learned=self.learned)


def _check_placeable(lab: LabModel, *, placement: bool) -> None:
    """Refuse to place guidance on an epsilon or v model.

    Raises:
        ValueError: its reused unconditional outputs would stand for other velocities than those searched with.
    """
    if placement and lab.native.noise is not None:
        raise ValueError(f"placement: needs a flow model; {lab.name} predicts {lab.native.prediction}")


def _smaller(name: str | None, lab: LabModel) -> str | None:
    """One of the model's smaller networks.

    Raises:
        ValueError: it has none of this name.
    """
    if name is not None and name not in lab.smaller:
        raise ValueError(f"smaller: {lab.name} has no network {name!r}; it has {', '.join(lab.smaller) or 'none'}")
    return name


def _start(path: Path | None, lab: LabModel) -> Schedule | None:
    """What to go on from.

    Raises:
        ValueError: it is another model's.
    """
    if path is None:
        return None
    schedule = read(path)
    if wrong := misfit(schedule, lab):
        raise ValueError(f"start: {path} is not for {lab.name}: {wrong}")
    return schedule
