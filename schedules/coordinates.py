"""Exact changes of coordinates: a table over the velocity of a flow, and the same sampler over a network's own outputs.

A variance-preserving model seen as a flow: with alpha = 1 / sqrt(1 + sigma^2), beta = sigma alpha and s = sigma /
(1 + sigma), the state (1 - s) x0 + s n is a multiple of what the network was trained on, z = alpha x0 + beta n. Both
x0 and n are linear in (z, output), and so is the velocity n - x0 = a z + b output. A table found for the velocity of
such a wrapped network is therefore a table over the network's outputs, with other numbers.

A variance-preserving model knows nothing beyond its largest sigma (157 for DDPM's betas, s = 0.9937), and noise of
unit variance is what it is to begin with. Levels above that, up to pure noise s = 1, are given to it as its largest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schedules.noise import FLOW, NoiseSchedule
from schedules.table import FloatArray, Prediction, Table


class CoordinatesError(ValueError):
    """A table or levels that cannot be changed; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """How a network is asked for a velocity at flow levels s; each attribute has their shape, float64.

    Attributes:
        times: the network's own time.
        scale: of the flow's state to the network's input, z = scale x, 1 / sqrt((1 - s)^2 + s^2).
        of_input: a in the velocity a z + b output.
        of_output: b in it.
        exploding: of the network's input to the state in variance-exploding coordinates, sqrt(1 + sigma^2).
    """

    times: FloatArray
    scale: FloatArray
    of_input: FloatArray
    of_output: FloatArray
    exploding: FloatArray


def view(levels: FloatArray, prediction: Prediction, noise: NoiseSchedule) -> View:
    """The view of a variance-preserving network at flow levels.

    Args:
        levels: s, in (0, 1]; for epsilon and v_prediction 0 too.
        prediction: what the network's output stands for: "epsilon", "v_prediction" or "sample".
        noise: how it was trained, a variance-preserving schedule.

    Raises:
        CoordinatesError: the levels or the prediction are not that, or the noise is a flow's.
    """
    levels = np.asarray(levels, dtype=np.float64)
    if noise.kind != "vp" or prediction == "flow":
        raise CoordinatesError(f"prediction: {prediction!r} with {noise.kind!r} noise needs no other coordinates")
    if not ((levels >= 0) & (levels <= 1)).all():
        raise CoordinatesError("levels: must be from 0 to 1")
    if prediction == "sample" and (levels == 0).any():
        raise CoordinatesError("levels: the velocity of a clean image is undefined at 0")
    sigmas = exploding_sigmas(levels, noise)
    alpha = 1.0 / np.sqrt(1.0 + sigmas**2)
    of_input, of_output = _velocity_weights(sigmas, alpha, prediction)
    scale = 1.0 / np.hypot(1.0 - levels, levels)
    return View(noise.time(sigmas), scale, of_input, of_output, 1.0 / alpha)


def exploding_sigmas(levels: FloatArray, noise: NoiseSchedule) -> FloatArray:
    """The variance-exploding sigma of flow levels, s / (1 - s), at most the network's largest, same shape."""
    levels = np.asarray(levels, dtype=np.float64)
    largest = noise.sigma_max / (1.0 + noise.sigma_max)
    below = np.minimum(levels, largest)
    sigmas: FloatArray = np.minimum(below / (1.0 - below), noise.sigma_max)
    return sigmas


def flow_levels(sigmas: FloatArray) -> FloatArray:
    """The flow level of variance-exploding sigmas, sigma / (1 + sigma), same shape."""
    sigmas = np.asarray(sigmas, dtype=np.float64)
    levels: FloatArray = sigmas / (1.0 + sigmas)
    return levels


def _velocity_weights(sigmas: FloatArray, alpha: FloatArray, prediction: Prediction) -> tuple[FloatArray, FloatArray]:
    """The weights (a, b) of the velocity n - x0 = a z + b output."""
    beta = sigmas * alpha
    if prediction == "epsilon":  # x0 = (z - beta n) / alpha
        return -1.0 / alpha, 1.0 + sigmas
    if prediction == "v_prediction":  # x0 = alpha z - beta v, n = beta z + alpha v
        return beta - alpha, alpha + beta
    return 1.0 / beta, -(1.0 + alpha / beta)  # n = (z - alpha x0) / beta


