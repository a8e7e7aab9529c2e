"""JSON: the artefact itself, with one entry and its whole table, so that a reader needs no compiler."""

from __future__ import annotations

from schedules.artefact import Entry, Schedule
from schedules.export.parts import Export, runs_in_pipelines
from schedules.table import Table


def export_json(schedule: Schedule, entry: Entry) -> Export:
    """The entry as a schedule artefact of its own, evidence and provenance included; nothing is lost."""
    alone = schedule.model_copy(update={"entries": (entry,)}).with_tables()
    return Export(alone.model_dump_json(indent=1) + "\n", _notes(schedule.table(entry)))


def _notes(table: Table) -> tuple[str, ...]:
    """How a stock pipeline is called where rows have guidance of their own."""
    if not runs_in_pipelines(table) or (table.w == 1).all():
        return ()
    call = "pipe(prompt, **pipe.scheduler.call_arguments(guidance_scale=G))"
    return (f"Rows are guided by weights of their own: with PacerScheduler call {call}.",)
