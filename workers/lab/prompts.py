"""Prompts for calibration, validation and evidence, split so that no prompt is in two of them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from workers.shapes.language import Prompt, sample_prompts

SplitName = Literal["calibration", "validation", "held-out"]
SPLITS: tuple[SplitName, ...] = ("calibration", "validation", "held-out")


class PromptSource(Protocol):
    """Where prompts come from."""

    def draw(self, split: SplitName, count: int, seed: int) -> tuple[str, ...]:
        """`count` prompts of a split, the same for the same seed; they may repeat."""
        ...


@dataclass(frozen=True, slots=True)
class ShapesPrompts:
    """Sentences of shapes-64; the evidence has those that its training never saw either."""

    def draw(self, split: SplitName, count: int, seed: int) -> tuple[str, ...]:
        """The three kinds of sentence in turn."""
        if split == "held-out":
            return tuple(str(prompt) for prompt in sample_prompts(count, seed))
        drawn = sample_prompts(60 * count, seed, held_out=False)
        chosen = [prompt for prompt in drawn if (_share(str(prompt)) < 0.25) == (split == "validation")]
        return tuple(str(prompt) for prompt in _in_turn(chosen, count))


def _in_turn(prompts: Sequence[Prompt], count: int) -> list[Prompt]:
    kinds = ("one", "pair", "count")
    pools = [[prompt for prompt in prompts if prompt.kind == kind] for kind in kinds]
    return [pools[i % 3][i // 3] for i in range(count)]


@dataclass(frozen=True, slots=True)
class FilePrompts:
    """Prompts of a text file, one a line: half calibrate, a quarter validates, a quarter is held out, by hash."""

    path: Path

    def draw(self, split: SplitName, count: int, seed: int) -> tuple[str, ...]:
        """Any of the split's lines.

        Raises:
            ValueError: the file has no line for the split.
        """
        lines = dict.fromkeys(line.strip() for line in self.path.read_text().splitlines())
        least, most = {"calibration": (0.0, 0.5), "validation": (0.5, 0.75), "held-out": (0.75, 1.0)}[split]
        chosen = [line for line in lines if line and least <= _share(line) < most]
        if not chosen:
            raise ValueError(f"{self.path}: has no prompt for {split}; give it more lines")
        return tuple(random.Random(seed).choices(chosen, k=count))


def _share(text: str) -> float:
    """A number in 0..1 that a prompt always has."""
    return int.from_bytes(hashlib.sha256(f"split {text}".encode()).digest()[:4]) / 2**32
