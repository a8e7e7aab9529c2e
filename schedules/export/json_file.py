"""JSON: the artefact itself, with one entry and its whole table, so that a reader needs no compiler."""

from __future__ import annotations

from schedules.artefact import Entry, Schedule
from schedules.export.parts import Export


def export_json(schedule: Schedule, entry: Entry) -> Export:
    """The entry as a schedule artefact of its own, evidence and provenance included; nothing is lost."""
    alone = schedule.model_copy(update={"entries": (entry,)}).with_tables()
    return Export(alone.model_dump_json(indent=1) + "\n")
