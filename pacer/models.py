"""Model cards: what the gateway must know of a model to judge a request, without loading it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pacer.derived_card import UnderivableError, derive
from pacer.errors import ErrorKind, PacerError
from pacer.hub import HubName, hub_name
from pacer.jobs.keys import slug_of
from pacer.settings import Settings
from schedules.artefact import BetaSchedule
from schedules.compile import SAMPLERS
from schedules.grid_names import find_grid, grid_names
from schedules.noise import FLOW, NoiseSchedule

CARD_NAME = "pacer.json"
"""The card's file name in a model's folder, beside `model_index.json`."""

INDEX_NAME = "model_index.json"
"""The file that names a model's pipeline and parts, in the stock layout."""

Dtype = Literal["float32", "float16", "bfloat16"]

_SHIPPED = Path(__file__).parent / "cards"
_ROUNDING = 1e-4  # a largest sigma that was written down with a few digits
_WORD = re.compile(r"\w+")


class CardError(ValueError):
    """A model card that is missing or malformed; the message names the file, the field and the reason."""


class NotCachedError(CardError):
    """A hub id of which nothing was downloaded yet."""


class Distilled(BaseModel):
    """A model taught to draw in few steps (Turbo, schnell, LCM, distilled klein): no many-step teacher of it exists."""

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
    quantization: str | None = Field(
        default=None,
        description="how the weights are quantised; schedules optimised otherwise are not served",
    )
    dtype: Dtype | None = Field(
        default=None,
        description="in which the network computes; schedules optimised in another are not served, None takes any",
    )
    width: tuple[int, int, int] = Field(description="least, most and multiple, in pixels")
    height: tuple[int, int, int] = Field(description="least, most and multiple, in pixels")
    size: tuple[int, int] | None = Field(
        default=None, description="width and height of a request that names none; the largest if not given"
    )
    guidance_scale: float = Field(description="the guidance scale of a request that names none")
    guidance_range: tuple[float, float] = Field(default=(1.0, 20.0), description="least and most guidance scale")
    embedded_guidance: bool = Field(
        default=False, description="the network takes the guidance scale as an input: a guided step is one evaluation"
    )
    prediction: Literal["flow", "epsilon", "v_prediction"] = Field(description="what the network's output stands for")
    noise: BetaSchedule | None = Field(default=None, description="an epsilon or v model's noise of training")
    sigma_min: float = Field(default=0.0, ge=0)
    sigma_max: float = Field(default_factory=lambda fields: _largest_sigma(fields.get("noise")), gt=0)
    max_words: int | None = Field(default=None, ge=1, description="longest prompt, in words; None leaves it open")
    loras: bool = Field(default=True, description="whether LoRAs can be put on it")
    solver: str = Field(default="euler", description="solver of custom sigmas, and where the registry has no entry")
    grid: str = Field(default="uniform", description="grid where the registry has no entry")
    distilled: Distilled | None = Field(default=None, description="of a few-step model: what it was distilled to")
    networks: dict[str, str | None] = Field(
        default_factory=dict,
        description="smaller networks that rows of a schedule may run instead of the model's own, by name: the hash of "
        "their weights, null to take them as they are",
    )

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
        if not self.allows(*self.default_size):
            raise ValueError(f"size: must be one of {self.sizes}, is {self.size}")
        return self

    @model_validator(mode="after")
    def _sampling_goes_with_the_noise(self) -> Self:
        if (self.noise is None) != (self.prediction == "flow"):
            having = "has no noise" if self.prediction == "flow" else "needs its noise: kind, beta_start and beta_end"
            raise ValueError(f"prediction: a model of {self.prediction!r} {having}")
        if self.sigma_max > (largest := _largest_sigma(self.noise)) * (1 + _ROUNDING):
            raise ValueError(f"sigma_max: must be at most {largest:.6g}, the largest the network knows")
        if self.solver not in SAMPLERS:
            raise ValueError(f"solver: must be one of {', '.join(SAMPLERS)}, is {self.solver!r}")
        if find_grid(self.grid, self.noise_schedule) is None:
            known = ", ".join(grid_names(self.noise_schedule))
            raise ValueError(f"grid: must be one of {known}, is {self.grid!r}")
        return self

    @property
    def noise_schedule(self) -> NoiseSchedule:
        """What a sigma means to the network."""
        return _schedule_of(self.noise)

    @property
    def default_size(self) -> tuple[int, int]:
        """Width and height, in pixels, of a request that names none."""
        return self.size or (self.width[1], self.height[1])

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


@cache
def _schedule_of(noise: BetaSchedule | None) -> NoiseSchedule:
    return FLOW if noise is None else noise.schedule()


