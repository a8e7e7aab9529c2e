"""Open a model for the lab: its adapter, the hash of its weights, its prompts and its judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch._functorch import config as functorch_config

from pacer.derived_card import SMALLER
from pacer.models import as_kept, require_teacher
from pacer.models import load as load_card
from pacer.settings import Settings
from schedules.search.problem import Field
from schedules.table import FloatArray
from workers.families.base import Family, Painter
from workers.heap import keep_freed_memory
from workers.keeping import Keeping
from workers.lab import digits
from workers.lab.flops import forward_flops
from workers.lab.model import LabModel, LabNetwork, Pixels
from workers.lab.native import Native
from workers.lab.prompts import FilePrompts, PromptSource, ShapesPrompts
from workers.lab.row_threads import Shared, row_threads, unshared
from workers.models import LoadedModel, choose_device, choose_dtype, load, weights_sha256
from workers.shapes.language import parse
from workers.shapes.recognise import read
from workers.shapes.score import TASKS, passes

SHAPES = "shapes-64"


def open_model(name: str, settings: Settings, prompts: Path | None = None) -> LabModel:
    """Load a model for a search.

    Args:
        name: digits-8, a shipped name or a local folder.
        settings: the device and its threads.
        prompts: a file of prompts, one a line; needed but for shapes-64.

    Raises:
        ValueError: the model cannot be loaded, is distilled, or has no prompts.
    """
    if settings.torch_threads:
        torch.set_num_threads(settings.torch_threads)
    if name == digits.NAME:
        return digits.digits_model()
    if settings.compile:
        _keep_buffers()
    require_teacher(load_card(name, settings.cards_dir))
    # A search keeps outputs and goes back through them; a graph that is replayed writes over its own.
    keeping = replace(Keeping.of(settings), graphs=False)
    loaded = load(name, choose_device(settings.device), choose_dtype(settings.dtype), keeping, settings.cards_dir)
    keep_freed_memory(loaded.family.device)
    loaded = replace(loaded, card=as_kept(loaded.card, settings))
    return lab_model(loaded, _prompts(loaded.id, prompts), _row_threads(loaded, settings))


def _row_threads(loaded: LoadedModel, settings: Settings) -> Shared:
    """On the CPU torch's threads take rows each; a compiled network is called from one thread alone."""
    shares = loaded.family.device.type == "cpu" and not settings.compile
    return row_threads(torch.get_num_threads() if shares else 1)


def _keep_buffers() -> None:
    """Let searches go back through a compiled network along several directions, rather than along the first alone."""
    functorch_config.donated_buffer = False


def served_as(model: str, settings: Settings) -> str:
    """The name or folder under which the settings serve a model's id; the id itself where they do not."""
    return next((name for name in settings.models if load_card(name, settings.cards_dir).id == model), model)


def lab_model(loaded: LoadedModel, prompts: PromptSource, shared: Shared = unshared) -> LabModel:
    """What the lab needs of a loaded model, at its default size.

    Args:
        loaded: the model.
        prompts: its prompts.
        shared: among whom the rows of a call are shared out.
    """
    family, (width, height) = loaded.family, loaded.card.default_size
    native = Native(loaded.card.prediction, loaded.card.noise)
    field = native.velocity(partial(_field, family))
    return LabModel(
        name=loaded.id,
        revision=loaded.card.revision,
        weights_sha256=weights_sha256(loaded.folder),
        quantization=loaded.card.quantization,
        dtype=str(loaded.dtype).removeprefix("torch."),
        asked_dtype=loaded.card.dtype,
        size=(width, height),
        guidance_scale=loaded.card.guidance_scale,
        latent_shape=family.latent_shape(width, height),
        device=family.device,
        field=lambda texts: shared(field(texts)),
        negative_field=lambda texts: shared(field(texts, negative=True)),
        decode=family.decode,
        prompts=prompts,
        score=task_scores if loaded.id == SHAPES else None,
        paint=family.paint if isinstance(family, Painter) else None,
        combine=lambda c, u, weight: family.combine(c, u, torch.as_tensor(weight, dtype=c.dtype).to(c).expand(len(c))),
        native=native,
        smaller={name: _network(loaded, name, shared) for name in loaded.smaller},
    )


def _network(loaded: LoadedModel, name: str, shared: Shared) -> LabNetwork:
    """One of the model's smaller networks."""
    size = loaded.card.default_size
    field = Native(loaded.card.prediction, loaded.card.noise).velocity(partial(_field, loaded.smaller[name]))
    return LabNetwork(
        weights_sha256(loaded.folder / SMALLER / name),
        cost=round(forward_flops(loaded.smaller[name], *size) / forward_flops(loaded.family, *size), 4),
        field=lambda texts: shared(field(texts)),
        negative_field=lambda texts: shared(field(texts, negative=True)),
    )


def _prompts(model: str, path: Path | None) -> PromptSource:
    if path is not None:
        return FilePrompts(path)
    if model == SHAPES:
        return ShapesPrompts()
    raise ValueError(f"prompts: {model} has none of its own; give a file of prompts, one a line")


def _field(family: Family, prompts: Sequence[str], *, negative: bool = False) -> Field:
    known = dict.fromkeys(prompts)
    encoded = dict(zip(known, family.encode(list(known), negative=negative), strict=True))
    conditioning = [encoded[prompt] for prompt in prompts]

    def field(x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        return family.denoise(x, t, [conditioning[row] for row in rows.tolist()])

    return field


def task_scores(prompts: Sequence[str], pixels: Pixels) -> FloatArray:
    """Scores whose mean is the mean over the tasks of the share that passes; a picture answers every task of its kind.

    Args:
        prompts: sentences of shapes-64, one for each picture.
        pixels: shape (n, 64, 64, 3), uint8.

    Returns:
        Shape (n,), float64: what each picture adds to that mean, times n.
    """
    asked = [parse(text) for text in prompts]
    counts = {task: sum(prompt.kind == kind for prompt in asked) for task, kind in TASKS.items()}
    tasks = [task for task, count in counts.items() if count]
    scores = np.zeros(len(asked))
    for index, (prompt, picture) in enumerate(zip(asked, pixels, strict=True)):
        reading = read(picture)
        passed = (task for task in tasks if TASKS[task] == prompt.kind and passes(task, prompt, reading))
        scores[index] = sum(len(asked) / (counts[task] * len(tasks)) for task in passed)
    return scores
