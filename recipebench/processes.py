"""How many processes may be at work, how one of this very copy of recipebench is started, what they used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import recipebench


def command(module: str) -> tuple[str, ...]:
    """Return the command that runs a module; what lies in the working directory is not imported."""
    return (sys.executable, "-P", "-m", module)


def environment() -> dict[str, str]:
    """Return the environment of this process, in which that command finds this copy."""
    home = str(Path(recipebench.__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def processor_seconds() -> float:
    """Return what all processes that this one has started and seen end have used."""
    used = os.times()
    return used.children_user + used.children_system


def usable_cores() -> int:
    """Return the number of logical processors that this process may use."""
    usable = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(usable(0)) if usable else os.cpu_count() or 1
