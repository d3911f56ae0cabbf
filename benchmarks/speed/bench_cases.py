"""The speed suite as pytest-benchmark runs it: every case in every pass is a benchmark by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from recipebench.benchmarks.speed.cases import Case, cases, devices, in_passes


def pytest_generate_tests(metafunc: Any) -> None:
    """Make a benchmark of every case in every pass; what is asked for comes from `runner.Settings`."""
    option = metafunc.config.getoption
    found = cases(option("speed_devices", None) or devices(), option("speed_only", ""))
    ordered = in_passes(found, option("speed_passes", 1))
    names = [f"{case.id}-pass{number}" for case, number in ordered]
    arguments = [pytest.param(*each, marks=pytest.mark.benchmark(timer=clock(each[0]))) for each in ordered]
    metafunc.parametrize(("case", "number"), arguments, ids=names)


def clock(case: Case) -> Callable[[], float]:
    """Return the clock for a case: on the processor one that stands still while others have the core.

    Without it a busy machine makes long calls slower than short ones, which often get by in one piece.
    """
    return time.process_time if case.device == "cpu" else time.perf_counter


def bench_case(case: Case, number: int, benchmark: Any) -> None:
    """Time a case; what it is stands beside its times."""
    benchmark.group = case.group
    benchmark.extra_info.update(case.facts(), **{"pass": number})
    work = case.ready()
    wall, own = time.perf_counter(), time.process_time()
    benchmark(work)
    benchmark.extra_info["occupied"] = (time.process_time() - own) / (time.perf_counter() - wall)
