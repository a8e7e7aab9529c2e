"""Every search method as the laboratory calls it, with what it costs."""

from __future__ import annotations
