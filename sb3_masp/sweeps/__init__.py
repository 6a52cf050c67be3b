"""Sweeps: many runs from one declaration, and their comparison."""

from sb3_masp.sweeps.declaration import Sweep, SweepError, SweepRun, make_sweep, read_sweep
from sb3_masp.sweeps.execution import execute, plan

__all__ = ["Sweep", "SweepError", "SweepRun", "execute", "make_sweep", "plan", "read_sweep"]
