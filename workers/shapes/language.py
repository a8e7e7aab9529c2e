"""The language of shapes-64: what a prompt can say, and which prompts are held out from training.

A prompt is one of three kinds:

    one      "a red circle on a white background"
    pair     "a red circle above a blue square on a gray background"
    count    "three green stars on a black background"
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal

Shape = Literal["circle", "square", "triangle", "star"]
Relation = Literal["left of", "right of", "above", "below"]
Kind = Literal["one", "pair", "count"]

SHAPES: tuple[Shape, ...] = ("circle", "square", "triangle", "star")
RELATIONS: tuple[Relation, ...] = ("left of", "right of", "above", "below")
COUNTS: dict[str, int] = {"two": 2, "three": 3}

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 160, 70),
    "blue": (40, 80, 220),
    "yellow": (245, 215, 50),
    "orange": (240, 130, 30),
    "purple": (130, 50, 170),
    "cyan": (50, 200, 220),
    "pink": (250, 150, 190),
}
"""The eight colours, 8-bit sRGB."""

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (245, 245, 245),
    "gray": (128, 128, 128),
    "black": (15, 15, 15),
}
"""The three backgrounds, 8-bit sRGB."""

_PLURALS: dict[str, str] = {f"{shape}s": shape for shape in SHAPES}
_HELD_OUT_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Thing:
    """A coloured shape."""

    colour: str
    shape: Shape

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def with_article(self) -> str:
        """The thing as a sentence names it: "a red circle", "an orange star"."""
        return f"{'an' if self.colour[0] in 'aeiou' else 'a'} {self}"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a sentence asks for: one thing, a related pair, or two or three equal things."""

    things: tuple[Thing, ...]
    background: str
    relation: Relation | None = None

    @property
    def kind(self) -> Kind:
        """Which of the three sentence forms this is."""
        if self.relation is not None:
            return "pair"
        return "one" if len(self.things) == 1 else "count"

    def __str__(self) -> str:
        tail = f"on a {self.background} background"
        if self.kind == "pair":
            return f"{self.things[0].with_article} {self.relation} {self.things[1].with_article} {tail}"
        if self.kind == "one":
            return f"{self.things[0].with_article} {tail}"
        word = next(name for name, count in COUNTS.items() if count == len(self.things))
        return f"{word} {self.things[0]}s {tail}"


def vocabulary() -> tuple[str, ...]:
    """Every word that a prompt can hold, in a fixed order."""
    relation_words = {word for relation in RELATIONS for word in relation.split()}
    words = {"a", "on", "background", *COLOURS, *BACKGROUNDS, *SHAPES, *_PLURALS, *COUNTS}
    return tuple(sorted(words | relation_words))


def parse(text: str) -> Prompt:
    """Read a sentence of the language back into a Prompt.

    Raises:
        ValueError: the sentence is not of the language; the message shows the three forms.
    """
    prompt = _by_sentence().get(" ".join(text.lower().split()))
    if prompt is not None:
        return prompt
    raise ValueError(
        f"not a sentence of shapes-64: {text!r}; it knows 'a COLOUR SHAPE on a BACKGROUND background', "
        "'a COLOUR SHAPE left of|right of|above|below a COLOUR SHAPE on a BACKGROUND background' "
        "and 'two|three COLOUR SHAPEs on a BACKGROUND background'"
    )


def all_prompts() -> list[Prompt]:
    """Every prompt of the language, in a fixed order: 96 of one thing, 11,904 pairs, 192 counts."""
    things = [Thing(colour, shape) for colour, shape in product(COLOURS, SHAPES)]
    ones = [Prompt((thing,), back) for thing, back in product(things, BACKGROUNDS)]
    pairs = [
        Prompt((first, second), back, relation)
        for first, second, relation, back in product(things, things, RELATIONS, BACKGROUNDS)
        if first != second
    ]
    counts = [Prompt((thing,) * count, back) for thing, count, back in product(things, COUNTS.values(), BACKGROUNDS)]
    return ones + pairs + counts


@cache
def _by_sentence() -> dict[str, Prompt]:
    return {str(prompt): prompt for prompt in all_prompts()}


def is_held_out(prompt: Prompt) -> bool:
    """Whether training never sees this prompt (a tenth of the language, chosen by hash)."""
    digest = hashlib.sha256(str(prompt).encode()).digest()
    return int.from_bytes(digest[:4]) < _HELD_OUT_SHARE * 2**32


def sample_prompts(
    count: int, seed: int, *, held_out: bool = True, kinds: tuple[Kind, ...] | None = None
) -> list[Prompt]:
    """Draw prompts, the kinds in equal shares and in turn.

    Args:
        count: how many; prompts repeat where a kind has fewer than asked for.
        seed: the same seed gives the same prompts.
        held_out: from the prompts that training never saw, or from those that it did.
        kinds: the sentence forms to draw from; all three by default.
    """
    rng = random.Random(seed)
    chosen = kinds or ("one", "pair", "count")
    pools: dict[Kind, list[Prompt]] = {kind: [] for kind in chosen}
    for prompt in all_prompts():
        if prompt.kind in pools and is_held_out(prompt) == held_out:
            pools[prompt.kind].append(prompt)
    return [rng.choice(pools[chosen[i % len(chosen)]]) for i in range(count)]
