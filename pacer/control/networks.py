"""Whether a model has the smaller networks that a schedule's rows name."""

from __future__ import annotations

from collections.abc import Mapping

from schedules.artefact import Schedule

Networks = Mapping[str, str | None]
"""The smaller networks of a model by name: the hash of their weights, or None to take them as they are."""


def lacking(schedule: Schedule, networks: Networks) -> tuple[str, ...]:
    """The networks of a schedule that a model has not, or with other weights."""
    return tuple(
        name
        for name, wanted in schedule.networks.items()
        if name not in networks or networks[name] not in (None, wanted.weights_sha256)
    )
