"""Whose jobs they are: owners share the workers by the work that is done for them."""

from __future__ import annotations

from pacer.settings import Settings

EVERYBODY = "everybody"
"""The one owner of all jobs where no key is asked for."""

_DIGITS = 16


def owner_of(digest: str) -> str:
    """The owner behind a key, by the key's SHA-256 in hexadecimal digits: their first 16."""
    return digest[:_DIGITS]


def weights_of(settings: Settings) -> dict[str, float]:
    """The weights that settings give to owners; every other has 1."""
    return {owner_of(digest): weight for digest, weight in settings.key_weights.items()}
