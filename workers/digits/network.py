"""The noise predictor: residual layers, modulated by the time and the digit.

Inside, they predict v = alpha n - beta x0, and the noise is beta z + alpha v: an error of theirs is the same error of
the clean image at every noise level, where an error of the noise itself would be 157 times that at the largest.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import cast

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn

from schedules.noise import VariancePreserving, vp_of_betas

DIGITS = 10
NO_DIGIT = DIGITS
"""The label that stands for none."""
BETA_START, BETA_END = 1e-4, 0.02
"""The noise of training: a line of betas over 1000 times (Ho et al. 2020)."""
FOLDER = Path(__file__).parent / "model"
"""The trained model: the network's own files, and the scheduler's configuration in `scheduler`."""


class DigitsNetwork(ModelMixin, ConfigMixin):  # type: ignore[misc]  # no types in diffusers
    """Predicts the noise in a picture of 8x8 grey levels, as a stock UNet2DModel with classes does.

    Args:
        sample_size: width and height of the pictures.
        in_channels: channels of the pictures.
        width: of the residual stream.
        hidden: of each block's inner layer.
        blocks: how many.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self, sample_size: int = 8, in_channels: int = 1, width: int = 128, hidden: int = 256, blocks: int = 4
    ) -> None:
        super().__init__()
        pixels = in_channels * sample_size**2
        self.label = nn.Embedding(DIGITS + 1, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.inward = nn.Linear(pixels, width)
        self.layers = nn.ModuleList(_Block(width, hidden) for _ in range(blocks))
        self.outward = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, pixels))

    def forward(
        self, sample: Tensor, timestep: Tensor | float, class_labels: Tensor | None = None, *, return_dict: bool = True
    ) -> UNet2DOutput | tuple[Tensor]:
        """The noise.

        Args:
            sample: pictures of unit variance under their noise, shape (B, channels, height, width), float32.
            timestep: training times from 0 to 999, fractions allowed, shape (B,) or one for all.
            class_labels: digits 0 to 9, or 10 for none, shape (B,), int64; None means none.
            return_dict: as stock models have it.
        """
        count = len(sample)
        times = torch.as_tensor(timestep, dtype=sample.dtype, device=sample.device).expand(count)
        labels = sample.new_full((count,), NO_DIGIT, dtype=torch.int64) if class_labels is None else class_labels
        condition = nn.functional.silu(self.time(_waves(times, self.config.width)) + self.label(labels))
        stream = self.inward(sample.flatten(1))
        for block in self.layers:
            stream = block(stream, condition)
        alpha, beta = _mixture(times, sample.ndim)
        noise = beta * sample + alpha * self.outward(stream).reshape(sample.shape)
        return UNet2DOutput(sample=noise) if return_dict else (noise,)


class _Block(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, width))

    def forward(self, stream: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.modulation(condition).chunk(2, dim=1)
        return cast("Tensor", stream + self.layers(self.norm(stream) * (1 + scale) + shift))


def _waves(times: Tensor, width: int) -> Tensor:
    """Sines and cosines of the times at frequencies from 1 to 1e-4, shape (B, width)."""
    frequencies = torch.exp(-math.log(1e4) * torch.arange(width // 2, device=times.device) / (width // 2))
    angles = times[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


@cache
def noise_schedule() -> VariancePreserving:
    """What the network was trained under."""
    return vp_of_betas("linear", BETA_START, BETA_END)


def _mixture(times: Tensor, axes: int) -> tuple[Tensor, Tensor]:
    """The parts of the clean image and of the noise at training times, each shaped for pictures of so many axes."""
    known = torch.tensor(noise_schedule().log_sigmas, device=times.device)
    exact = times.double().clamp(0, len(known) - 1)
    before = exact.detach().long().clamp(max=len(known) - 2)
    at_times = torch.lerp(known[before], known[before + 1], exact - before)
    log_sigma = at_times.reshape(-1, *(1,) * (axes - 1))
    alpha, beta = torch.sigmoid(-2 * log_sigma).sqrt(), torch.sigmoid(2 * log_sigma).sqrt()
    return alpha.to(times), beta.to(times)


def load_network(folder: Path = FOLDER) -> DigitsNetwork:
    """The trained network in float32, ready to draw."""
    return cast("DigitsNetwork", DigitsNetwork.from_pretrained(folder, torch_dtype=torch.float32).eval())