def _largest_sigma(noise: BetaSchedule | None) -> float:
    return _schedule_of(noise).sigma_max


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
        raise CardError(f"{path}: {_told(error)}") from error


def load(name: str, cards: Path | None = None) -> ModelCard:
    """The card of a shipped model by its name, of a local folder, or of a model of the hub by its id.

    A folder's `pacer.json` comes first; where it has none, the card is derived from the model's own configuration. A
    hub id is owner/name or owner/name@revision, and must be in the hub's cache unless its card is shipped or given.

    Args:
        name: of the model.
        cards: folder of cards for hub ids, OWNER--NAME.json, which come before those of the hub.

    Raises:
        CardError: there is no such card, it is malformed, or none can be derived.
        NotCachedError: the name may be one of the hub's, and nothing of it is in the cache.
    """
    folder = Path(name)
    if (folder / CARD_NAME).is_file():
        return read_card(folder / CARD_NAME)
    on_hub = hub_name(name)
    is_local = (folder / INDEX_NAME).is_file()
    if on_hub is not None and not is_local and (given := _given(on_hub, cards)) is not None:
        return _at_revision(given, on_hub)
    shipped = {path.stem.replace("--", "/"): path for path in sorted(_SHIPPED.glob("*.json"))}
    if (known := name if on_hub is None else on_hub.repo) in shipped:
        return _at_revision(read_card(shipped[known]), on_hub)
    if is_local:
        return _derived(folder, folder.resolve().name)
    if on_hub is not None and (snapshot := on_hub.snapshot) is not None:
        own = snapshot / CARD_NAME
        return _at_revision(read_card(own) if own.is_file() else _derived(snapshot, on_hub.repo, on_hub.repo), on_hub)
    raise (CardError if on_hub is None else NotCachedError)(_not_found(name, on_hub, shipped))


def _at_revision(card: ModelCard, on_hub: HubName | None) -> ModelCard:
    """The card with the revision that was asked for; its hash of the weights holds for no other than its own."""
    if on_hub is None or on_hub.revision in (None, card.revision):
        return card
    return card.model_copy(update={"revision": on_hub.revision, "weights_sha256": None})


def _given(on_hub: HubName, cards: Path | None) -> ModelCard | None:
    """An operator's own card of a model of the hub."""
    if cards is None:
        return None
    if not cards.is_dir():
        raise CardError(f"PACER_CARDS_DIR: there is no folder {cards}")
    path = cards / f"{on_hub.repo.replace('/', '--')}.json"
    return read_card(path) if path.is_file() else None


def _derived(folder: Path, model: str, repo: str | None = None) -> ModelCard:
    try:
        return ModelCard.model_validate({"id": model, **derive(folder, repo)})
    except UnderivableError as error:
        raise CardError(f"{folder}: no {CARD_NAME}, and none can be derived: {error}") from error
    except ValidationError as error:
        raise CardError(f"{folder}: no {CARD_NAME}, and the derived one is wrong: {_told(error)}") from error


def _not_found(name: str, on_hub: HubName | None, shipped: Iterable[str]) -> str:
    known = ", ".join(shipped) or "none"
    said = f"{name!r} is neither a folder with a {CARD_NAME} or {INDEX_NAME} nor a shipped model; shipped: {known}"
    if on_hub is None:
        return said
    return f"{said}. If it is on the hub, download it first: pacer download {on_hub}"


def _told(error: ValidationError) -> str:
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"]) or "card"
    return f"{place}: {problem['msg']}"


def served(settings: Settings) -> Mapping[str, ModelCard]:
    """The cards of all served models by id, in the order of the settings; the first is the default.

    Raises:
        CardError: a card is missing or malformed, no model is named, or two have one id.
    """
    cards = [as_kept(load(name, settings.cards_dir), settings) for name in settings.models]
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
        return as_kept(load(name, settings.cards_dir), settings)
    return choose(name, cards)


def as_kept(card: ModelCard, settings: Settings) -> ModelCard:
    """The card of a model whose weights workers keep, and compute with, as the settings say.

    Raises:
        CardError: they are quantised already.
    """
    if settings.dtype != "auto":
        card = card.model_copy(update={"dtype": settings.dtype})
    if settings.weights == "plain":
        return card
    parts = [] if card.quantization is None else card.quantization.split(", ")
    if not all(": " in part for part in parts):  # that of the network itself has no name before it
        raise CardError(f"{card.id} is quantised already ({card.quantization}); leave out PACER_WEIGHTS")
    return card.model_copy(update={"quantization": ", ".join((settings.weights, *parts))})


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
    return next((source for source in settings.models if load(source, settings.cards_dir).id == name), name)


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
