"""The six tasks of GenEval (arXiv 2310.11513), asked of shapes-64 and judged by its recogniser."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workers.shapes.language import Kind, Prompt, Relation, sample_prompts
from workers.shapes.recognise import Reading, Seen, read

Task = Literal["single object", "two objects", "counting", "colours", "position", "attribute binding"]

TASKS: dict[Task, Kind] = {
    "single object": "one",
    "two objects": "pair",
    "counting": "count",
    "colours": "one",
    "position": "pair",
    "attribute binding": "pair",
}
"""Each task and the kind of prompt it is asked with."""


def task_prompts(count: int, seed: int, *, held_out: bool = True) -> list[tuple[Task, Prompt]]:
    """Prompts for all six tasks in turn.

    Args:
        count: prompts in all.
        seed: the same seed gives the same prompts.
        held_out: from the prompts that training never saw, or from those that it did.
    """
    per_task = -(-count // len(TASKS))
    columns = [
        [(task, prompt) for prompt in sample_prompts(per_task, seed * 100 + i, held_out=held_out, kinds=(kind,))]
        for i, (task, kind) in enumerate(TASKS.items())
    ]
    return [pair for row in zip(*columns, strict=True) for pair in row][:count]


def passes(task: Task, prompt: Prompt, reading: Reading) -> bool:
    """Whether a reading fulfils what the task asks of the prompt. Surplus or missing things fail every task."""
    if len(reading.things) != len(prompt.things):
        return False
    if _shapes(reading.things) != Counter(thing.shape for thing in prompt.things):
        return False
    match task:
        case "single object" | "two objects" | "counting":
            return True
        case "colours" | "attribute binding":
            return Counter((seen.colour, seen.shape) for seen in reading.things) == Counter(
                (thing.colour, thing.shape) for thing in prompt.things
            )
        case "position":
            return _related(prompt, reading.things)


def _shapes(things: Iterable[Seen]) -> Counter[str | None]:
    return Counter(seen.shape for seen in things)


def _related(prompt: Prompt, things: Sequence[Seen]) -> bool:
    """The relation holds for some assignment of the seen things to the named ones that respects their shapes."""
    assert prompt.relation is not None
    wanted = [thing.shape for thing in prompt.things]
    colours = [thing.colour for thing in prompt.things]
    orders = [(a, b) for a, b in ((things[0], things[1]), (things[1], things[0])) if [a.shape, b.shape] == wanted]
    if len(orders) == 2:  # two equal shapes are told apart by colour
        orders = [order for order in orders if [seen.colour for seen in order] == colours] or orders
    return any(_holds(prompt.relation, a, b) for a, b in orders)


def _holds(relation: Relation, a: Seen, b: Seen) -> bool:
    along, across = {
        "left of": (b.x - a.x, b.y - a.y),
        "right of": (a.x - b.x, b.y - a.y),
        "above": (b.y - a.y, b.x - a.x),
        "below": (a.y - b.y, b.x - a.x),
    }[relation]
    return along > abs(across)


def score(tasks: Sequence[tuple[Task, Prompt]], pictures: NDArray[np.uint8]) -> dict[str, float]:
    """Share of pictures that pass, by task and over all ("overall": the mean of the tasks, as GenEval has it).

    Args:
        tasks: what was asked of each picture.
        pictures: shape (n, 64, 64, 3), uint8 sRGB.
    """
    results: dict[str, list[bool]] = {}
    for (task, prompt), pixels in zip(tasks, pictures, strict=True):
        results.setdefault(task, []).append(passes(task, prompt, read(pixels)))
    shares = {task: float(np.mean(passed)) for task, passed in results.items()}
    return {**shares, "overall": float(np.mean(list(shares.values())))}
