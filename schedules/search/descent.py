"""Gradient descent on a student's final error, through its whole rollout.

The loss is the error of the student's result against the teacher's from nearly the same noise: the student may begin
anywhere in a small ball around the teacher's noise ("soft teacher forcing", Tong et al. 2024, section 3.2), which keeps
seeds at a border between two pictures from pulling all others with them. Errors are mean squares of what a split's view
shows of the results, decoded pictures before rounding for instance, or of the latents where there is no view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from schedules.noise import FLOW
from schedules.search.evaluate import pool
from schedules.search.method import Sampler
from schedules.search.problem import SearchProblem
from schedules.search.refine import Split
from schedules.search.teacher import Teacher

_FLOOR = 1e-10
_STRIDE = 0.25
_DECAY = 0.8


@dataclass(frozen=True, eq=False)
class Student:
    """A sampler under training.

    Attributes:
        sigmas: noise levels, shape (steps + 1,), float64.
        rows: X of its table, shape (steps + 1, 1 + steps), float64.
        told: the noise levels that the network is told, shape (steps,), float64.
    """

    sigmas: Tensor
    rows: Tensor
    told: Tensor

    def sampler(self) -> Sampler:
        """What it has become."""
        sigmas, rows, told = (value.detach().numpy() for value in (self.sigmas, self.rows, self.told))
        return Sampler.learned(sigmas, rows, FLOW.time(told))


Build = Callable[[], Student]
"""From the parameters, as they are now, to the student."""

Rates = Callable[[int], Sequence[float]]
"""From the number of a round, from 0, to the rates of the optimiser's groups of parameters."""


