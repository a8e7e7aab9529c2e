"""The shared ground: errors, settings, metrics, jobs and control. Pure, and without torch."""

__version__ = "0.1.0"
