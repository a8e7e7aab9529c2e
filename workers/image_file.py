"""Pixels to the bytes of a file."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pacer.jobs.messages import ImageFormat, Job

_DEFAULT_QUALITY = 90  # of jpeg and webp


def encode_file(
    pixels: NDArray[np.uint8], image_format: ImageFormat, *, compression: int | None, texts: Mapping[str, str]
) -> bytes:
    """Encode one picture.

    Args:
        pixels: shape (height, width, 3), uint8 sRGB.
        image_format: png is lossless; jpeg and webp are lossy.
        compression: quality 0..100 of jpeg and webp; 90 where none is given. PNG ignores it.
        texts: text chunks of a PNG, by keyword.
    """
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if image_format == "png":
        image.save(buffer, "PNG", pnginfo=_text_chunks(texts))
    else:
        image.save(buffer, image_format.upper(), quality=_DEFAULT_QUALITY if compression is None else compression)
    return buffer.getvalue()


def _text_chunks(texts: Mapping[str, str]) -> PngInfo:
    chunks = PngInfo()
    for keyword, text in texts.items():
        chunks.add_itxt(keyword, text)
    return chunks


def provenance(job: Job) -> dict[str, str]:
    """What a picture says of its making: enough to draw it again. Empty where the job asks for none."""
    if not job.embed_metadata:
        return {}
    loras = {"lora": " ".join(f"{lora.name}:{lora.scale!r}" for lora in job.plan.lora)} if job.plan.lora else {}
    on_top = {} if job.true_cfg_scale == 1 else {"true_cfg_scale": repr(job.true_cfg_scale)}
    return {
        "prompt": job.prompt,
        "negative_prompt": job.negative_prompt,
        "seed": str(job.seed),
        "model": job.model,
        "schedule": job.plan.schedule,
        "solver": job.plan.solver,
        "steps": str(job.plan.steps),
        "sigmas": " ".join(map(repr, job.plan.sigmas)),
        "guidance_scale": repr(job.guidance_scale),
        **on_top,
        **loras,
    }
