"""Pacer's schedules in a stock diffusers pipeline.

pipe.scheduler = PacerScheduler.from_registry("shapes-64/dpmpp-2m", 6)
image = pipe("a red circle on a white background", num_inference_steps=6).images[0]

A sampler is one table of numbers: the sample before evaluation k is X[k] @ H, H being the starting noise and every
output of the network so far, guidance included. So one class runs them all, formula solvers and learned ones. Learned
tables guide each row by a weight of its own, which the pipeline must be handed:

pipe.scheduler = PacerScheduler.from_registry("shapes-64/learned", 6)
image = pipe("a red circle on a white background", **pipe.scheduler.call_arguments(guidance_scale=1.5)).images[0]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin, SchedulerOutput
from torch import Tensor

from clients.row_guidance import row_scales, setting_each
from clients.schedule_file import Sampler, find_sampler, read_sampler


class PacerScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]  # diffusers has no types
    """Runs one table, in whatever pipeline gives each output of the network to `step`.

    All numbers stand in the configuration, so a pipeline saved with it holds the table.

    Args:
        sigmas: final noise levels, N + 1 for N steps.
        t: the network's own time of each evaluation, 0 to 1000, E of them.
        c: the scale of the network's input at each evaluation, E.
        X: the rows over [noise, y_0, ..., y_{E-1}], (E + 1) x (1 + E), lower-triangular.
        w: the relative guidance weight of each evaluation, E, >= 0; None is 1 for all, as the pipeline guides.
        name: model/solver/steps, for messages.
        weights_sha256: of the model that the table was made for; nothing here can check it.
        num_train_timesteps: of the model.
        use_flow_sigmas: true tells Flux pipelines to bring no sigmas of their own.

    Raises:
        ValueError: the numbers are no such table; the message names the field.
    """

    order = 1

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        sigmas: Sequence[float],
        t: Sequence[float],
        c: Sequence[float],
        X: Sequence[Sequence[float]],
        w: Sequence[float] | None = None,
        name: str = "table",
        weights_sha256: str | None = None,  # noqa: ARG002 - it and the next two stand in the configuration alone
        num_train_timesteps: int = 1000,  # noqa: ARG002
        use_flow_sigmas: bool = True,  # noqa: ARG002
    ) -> None:
        _check(sigmas, t, c, X)
        self._name, self._steps = name, len(sigmas) - 1
        self._scales = tuple(c)
        self._weights = _checked_weights(w, len(t))
        self._rows = torch.tensor(X, dtype=torch.float64).float()
        self.init_noise_sigma = float(X[0][0])
        self.set_timesteps(self._steps)

    @classmethod
    def from_registry(cls, schedule: str, steps: int | None = None, folders: Sequence[str | Path] = ()) -> Self:
        """An entry of the registry, read as data.

        Args:
            schedule: MODEL/SOLVER, MODEL/SOLVER/STEPS, or the path of a registry file (.json).
            steps: the budget, where `schedule` does not say it.
            folders: registry folders, before those of PACER_REGISTRY_DIR and the shipped one.

        Raises:
            ScheduleFileError: there is none, or it holds its sigmas alone.
            ValueError: it needs what a stock pipeline does not do.
        """
        return cls._of(find_sampler(schedule, steps, folders))

    @classmethod
    def from_file(cls, path: str | Path, steps: int | None = None) -> Self:
        """What `pacer schedules export ... --to json` wrote; raises as `from_registry`."""
        return cls._of(read_sampler(path, steps))

    @classmethod
    def _of(cls, sampler: Sampler) -> Self:
        if set(sampler.uncond) != {"fresh"} and (set(sampler.uncond) != {"skipped"} or any(sampler.w)):
            raise ValueError(
                f"{sampler.name}: rows reuse or skip the unconditional output, and a stock pipeline evaluates it on all"
            )
        if any(sampler.networks):
            raise ValueError(f"{sampler.name}: has rows for a smaller network, and a stock pipeline has one network")
        if sampler.base != ("noise",):
            raise ValueError(f"{sampler.name}: starts from {', '.join(sampler.base)}; only noise can be started from")
        made: Self = cls(
            sigmas=list(sampler.sigmas),
            t=list(sampler.t),
            c=list(sampler.c),
            X=[list(row) for row in sampler.X],
            w=list(sampler.w),
            name=sampler.name,
            weights_sha256=sampler.weights_sha256,
        )
        return made

    def call_arguments(self, guidance_scale: float, unguided_scale: float = 1.0) -> dict[str, Any]:
        """What the pipeline's call must be given, beside the prompt, to guide each row as the table says.

        Args:
            guidance_scale: the caller's G; row k is guided by u + w[k] (G - u).
            unguided_scale: u, the scale at which the pipeline does not guide: 1 of most, 0 of Z-Image.

        Returns:
            num_inference_steps, guidance_scale and, where rows have scales of their own, callback_on_step_end.

        Raises:
            ValueError: the scale is not finite, or a row's is one at which stock pipelines switch guidance off.
        """
        if not self._guides_rows:
            return {"num_inference_steps": self._steps, "guidance_scale": guidance_scale}
        scales = row_scales(self._weights, guidance_scale, unguided_scale, self._notice, self._name)
        arguments: dict[str, Any] = {"num_inference_steps": self._steps, "guidance_scale": scales[0]}
        if len(scales) > 1:
            arguments["callback_on_step_end"] = setting_each(scales, self._name)
        return arguments

    @property
    def _guides_rows(self) -> bool:
        return set(self._weights) != {1.0}

    def _notice(self, rows: range) -> None:
        """The pipeline guides these rows by the scale that is theirs."""
        self._guided = rows

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,  # noqa: ARG002 - some pipelines always give one; the sigmas are final
    ) -> None:
        """Begin a new picture; the grid is the table's own.

        Args:
            num_inference_steps: must be the table's steps; None takes them.
            device: where `timesteps` lie.
            sigmas: the table's own (without the last), or the equal steps from 1 that some pipelines send when their
                caller said nothing; anything else is refused.
            mu: a shift; not applied.

        Raises:
            ValueError: another number of steps, or other sigmas.
        """
        asked = num_inference_steps if sigmas is None else len(sigmas)
        if asked not in (None, self._steps):
            raise ValueError(
                f"{self._name} has {self._steps} steps, not {asked}; pass num_inference_steps={self._steps}"
            )
        if sigmas is not None:
            self._check_sigmas([float(sigma) for sigma in sigmas])
        self.num_inference_steps = self._steps
        self.sigmas = torch.tensor(self.config.sigmas, dtype=torch.float32)
        self.timesteps = torch.tensor(self.config.t, dtype=torch.float32, device=device)
        self._forget()

    def _check_sigmas(self, sigmas: Sequence[float]) -> None:
        placeholder = [1 - k * (1 - 1 / self._steps) / max(self._steps - 1, 1) for k in range(self._steps)]
        for allowed in (self.config.sigmas[:-1], placeholder):
            if all(math.isclose(a, b, rel_tol=1e-5) for a, b in zip(sigmas, allowed, strict=True)):
                return
        raise ValueError(f"{self._name} has sigmas of its own; its table cannot run others, so pass none")

    def _forget(self) -> None:
        self._step_index = 0
        self._history: Tensor | None = None
        self._given: Tensor | None = None
        self._guided = range(0)

    @property
    def step_index(self) -> int:
        """How many evaluations are done."""
        return self._step_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Pictures that start in the middle of the grid are refused: the rows hold from the noise on.

        Raises:
            ValueError: `begin_index` is not 0.
        """
        if begin_index:
            raise ValueError(f"{self._name} begins at pure noise; it cannot begin at step {begin_index}")

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor | None = None) -> Tensor:  # noqa: ARG002
        """What the network is fed, c x."""
        scale = self._scales[min(self._step_index, len(self._scales) - 1)]
        return sample if scale == 1 else sample * scale

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        return_dict: bool = True,  # noqa: FBT001, FBT002 - as every scheduler of diffusers has it
    ) -> SchedulerOutput | tuple[Tensor]:
        """The next sample; the history is kept in float32, whatever the network's dtype.

        Args:
            model_output: y_k, guided.
            timestep: t of this evaluation.
            sample: what the last call gave, at the first call the noise times init_noise_sigma.
            return_dict: whether to wrap the result, as in diffusers.

        Raises:
            ValueError: the calls are not one run over the table in its order, the sample was changed in between, or the
                output was not guided as `call_arguments` has it, where rows have weights of their own.
        """
        k = self._step_index
        if k >= len(self._scales):
            raise ValueError(f"{self._name}: all {k} evaluations are done; call set_timesteps for another picture")
        self._check_guided(k)
        history = self._history_before(k, timestep, sample)
        history[k + 1] = model_output
        row = self._rows[k + 1, : k + 2].to(history.device)
        following = torch.tensordot(row, history[: k + 2], dims=1).to(sample.dtype)
        self._step_index, self._given = k + 1, following
        if self._step_index == len(self._scales):
            self._history = None  # as large as the picture's latent times the evaluations
        return SchedulerOutput(prev_sample=following) if return_dict else (following,)

    def _check_guided(self, k: int) -> None:
        """Refuse an output that was guided by another scale than the row's; what was noticed counts once."""
        guided, self._guided = self._guided, range(0)
        if self._guides_rows and k not in guided:
            raise ValueError(
                f"{self._name} guides each row by a weight of its own, and row {k} was not guided so; call "
                "pipe(prompt, **pipe.scheduler.call_arguments(guidance_scale=G)), with a pipeline that multiplies by "
                "its own guidance_scale anew at each step (SD 1.5, SDXL and SD3 do; FLUX and Sana do not)"
            )

    def _history_before(self, k: int, timestep: float | Tensor, sample: Tensor) -> Tensor:
        """Noise and outputs, shape (1 + E, *latent), float32, once the call is known to be evaluation k."""
        if self._history is None or self._given is None:
            if not math.isclose(float(timestep), self.config.t[0], rel_tol=1e-5, abs_tol=1e-5):
                raise ValueError(f"{self._name} begins at time {self.config.t[0]:g}, not {float(timestep):g}")
            self._history = sample.new_zeros((1 + len(self._scales), *sample.shape), dtype=torch.float32)
            self._history[0] = sample / self.init_noise_sigma
        elif sample is not self._given and not torch.equal(sample, self._given):
            raise ValueError(f"{self._name}: the sample was changed before evaluation {k}; a table cannot follow that")
        return self._history


def _check(sigmas: Sequence[float], t: Sequence[float], c: Sequence[float], X: Sequence[Sequence[float]]) -> None:
    count = len(t)
    if count == 0 or len(c) != count:
        raise ValueError(f"t, c: must be equally long and not empty, have {count} and {len(c)}")
    if len(sigmas) < 2:
        raise ValueError(f"sigmas: must be at least 2, are {len(sigmas)}")
    if len(X) != count + 1 or {len(row) for row in X} != {count + 1}:
        raise ValueError(f"X: must have {count + 1} rows of {count + 1} numbers for {count} evaluations")
    if not all(map(math.isfinite, (*sigmas, *t, *c, *(value for row in X for value in row)))):
        raise ValueError("sigmas, t, c, X: must be finite")
    if any(value for k, row in enumerate(X) for value in row[k + 1 :]):
        raise ValueError("X: a row uses an output that is not there yet; it must be lower-triangular")
    if X[0][0] <= 0:
        raise ValueError(f"X[0][0]: the scale of the starting noise must be > 0, is {X[0][0]}")


def _checked_weights(w: Sequence[float] | None, count: int) -> tuple[float, ...]:
    weights = (1.0,) * count if w is None else tuple(w)
    if len(weights) != count or not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise ValueError(f"w: must be {count} finite numbers >= 0, one for each evaluation, are {list(weights)}")
    return weights
