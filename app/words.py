"""How much a model reads."""

from __future__ import annotations

from pacer.control.budget_request import invalid
from pacer.models import ModelCard, count_words


def check_words(text: str, field: str, card: ModelCard, most_chars: int) -> None:
    """Refuse a text that is longer than the model reads.

    Args:
        text: a prompt.
        field: what it was given as.
        card: the model's.
        most_chars: most characters that are allowed here.

    Raises:
        PacerError: invalid_request, naming both lengths.
    """
    if len(text) > most_chars:
        raise invalid(field, f"may have at most {most_chars} characters, has {len(text)}")
    words = count_words(text)
    if card.max_words is not None and words > card.max_words:
        raise invalid(field, f"{card.id} reads at most {card.max_words} words, there are {words}")
