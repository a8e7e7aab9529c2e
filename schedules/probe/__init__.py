"""The probe: a stock diffusers scheduler, run on basis vectors, gives its table. Needs torch and diffusers."""

from schedules.probe.probe import probe
from schedules.probe.run import CannotRun, NotFinite, NotLinear, ProbeError

__all__ = ["CannotRun", "NotFinite", "NotLinear", "ProbeError", "probe"]