def to_network(table: Table, levels: FloatArray, prediction: Prediction, noise: NoiseSchedule) -> Table:
    """From a table over velocities to one over the network's own outputs, in variance-exploding coordinates.

    Classifier-free guidance commutes with the change, since its weights add up to 1.

    Args:
        table: in flow coordinates, its outputs velocities, its input scale 1.
        levels: s of each evaluation and of the result, shape (E + 1,), in 0..1, the last below 1.
        prediction: what the network's output stands for.
        noise: how it was trained.

    Returns:
        The same sampler: t and c as compile_table has them, rows over the network's outputs.

    Raises:
        CoordinatesError: the levels do not fit, or an unconditional output is reused at a row, where the network's
            reused output would stand for another velocity.
    """
    levels = _checked(table, levels)
    if (table.c != 1.0).any():
        raise CoordinatesError("table: is not in flow coordinates, its input scale c must be 1")
    seen = view(levels[:-1], prediction, noise)
    bases, count = len(table.base), table.evaluations_count
    velocities = np.zeros((bases + count, bases + count))  # the flow's history over the network's
    velocities[:bases, :bases] = np.eye(bases)
    for k in range(count):
        velocities[bases + k] = seen.of_input[k] * seen.scale[k] * (table.X[k] @ velocities)
        velocities[bases + k, bases + k] += seen.of_output[k]
    scales = np.append(seen.scale * seen.exploding, 1.0 / (1.0 - levels[-1]))
    rows = _lower(scales, table.X @ velocities, bases)
    return Table(seen.times, 1.0 / seen.exploding, table.w, table.uncond, rows, table.base, networks=table.networks)


def to_flow(table: Table, levels: FloatArray, prediction: Prediction, noise: NoiseSchedule) -> Table:
    """From a table over a network's own outputs to one over velocities, in flow coordinates.

    Args:
        table: over the network's outputs, its result in variance-exploding coordinates.
        levels: s of each evaluation and of the result, shape (E + 1,), the last below 1; flow_levels of its sigmas.
        prediction: what the network's output stands for.
        noise: how it was trained.

    Returns:
        The same sampler of the wrapped network: t = 1000 s, c = 1, rows over velocities.

    Raises:
        CoordinatesError: as to_network.
    """
    levels = _checked(table, levels)
    seen = view(levels[:-1], prediction, noise)
    bases, count = len(table.base), table.evaluations_count
    outputs = np.zeros((bases + count, bases + count))  # the network's history over the flow's
    outputs[:bases, :bases] = np.eye(bases)
    for k in range(count):
        outputs[bases + k] = -seen.of_input[k] / seen.of_output[k] * table.c[k] * (table.X[k] @ outputs)
        outputs[bases + k, bases + k] += 1.0 / seen.of_output[k]
    scales = np.append(table.c / seen.scale, 1.0 - levels[-1])
    rows = _lower(scales, table.X @ outputs, bases)
    return Table(
        FLOW.time(levels[:-1]), np.ones(count), table.w, table.uncond, rows, table.base, networks=table.networks
    )


def _checked(table: Table, levels: FloatArray) -> FloatArray:
    levels = np.asarray(levels, dtype=np.float64)
    if levels.shape != (table.evaluations_count + 1,):
        raise CoordinatesError(
            f"levels: must have shape ({table.evaluations_count + 1},), one for each evaluation and one for the "
            f"result, has {levels.shape}"
        )
    if not 0 <= levels[-1] < 1:
        raise CoordinatesError(f"levels: the last must be from 0 to below 1, is {levels[-1]}")
    if "reused" in table.uncond:
        raise CoordinatesError("uncond: a reused unconditional output stands for another velocity at another level")
    return levels


def _lower(scales: FloatArray, rows: FloatArray, bases: int) -> FloatArray:
    """Rows scaled; what is zero by construction stays exactly so."""
    scaled: FloatArray = np.tril(scales[:, None] * rows, k=bases - 1)
    return scaled
