"""Runs recipebench here and writes down what tracking took of it: seconds waited for, seconds of processors.

Run as `python -m recipebench.benchmarks.speed.tracked_run FILE run SUITE …`. What the tracking process and
W&B's service have used is what this process is told when it sees them end, so that nothing is sampled.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recipebench.benchmarks.cli import main as recipebench
from recipebench.benchmarks.tracking.tracker import Tracker
from recipebench.processes import processor_seconds


def main() -> None:
    """Run the command that follows the file's name."""
    taken = {"waited": 0.0, "used": 0.0}
    for name in ("__init__", "__call__", "close", "__exit__"):
        setattr(Tracker, name, _timed(getattr(Tracker, name), taken, ends=name == "__exit__"))
    to = Path(sys.argv.pop(1))
    try:
        recipebench()
    finally:
        to.write_text(json.dumps(taken))


def _timed(work: Callable[..., Any], taken: dict[str, float], *, ends: bool) -> Callable[..., Any]:
    def timed(*given: Any, **named: Any) -> Any:
        before, start = processor_seconds(), time.perf_counter()
        try:
            return work(*given, **named)
        finally:
            taken["waited"] += time.perf_counter() - start
            if ends:  # workers have been seen to end before
                taken["used"] += processor_seconds() - before

    return timed


if __name__ == "__main__":
    main()
