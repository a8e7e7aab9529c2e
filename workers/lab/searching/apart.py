"""The budgets of a search shared out among processes, on one device each where there are several."""

from __future__ import annotations

import multiprocessing as mp
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, Queue

import torch

from pacer.settings import Settings
from workers.lab.loading import open_model
from workers.lab.meter import Meter
from workers.lab.searching.cost import budget_cost, expectation
from workers.lab.searching.found import Found
from workers.lab.searching.request import SearchRequest
from workers.lab.searching.run import SearchRun
from workers.lab.searching.search import search_of
from workers.lab.store import LabStore
from workers.models import choose_device

_LISTENING_S = 0.5

Chain = tuple[int, ...]
"""Budgets that one process searches in this order."""


@dataclass(frozen=True, slots=True)
class Errand:
    """What a process needs to search budgets on its own.

    Attributes:
        model: name or folder.
        settings: the device and its threads.
        prompts: a file of prompts, where the model needs one.
        request: of the whole search.
        data: the store's folder; teachers are read there and results left there.
        resume: take over what an interrupted run has found.
    """

    model: str
    settings: Settings
    prompts: Path | None
    request: SearchRequest
    data: Path
    resume: bool

    def parts(self, count: int) -> list[Errand]:
        """The same for each of so many processes: GPUs are dealt out in turn, threads of the CPU divided."""
        device = choose_device(self.settings.device)
        threads = max(1, (self.settings.torch_threads or torch.get_num_threads()) // count)
        gpus = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 0
        names = [f"cuda:{number % gpus}" if gpus else self.settings.device for number in range(count)]
        changes = [{"device": name, "torch_threads": threads} for name in names]
        return [replace(self, settings=self.settings.model_copy(update=change)) for change in changes]


def search_apart(run: SearchRun, errand: Errand, processes: int) -> None:
    """Search every budget of the request and leave what was found in the store, as `search_schedule` takes it over.

    Args:
        run: the same search in this process, which makes the teachers and shows the progress.
        errand: for the others.
        processes: how many.

    Raises:
        ValueError: a search whose budgets start from each other's results.
    """
    if not errand.request.learned:
        raise ValueError("processes: grids of a solver start from other budgets' grids; only --method pacer can share")
    run.meter.expect(expectation(run))
    run.calibration, run.validation  # noqa: B018 - the others read them from the store
    parts = chains(run.request.budgets, run.learning.grows)
    costs = {chain: sum(budget_cost(run, steps) for steps in chain) for chain in parts}
    run.meter.stage(f"budgets in {processes} processes", sum(costs.values()))
    dearest_first = sorted(costs, key=lambda chain: -costs[chain])
    context = mp.get_context("spawn")  # a process that has CUDA cannot fork
    with context.Manager() as manager, ProcessPoolExecutor(processes, mp_context=context) as pool:
        budgets, spent = manager.Queue(), manager.Queue()
        for chain in dearest_first:
            budgets.put(chain)
        _listen(
            [pool.submit(_search, part, budgets, spent) for part in errand.parts(processes)], budgets, spent, run.meter
        )


def chains(budgets: Sequence[int], grows: Callable[[int], bool]) -> list[Chain]:
    """The budgets, those together that go on from each other, and what the first of them goes on from.

    Args:
        budgets: rising.
        grows: whether a budget goes on from that of one step less.
    """
    found: list[Chain] = []
    for steps in budgets:
        if found and grows(steps) and found[-1][-1] == steps - 1:
            found[-1] = (*found[-1], steps)
        else:
            found.append((steps,))
    return found


def _listen(running: Sequence[Future[None]], budgets: Queue[Chain], spent: Queue[int], meter: Meter) -> None:
    """Show what the others spend until all are done; where one fails, no further budget is begun."""
    try:
        while not all(each.done() for each in running) or not spent.empty():
            with suppress(Empty):
                meter.add(spent.get(timeout=_LISTENING_S))
            for each in running:
                if each.done():
                    each.result()
    except BaseException:
        _emptied(budgets)
        raise


def _search(errand: Errand, budgets: Queue[Chain], spent: Queue[int]) -> None:
    """One process: chains of budgets as long as there are any."""
    lab = open_model(errand.model, errand.settings, errand.prompts)
    run = SearchRun(lab, errand.request, LabStore(errand.data), Meter(heard=spent.put))
    search = search_of(run)
    with suppress(Empty):
        while True:
            found: dict[int, Found] = {}
            for steps in budgets.get_nowait():
                found[steps] = search.budget(steps, found, resume=errand.resume)


def _emptied(queue: Queue[Chain]) -> None:
    with suppress(Empty):
        while True:
            queue.get_nowait()
