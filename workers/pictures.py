"""From the files of a job to what the runner starts from: a latent, and how much of it is free to change."""

from __future__ import annotations

import io

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from pacer.jobs.messages import Claim, Job, MaskKind, PictureFiles, PictureInput
from workers.families.base import Family, PictureError, encode_image
from workers.runner import Picture

_FORMATS = ("PNG", "JPEG", "WEBP")


def read_picture(claim: Claim, family: Family, shape: tuple[int, ...]) -> Picture | None:
    """The picture of a job, encoded; None for one that starts from noise alone.

    The autoencoder draws first from the generator of the job's seed, the starting noise comes after it, as in the
    stock pipelines.

    Args:
        claim: the job and its files.
        family: encodes the picture.
        shape: of the latent.

    Raises:
        PictureError: a file cannot be read, or is not of the size that its header said.
    """
    said, files = claim.job.picture, claim.picture
    if said is None:
        return None
    if files is None:
        raise PictureError("image: the job came without the picture that it starts from")
    generator = torch.Generator("cpu").manual_seed(claim.job.seed)
    pixels = np.array(_opened(files.image, "image", said, claim.job).convert("RGB"))
    latent = encode_image(family, pixels, generator)
    if tuple(latent.shape) != shape:
        raise PictureError(f"image: became a latent of shape {tuple(latent.shape)}, the model draws {shape}")
    return Picture(latent, generator, _mask(files, said, claim.job, shape))


def _mask(
    files: PictureFiles, said: PictureInput, job: Job, shape: tuple[int, ...]
) -> Float32[Tensor, "1 rows columns"] | None:
    """How much of each latent pixel is free: the mask's own upper left one, as the stock pipelines choose."""
    if said.mask is None:
        return None
    weights = mask_weights(_opened(files.mask, "mask", said, job), said.mask)
    sides = shape[-2:]
    return F.interpolate(torch.from_numpy(weights)[None, None], size=sides)[0]


def mask_weights(image: Image.Image, kind: MaskKind) -> Float32[np.ndarray, "height width"]:
    """How much of each pixel is free to change, 0 to 1: white, or what is transparent."""
    if kind == "alpha":
        levels: UInt8[np.ndarray, "height width"] = 255 - np.array(image.convert("RGBA").getchannel("A"))
    else:
        levels = np.array(image.convert("L"))
    return levels.astype(np.float32) / 255.0


def _opened(data: bytes, field: str, said: PictureInput, job: Job) -> Image.Image:
    """A file, decoded, in the job's size."""
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if image.size != (said.width, said.height):
            width, height = image.size
            raise PictureError(f"{field}: is {width}x{height}, its header was read as {said.width}x{said.height}")
        image.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, PictureError):
            raise
        raise PictureError(f"{field}: cannot be decoded: {error}") from error
    if said.resize and image.size != (job.width, job.height):
        whole = image.convert("RGBA") if image.mode in ("P", "PA", "LA") else image
        return whole.resize((job.width, job.height), Image.Resampling.LANCZOS)
    return image
