"""What an entry is worth for the prompt at hand, where its artefact tells that from the words."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import NamedTuple

from pacer.control.choice import Choice
from pacer.control.held import Offer
from pacer.control.limits import Limits
from schedules.artefact import Schedule
from schedules.prompt_curves import PromptFigures, words_of


class Need(NamedTuple):
    """What the words of a prompt must tell of an offer for every floor to be kept.

    Attributes:
        offer: of which.
        anyway: whether the figures of all prompts reach the floors: what counts where the words tell nothing.
        column: where its budget stands among those that words tell of; None where they tell nothing of it.
        psnr_db: the least mean, decibels; -inf where no PSNR is asked for.
        quality: likewise.
    """

    offer: Offer
    anyway: bool
    column: int | None = None
    psnr_db: float = -inf
    quality: float = -inf


def need_of(offer: Offer, limits: Limits) -> Need:
    """What must be told of an offer, which is the same for every prompt."""
    curves, shown, share = offer.schedule.prompts, offer.evidence, limits.kept_by
    anyway = limits.reached_by(shown)
    if curves is None or shown is None or offer.steps not in curves.columns:
        return Need(offer, anyway)
    psnr_db = -inf if limits.psnr_db is None else curves.needed_psnr_db(limits.psnr_db, offer.steps, share)
    quality = -inf if limits.quality is None else curves.needed_quality(limits.quality, offer.steps, share, shown)
    return Need(offer, anyway, curves.columns[offer.steps], psnr_db, quality)


class Expected:
    """What is to be expected of offers for one prompt.

    Args:
        prompt: what will be drawn; None where nobody said it yet, which leaves the figures of all prompts.
    """

    def __init__(self, prompt: str | None) -> None:
        self._words = None if prompt is None else words_of(prompt)
        self._known: dict[int, PromptFigures | None] = {}

    def reached(self, offer: Offer, limits: Limits) -> bool:
        """Whether an offer reaches every floor."""
        return self.keeps(need_of(offer, limits))

    def keeps(self, need: Need) -> bool:
        """The same of what must be told of it."""
        column = need.column
        figures = None if column is None else self._figures(need.offer.schedule)
        if figures is None or column is None:
            return need.anyway
        if figures.psnr_db[column] < need.psnr_db:
            return False
        if need.quality == -inf:
            return True
        return figures.quality is not None and figures.quality[column] >= need.quality

    def choice(self, offer: Offer) -> Choice:
        """What would be run, with the evidence for this prompt."""
        figures = self._figures(offer.schedule)
        if figures is None or offer.evidence is None or not figures.knows(offer.steps):
            return offer.choice
        return replace(offer.choice, evidence=figures.evidence(offer.steps, offer.evidence), by_prompt=True)

    def _figures(self, schedule: Schedule) -> PromptFigures | None:
        if self._words is None or schedule.prompts is None:
            return None
        if id(schedule) not in self._known:  # by its text it would be told apart as well, which takes longer
            self._known[id(schedule)] = schedule.prompts.of_words(self._words)
        return self._known[id(schedule)]
