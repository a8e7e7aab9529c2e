"""Model cards: what the gateway must know of a model to judge a request, without loading it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pacer.errors import ErrorKind, PacerError
from pacer.jobs.keys import slug_of
from pacer.settings import Settings

CARD_NAME = "pacer.json"
"""The card's file name in a model's folder, beside `model_index.json`."""

_SHIPPED = Path(__file__).parent / "cards"
_WORD = re.compile(r"\w+")


class CardError(ValueError):
    """A model card that is missing or malformed; the message names the file, the field and the reason."""


class Distilled(BaseModel):
    """A model taught to draw in few steps (Turbo, Schnell, LCM): no many-step teacher of it exists."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    native_steps: int = Field(ge=1, description="the steps that it was distilled to; what a request gets by default")


class ModelCard(BaseModel):
    """What a model can draw and what it is asked for by default."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    id: str = Field(min_length=1)
    revision: str | None = None
    weights_sha256: str | None = Field(
        default=None, description="hash of the weights; schedules that were optimised on others are not served"
    )
    width: tuple[int, int, int] = Field(description="least, most and multiple, in pixels")
    height: tuple[int, int, int] = Field(description="least, most and multiple, in pixels")
    guidance_scale: float = Field(description="the guidance scale of a request that names none")
    guidance_range: tuple[float, float] = Field(default=(1.0, 20.0), description="least and most guidance scale")
    prediction: Literal["flow"]
    sigma_min: float = Field(default=0.0, ge=0)
    sigma_max: float = Field(default=1.0, gt=0)
    max_words: int | None = Field(default=None, ge=1, description="longest prompt, in words; None leaves it open")
    solver: str = Field(default="euler", description="solver of custom sigmas, and where the registry has no entry")
    grid: str = Field(default="uniform", description="grid where the registry has no entry")
    distilled: Distilled | None = Field(default=None, description="of a few-step model: what it was distilled to")

    @field_validator("id")
    @classmethod
    def _can_stand_in_a_key(cls, value: str) -> str:
        slug_of(value)
        return value

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> Self:
        for name in ("width", "height"):
            least, most, multiple = getattr(self, name)
            if not (multiple > 0 and 0 < least <= most and least % multiple == most % multiple == 0):
                raise ValueError(f"{name}: must be least, most, multiple, is {getattr(self, name)}")
        least_guidance, most_guidance = self.guidance_range
        if not 1 <= least_guidance <= self.guidance_scale <= most_guidance:
            raise ValueError("guidance_scale: must lie in guidance_range, which begins at 1 or more")
        if self.sigma_min >= self.sigma_max:
            raise ValueError("sigma_min: must be less than sigma_max")
        return self

    @property
    def default_size(self) -> tuple[int, int]:
        """Width and height, in pixels, of a request that names none: the largest."""
        return self.width[1], self.height[1]

    def default_steps(self, otherwise: int) -> int:
        """Steps of a request that names no budget: those that the model was distilled to, if it was."""
        return otherwise if self.distilled is None else self.distilled.native_steps

    @property
    def sizes(self) -> str:
        """The sizes allowed, in words for an error message."""
        if self.width[0] == self.width[1] and self.height[0] == self.height[1]:
            return f"{self.width[0]}x{self.height[0]}"
        (w0, w1, wm), (h0, h1, hm) = self.width, self.height
        return f"width {w0} to {w1} in steps of {wm}, height {h0} to {h1} in steps of {hm}"

    def allows(self, width: int, height: int) -> bool:
        """Whether the model draws this size, in pixels."""
        pairs = ((width, self.width), (height, self.height))
        return all(least <= value <= most and value % multiple == 0 for value, (least, most, multiple) in pairs)


def require_teacher(card: ModelCard) -> None:
    """Refuse a model whose schedules cannot be searched.

    Raises:
        CardError: it is distilled.
    """
    if card.distilled is not None:
        raise CardError(
            f"{card.id} is distilled to {card.distilled.native_steps} steps: it has no many-step teacher that a search "
            "could compare with; its native steps are served as they are"
        )


def count_words(prompt: str) -> int:
    """Runs of letters and digits, which is how a word-level tokenizer counts."""
    return len(_WORD.findall(prompt))


def read_card(path: Path) -> ModelCard:
    """Read and check one card.

    Raises:
        CardError: the file is missing or malformed.
    """
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise CardError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"]) or "card"
        raise CardError(f"{path}: {place}: {problem['msg']}") from error


def load(name_or_folder: str) -> ModelCard:
    """The card of a shipped model by its name, or of a local folder that holds `pacer.json`.

    Raises:
        CardError: there is no such card, or it is malformed.
    """
    folder = Path(name_or_folder)
    if (folder / CARD_NAME).is_file():
        return read_card(folder / CARD_NAME)
    shipped = {path.stem.replace("--", "/"): path for path in sorted(_SHIPPED.glob("*.json"))}
    if name_or_folder in shipped:
        return read_card(shipped[name_or_folder])
    known = ", ".join(shipped) or "none"
    raise CardError(f"{name_or_folder!r} is neither a folder with a {CARD_NAME} nor a shipped model; shipped: {known}")


def served(settings: Settings) -> Mapping[str, ModelCard]:
    """The cards of all served models by id, in the order of the settings; the first is the default.

    Raises:
        CardError: a card is missing or malformed, no model is named, or two have one id.
    """
    cards = [load(name) for name in settings.models]
    by_id = {card.id: card for card in cards}
    if not cards or len(by_id) != len(cards):
        raise CardError(f"PACER_MODELS must name at least one model and none twice, is {list(settings.models)}")
    return by_id


def find(name: str, settings: Settings) -> ModelCard:
    """The card of a served model, by its id or by the name or folder that the settings give it.

    Raises:
        PacerError: model_not_found; names the models that are served.
        CardError: the card is malformed.
    """
    cards = served(settings)
    if name in settings.models:
        return load(name)
    return choose(name, cards)


def source_of(name: str | None, settings: Settings) -> str:
    """The name or folder from which a worker loads a served model, the first when none is named.

    Args:
        name: an id, or a name or folder. What the settings do not serve stays as it is: a worker may draw for gateways
            with other settings.
        settings: with the served models.

    Raises:
        CardError: no model is named, or the card of a served one is missing or malformed.
    """
    if not settings.models:
        raise CardError("PACER_MODELS must name at least one model")
    if name is None:
        return settings.models[0]
    if name in settings.models:
        return name
    return next((source for source in settings.models if load(source).id == name), name)


def choose(model: str | None, cards: Mapping[str, ModelCard]) -> ModelCard:
    """The card of a model by its id; the first when no id is given.

    Raises:
        PacerError: model_not_found; names the models that are served.
    """
    if model is None:
        return next(iter(cards.values()))
    if model in cards:
        return cards[model]
    raise PacerError(
        ErrorKind.model_not_found,
        f"model {model[:80]!r} is not served here; served: {', '.join(cards)}",
        field="model",
    )
