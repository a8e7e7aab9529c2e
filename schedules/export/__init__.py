"""Schedules for other programs, one file per target; each refuses what its target could not run as it was searched."""

from schedules.export.exporter import TARGETS, Target, export
from schedules.export.parts import Export, ExportError

__all__ = ["TARGETS", "Export", "ExportError", "Target", "export"]
