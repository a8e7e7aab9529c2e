"""What an entry is worth for the prompt at hand, where its artefact tells that from the words."""

from __future__ import annotations

from dataclasses import replace

from pacer.control.choice import Choice
from pacer.control.held import Offer
from pacer.control.limits import Limits
from schedules.artefact import Schedule
from schedules.prompt_curves import PromptFigures, words_of


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
        figures = self._figures(offer.schedule)
        if figures is None or offer.evidence is None or not figures.knows(offer.steps):
            return limits.reached_by(offer.evidence)
        steps, share = offer.steps, limits.kept_by
        psnr_db = None if limits.psnr_db is None else figures.psnr_db_of(steps, share)
        quality = None if limits.quality is None else figures.quality_of(steps, share, offer.evidence)
        return limits.reached(psnr_db, quality)

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
