"""How good each budget of a schedule is for one prompt, told from its words.

Pictures of some prompts need fewer steps than others (AdaDiff, arXiv 2311.14768, chooses by a network trained with
policy gradients). Here the error of every budget was measured on many prompts, so it is a regression: of each budget's
PSNR and quality on the words, which a gateway without an encoder has as well. What the words leave open, above all the
seed, stays in the spread that `kept` tells.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from schedules.evidence import Evidence, Figure, Kept, Strict
from schedules.table import FloatArray

_KNOWN = 0.75
"""Share of a prompt's words that must be known: of others nothing was measured."""

Row = tuple[float, ...]


def words_of(prompt: str) -> tuple[str, ...]:
    """The different words of a prompt, in small letters, sorted."""
    return tuple(sorted(set(re.findall(r"\w+", prompt.lower()))))


class Regression(Strict):
    """A figure of each budget as a sum over the words of a prompt."""

    none: Row = Field(description="of each budget, where no word adds anything")
    each: tuple[Row, ...] = Field(description="what each word adds to that, (words, budgets)")
    explained: Row = Field(description="share of each budget's variance, on prompts that were left out of the fit")
    ridge: float = Field(gt=0)

    @cached_property
    def _rows(self) -> FloatArray:
        """What each word adds, and last what is there without any, shape (words + 1, budgets)."""
        return np.array([*self.each, self.none])

    def of(self, places: Sequence[int]) -> Row:
        """The figure of each budget for the words at these places."""
        return tuple(np.add.reduce(self._rows.take([*places, -1], axis=0)).tolist())


class Spread(Strict):
    """By how much a share of the pictures stays above what the words say, at the least; below 0 beneath it."""

    by: float = Field(gt=0, lt=1)
    offsets: Row = Field(description="of each budget")


class PromptCurves(Strict):
    """The error curves of a schedule's budgets as functions of the prompt."""

    steps: tuple[int, ...] = Field(min_length=1)
    words: tuple[str, ...]
    psnr_db: Regression
    kept_psnr_db: tuple[Spread, ...]
    quality: Regression | None = None
    kept_ssim: tuple[Spread, ...] = ()
    seeds: int = Field(ge=1)
    seed_offset: int = Field(ge=0)

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        count, regressions = len(self.steps), [each for each in (self.psnr_db, self.quality) if each is not None]
        rows = [row for each in regressions for row in (each.none, each.explained, *each.each)]
        rows += [spread.offsets for spread in (*self.kept_psnr_db, *self.kept_ssim)]
        if any(len(row) != count for row in rows):
            raise ValueError(f"steps: every figure must have one value for each of the {count} budgets")
        if any(len(each.each) != len(self.words) for each in regressions):
            raise ValueError(f"words: each of the {len(self.words)} must have its weights")
        return self

    def of(self, prompt: str) -> PromptFigures | None:
        """What is to be expected for a prompt; None where too few of its words are known."""
        return self.of_words(words_of(prompt))

    def of_words(self, words: Sequence[str]) -> PromptFigures | None:
        """The same for the words of a prompt, as `words_of` tells them."""
        known = self.places
        places = [known[word] for word in words if word in known]
        return PromptFigures(self, places) if words and len(places) >= _KNOWN * len(words) else None

    def needed_psnr_db(self, floor: float, steps: int, share: float) -> float:
        """The least mean that words must tell of a budget for this share of the pictures to reach a floor, dB.

        inf where nobody measured so large a share.
        """
        return floor - self._offset(self.kept_psnr_db, steps, share)

    def needed_quality(self, floor: float, steps: int, share: float, shown: Evidence) -> float:
        """The same of quality: of a task score, of which the low end of the mean's interval counts, whatever the share.

        Args:
            floor: the least quality.
            steps: the budget.
            share: of the pictures, where quality is SSIM.
            shown: what was measured of the budget, whose interval is taken over, and which counts where the words
                tell nothing: then -inf where it reaches the floor and inf where it does not.
        """
        if shown.quality is None or self.quality is None:
            known = shown.quality_of(share)
            return -inf if known is not None and known >= floor else inf
        if self.kept_ssim:
            return floor - self._offset(self.kept_ssim, steps, share)
        return floor + (shown.quality.mean - shown.quality.low)

    def _offset(self, spreads: tuple[Spread, ...], steps: int, share: float) -> float:
        column = self.columns[steps]
        return next((each.offsets[column] for each in spreads if each.by >= share), -inf)

    @cached_property
    def columns(self) -> dict[int, int]:
        """Where each budget stands."""
        return {steps: column for column, steps in enumerate(self.steps)}

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each word stands."""
        return {word: place for place, word in enumerate(self.words)}


@dataclass(frozen=True, eq=False)
class PromptFigures:
    """What is to be expected for one prompt.

    Attributes:
        curves: whose regression it is.
        places: where its words stand among those that are known.
    """

    curves: PromptCurves
    places: Sequence[int]

    @cached_property
    def psnr_db(self) -> tuple[float, ...]:
        """Mean of each budget."""
        return self.curves.psnr_db.of(self.places)

    @cached_property
    def quality(self) -> tuple[float, ...] | None:
        """The same of the quality, which a floor of PSNR does not ask for; None where nobody measured it."""
        return None if self.curves.quality is None else self.curves.quality.of(self.places)

    def knows(self, steps: int) -> bool:
        """Whether a budget was fitted."""
        return steps in self.curves.columns

    def evidence(self, steps: int, shown: Evidence) -> Evidence:
        """A budget's evidence with the figures of this prompt in place of those of all.

        Intervals are as wide as those of all prompts, and move with the mean.
        """
        column = self.curves.columns[steps]
        told: dict[str, object] = {
            "psnr_db": _moved(shown.psnr_db, self.psnr_db[column]),
            "kept_psnr_db": self._kept(self.curves.kept_psnr_db, steps, self.psnr_db[column]),
        }
        if shown.quality is not None and self.quality is not None:
            told["quality"] = _moved(shown.quality, self.quality[column])
            told["kept_ssim"] = self._kept(self.curves.kept_ssim, steps, self.quality[column])
        return shown.model_copy(update=told)

    def _kept(self, spreads: tuple[Spread, ...], steps: int, mean: float) -> tuple[Kept, ...]:
        column = self.curves.columns[steps]
        return tuple(Kept(by=each.by, least=mean + each.offsets[column]) for each in spreads)


def _moved(figure: Figure, mean: float) -> Figure:
    return Figure(mean=mean, low=mean - (figure.mean - figure.low), high=mean + (figure.high - figure.mean))
