"""Draws the paths of docs/schedules.md: exact ones of a 2-D mixture, and what five evaluations make of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from schedules.compile import compile_table
from schedules.grids import shifted
from schedules.search.analytic import MixtureFlow, gaussian_mixture, mixture_problem, reference, trajectory
from schedules.search.pacer import search_pacer
from schedules.search.problem import SearchProblem
from schedules.search.rollout import roll_out
from schedules.search.teacher import run_teacher
from schedules.table import Table

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "paths.png"
STEPS = 5
_SHOWN, _MEASURED, _SEARCHED = 16, 512, 384
_OTHER_SEEDS = 50_000
_STOCK = tuple(product(("ab2", "unipc-2", "dpmpp-2m", "deis-2"), (1.0, 1.5, 2.0, 3.0)))
_EXACT, _DRAWN, _MISSED, _CENTRES = "#9ca3af", "#1d4ed8", "#dc2626", "#fde68a"


def tables(flow: MixtureFlow) -> Mapping[str, Table]:
    """The samplers to compare, each with five evaluations; chosen and searched on seeds that nothing else uses."""
    problem = mixture_problem(flow, _SEARCHED)
    found = search_pacer(run_teacher(problem, 96, nodes=48), problem, (STEPS,))[STEPS]
    stock = {
        f"{solver}, shift {shift:g}": compile_table(solver, shifted(STEPS, shift), "flow") for solver, shift in _STOCK
    }
    best = min(stock, key=lambda name: _misses(flow, problem, stock[name]))
    return {
        "euler, uniform": compile_table("euler", shifted(STEPS, 1.0), "flow"),
        f"{best} (the best stock one)": stock[best],
        "pacer": found.table,
    }


def _misses(flow: MixtureFlow, problem: SearchProblem, table: Table) -> float:
    """How far a sampler's ends are off, the median over the seeds."""
    return float((roll_out(problem, table).final.double() - reference(flow, problem.noise)).norm(dim=1).median())


def states(table: Table, history: Tensor) -> Tensor:
    """The samples that a table goes through, shape (E + 1, M, D)."""
    return torch.einsum("kj,jmd->kmd", torch.tensor(table.X), history.double())


def draw(axes: Axes, flow: MixtureFlow, name: str, table: Table, exact: Tensor) -> None:
    """One panel: the exact paths, the sampler's, and how far its ends are off."""
    shown = mixture_problem(flow, _SHOWN, seed_offset=_OTHER_SEEDS)
    measured = mixture_problem(flow, _MEASURED, seed_offset=_OTHER_SEEDS)
    drawn = roll_out(shown, table)
    off = _misses(flow, measured, table)
    for centre in flow.means.numpy():
        axes.add_patch(Circle((centre[0], centre[1]), 2 * flow.spread, color=_CENTRES, linewidth=0))
    for seed in range(_SHOWN):
        axes.plot(*exact[:, seed].T.numpy(), color=_EXACT, linewidth=1)
        axes.plot(*states(table, drawn.history)[:, seed].T.numpy(), ".-", color=_DRAWN, linewidth=0.8, markersize=4)
        ends = np.stack([exact[-1, seed].numpy(), drawn.final[seed].double().numpy()])
        axes.plot(*ends.T, color=_MISSED, linewidth=1.5)
    axes.set_title(f"{name}\nends off by {off:.2g} (median of {_MEASURED})", loc="left", fontsize=10)
    axes.set(aspect="equal", xticks=[], yticks=[])


def main(path: Path = PICTURE) -> None:
    """Draw the picture."""
    flow = gaussian_mixture(dimensions=2, components=6, spread=0.12, seed=5)
    noise = mixture_problem(flow, _SHOWN, seed_offset=_OTHER_SEEDS).noise
    exact = trajectory(flow, noise, np.linspace(1.0, 0.0, 101), substeps=8)
    samplers = tables(flow)
    figure = Figure(figsize=(4 * len(samplers), 3.5), layout="constrained")
    for axes, (name, table) in zip(figure.subplots(1, len(samplers)), samplers.items(), strict=True):
        draw(axes, flow, name, table, exact)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