@dataclass(frozen=True, slots=True)
class DescentOptions:
    """Switches of the descent.

    Attributes:
        seeds: how many of the calibration seeds are used, None for all; a quarter of them decides when to stop.
        batch: seeds in one gradient step.
        each: training seeds of a round, all of them if there are fewer; the next round goes on with others.
        radius: of the ball around the teacher's noise, root mean square over the elements; None for the published
            0.001 sqrt(D) / steps^2 with D elements, 0 for none at all.
        log: the logarithm of each seed's mean squared error as loss, so that a few seeds do not decide all.
        seed: of the order of the batches.
    """

    seeds: int | None = None
    batch: int = 4
    each: int | None = None
    radius: float | None = None
    log: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seeds is not None and self.seeds < 2:
            raise ValueError(f"seeds: must be at least 2, is {self.seeds}")
        for name in ("batch", "each"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name}: must be at least 1, is {value}")
        if self.radius is not None and self.radius < 0:
            raise ValueError(f"radius: must not be negative, is {self.radius}")

    def shares(self, seeds: int) -> tuple[int, int]:
        """How many of so many calibration seeds are trained on, and how many decide when to stop."""
        count = min(self.seeds or seeds, seeds)
        training = max(1, count - max(1, count // 4))
        return training, count - training


class Descent:
    """The seeds of a descent, and where the student begins on each of them.

    Args:
        teacher: the seeds' results.
        problem: the seeds; gradients must pass through its network.
        steps: of the student.
        options: the switches.
        calibration: where the results of these seeds are compared, which gradients must pass through as well; in
            latents by default.
    """

    def __init__(
        self,
        teacher: Teacher,
        problem: SearchProblem,
        steps: int,
        options: DescentOptions | None,
        calibration: Split | None = None,
    ) -> None:
        self._options = options or DescentOptions()
        self._training, validation = self._options.shares(problem.seeds_count)
        self._split = (calibration or Split(problem, teacher.final, floor=_FLOOR)).take(self._training + validation)
        self._problem = self._split.problem.differentiable()
        size = problem.noise[0].numel() ** 0.5
        published = 0.001 * size / steps**2
        self._radius = size * (published if self._options.radius is None else self._options.radius)
        self._moved = torch.zeros_like(self._problem.noise)
        self._generator = torch.Generator().manual_seed(self._options.seed)
        self._waiting = torch.empty(0, dtype=torch.int64)

    def run(
        self,
        build: Build,
        parameters: Sequence[Tensor],
        optimiser: torch.optim.Optimizer,
        rounds: int,
        rates: Rates | None = None,
    ) -> None:
        """Go over the training seeds `rounds` times; leaves the parameters where the validation seeds liked them best.

        Args:
            build: makes the student of the parameters.
            parameters: those that move; the optimiser's.
            optimiser: how.
            rounds: passes over the training seeds, or over as many of them as the options say.
            rates: the optimiser's in each round; by default its own, which fall by a fifth after a round without gain.
        """
        for parameter in parameters:
            parameter.requires_grad_()
        best, kept = self.validation_error(build), [p.detach().clone() for p in parameters]
        for number in range(rounds):
            if rates:
                _set_rates(optimiser, rates(number))
            for seeds in self._next().split(self._options.batch):
                self._step(build, parameters, optimiser, seeds)
            error = self.validation_error(build)
            if error < best:
                best, kept = error, [p.detach().clone() for p in parameters]
            elif not rates:
                _slow_down(optimiser)
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.requires_grad_(False).copy_(value)

    def validation_error(self, build: Build) -> float:
        """Pooled final error on the seeds that are not trained on, from the teacher's very noise."""
        seeds = torch.arange(self._training, self._problem.seeds_count)
        with torch.no_grad():
            return float(self._loss(build(), self._problem.noise[seeds], seeds))

    def _next(self) -> Tensor:
        """The training seeds of a round; in random order, and again when fewer than a round's are left."""
        each = min(self._options.each or self._training, self._training)
        if len(self._waiting) < each:
            self._waiting = torch.randperm(self._training, generator=self._generator)
        seeds, self._waiting = self._waiting[:each], self._waiting[each:]
        return seeds

    def _step(
        self, build: Build, parameters: Sequence[Tensor], optimiser: torch.optim.Optimizer, seeds: Tensor
    ) -> None:
        noise = self._problem.noise[seeds] + self._moved[seeds]
        noise.requires_grad_(self._radius > 0)
        wanted = [*parameters, noise] if self._radius > 0 else list(parameters)
        loss = self._loss(build(), noise, seeds)
        if not loss.requires_grad:
            raise ValueError("calibration: its view lets no gradients through")
        gradients = torch.autograd.grad(loss, wanted)
        for parameter, gradient in zip(parameters, gradients, strict=False):
            parameter.grad = gradient.nan_to_num(0.0, 0.0, 0.0)  # one seed's overflow must not end the descent
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        if self._radius > 0:
            self._move(seeds, gradients[-1])

    def _move(self, seeds: Tensor, gradient: Tensor) -> None:
        """Move the student's noise downhill by a quarter of the radius, and back into the ball."""
        downhill = -gradient / _norms(gradient)
        moved = self._moved[seeds] + _STRIDE * self._radius * downhill
        self._moved[seeds] = moved * (self._radius / _norms(moved)).clamp_max(1.0)

    def _loss(self, student: Student, noise: Tensor, seeds: Tensor) -> Tensor:
        final = roll_out_rows(self._problem, student, noise, seeds)
        errors = (self._split.view(final) - self._split.target[seeds]).square().flatten(1).mean(1)
        return (errors + self._split.floor).log().mean() if self._options.log else pool(errors)


def roll_out_rows(problem: SearchProblem, student: Student, noise: Tensor, seeds: Tensor) -> Tensor:
    """Draw some seeds with a student, differentiable in its rows, its times and the noise where the problem is.

    Memory: steps + 1 samples and as many outputs for each seed, and the network's own for one call.

    Args:
        problem: the network.
        student: the sampler.
        noise: starting noises, shape (B, *latent).
        seeds: which seeds of the problem they belong to, shape (B,), int64.
    """
    rows, times = student.rows.to(noise.dtype).to(noise.device), problem.time_scale * student.told.to(noise.dtype)
    history = [noise]
    for k in range(len(times)):
        x = _mix(rows[k], history)
        history.append(problem.output(x, times[k].expand(len(x)), seeds, problem.guidance_scale))
    return _mix(rows[-1], history)


def _mix(row: Tensor, history: Sequence[Tensor]) -> Tensor:
    x = row[0] * history[0]
    for weight, output in zip(row[1:], history[1:], strict=False):
        x = x + weight * output
    return x


def _norms(latents: Tensor) -> Tensor:
    """The norm of each seed's latent, never 0, shape (B, 1, ...)."""
    norms: Tensor = torch.linalg.vector_norm(latents.flatten(1), dim=1)
    return norms.clamp_min(1e-20).reshape(-1, *(1,) * (latents.ndim - 1))


def _slow_down(optimiser: torch.optim.Optimizer) -> None:
    for group in optimiser.param_groups:
        group["lr"] *= _DECAY


def _set_rates(optimiser: torch.optim.Optimizer, rates: Sequence[float]) -> None:
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate
