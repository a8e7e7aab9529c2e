"""How a flow is trained, and how one was: the recipe, and the stages that a checkpoint tells of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class FlowRecipe:
    """How the flow is trained."""

    steps: int = 9_500
    batch_size: int = 64
    peak_rate: float = 2.5e-3
    warmup_steps: int = 100
    fall_share: float = 0.3
    """Last share of the steps, in which the rate falls linearly to zero."""
    prompt_dropout: float = 0.1
    count_share: float = 0.3
    """Share of counting prompts in a batch; how many there are is learned last."""
    sigma_mean: float = 0.3
    """Of the logit-normal noise levels; more than 0 dwells on high noise, where the layout is decided."""
    average_decay: float = 0.998
    width: int = 128
    layers: int = 7

    def rate(self, step: int) -> float:
        """Learning rate of a step: warm-up, plateau, fall."""
        warm = (step + 1) / self.warmup_steps
        fall = (self.steps - step) / (self.fall_share * self.steps)
        return self.peak_rate * min(1.0, warm, fall)


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a training that was run with one recipe, up to where the next one begins.

    Attributes:
        first_step: finished steps when it began.
        pictures: pictures in the pool.
        recipe: what it was run with.
    """

    first_step: int
    pictures: int
    recipe: FlowRecipe

    def command(self, vae_steps: int) -> str:
        """The command that trains so from nothing."""
        return (
            f"python -m workers.shapes.train --vae-steps {vae_steps} --flow-steps {self.recipe.steps}"
            f" --pictures {self.pictures} --count-share {self.recipe.count_share:g}"
            f" --sigma-mean {self.recipe.sigma_mean:g}"
        )


class History:
    """The stages of a training, the first one first; saved with its checkpoint."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []

    def go_on(self, step: int, pictures: int, recipe: FlowRecipe) -> None:
        """Begin a stage at a step, unless the last one was run with the same."""
        if not self.stages or (self.stages[-1].pictures, self.stages[-1].recipe) != (pictures, recipe):
            self.stages.append(Stage(step, pictures, recipe))

    def state_dict(self) -> dict[str, Any]:
        """The state, of plain types."""
        return {"stages": msgspec.to_builtins(self.stages)}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take the state back."""
        self.stages = msgspec.convert(state["stages"], list[Stage])

    @property
    def recipe(self) -> FlowRecipe:
        """The last recipe; that of the defaults where none is on record."""
        return self.stages[-1].recipe if self.stages else FlowRecipe()

    def told(self, steps: int, vae_steps: int) -> list[str]:
        """Lines for the model card on a training of so many steps, one a stage; what is on no record is named, too."""
        known = self.stages[0].first_step if self.stages else steps
        lines = [f"steps 1 to {known:,}: settings not on record"] if known else []
        ends = [*(stage.first_step for stage in self.stages), steps][1:]
        for stage, end in zip(self.stages, ends, strict=True):
            span = f"steps {stage.first_step + 1:,} to {end:,}, {stage.recipe.batch_size} pictures each"
            lines.append(f"{span}: `{stage.command(vae_steps)}`")
        return lines


def history_of(checkpoint: dict[str, Any]) -> History:
    """The history in a loaded checkpoint; an empty one where it was saved without."""
    history = History()
    if "history" in checkpoint:
        history.load_state_dict(checkpoint["history"])
    return history
