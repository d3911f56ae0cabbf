"""Runs the speed suite by pytest-benchmark and saves its times with what is known of the machine."""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from recipebench.benchmarks.environment import cpu_class, describe
from recipebench.benchmarks.speed.cases import cases, devices
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.store_files import disk_errors, make_folder, write_files
from recipebench.errors import RequestError, unknown
from recipebench.reports.speed import FOLDER

WARM_UP = 5
"""Calls before the first that counts, besides those that check what a step learns."""

FIGURES = 5
"""Significant digits of a saved time; a timer has no more."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run of the suite is asked for; registers itself with pytest as a plug-in.

    Args:
        devices: where to time; none stands for all that are there.
        passes: how often all cases come up; six is the least that has an interval of 95 %.
        seconds: for each case in each pass, at least five rounds.
        only: a part of the id of the cases that are wanted.
    """

    devices: tuple[str, ...] = ()
    passes: int = 6
    seconds: float = 0.05
    only: str = ""

    def check(self) -> None:
        """Raise if there is nothing to run.

        Raises:
            RequestError: pytest-benchmark is not installed, a device is not there, a number is too small, or
                no case has such a name.
        """
        if find_spec("pytest_benchmark") is None:
            raise RequestError(
                "speed: expected pytest-benchmark, which is not installed; pip install 'recipebench[speed]'."
            )
        for device in self.devices:
            if device not in devices():
                raise RequestError(unknown("device", device, devices()))
        if self.passes < 1 or not self.seconds > 0:
            raise RequestError(
                f"speed: expected at least 1 pass of more than 0 seconds, got {self.passes} of "
                f"{self.seconds}."
            )
        cases(self.devices or devices(), self.only)

    def pytest_configure(self, config: Any) -> None:
        """Hand devices, passes and choice to `bench_cases`."""
        config.option.speed_devices = self.devices
        config.option.speed_passes = self.passes
        config.option.speed_only = self.only

    def pytest_benchmark_update_machine_info(self, config: Any, machine_info: dict[str, Any]) -> None:
        """Add what decides speed here, and leave out the name of the host."""
        machine_info.pop("node", None)
        machine_info["recipebench"] = describe(threads=torch.get_num_threads()).to_json() | {
            "gpu": torch.cuda.get_device_name() if "cuda" in (self.devices or devices()) else None,
            "torch": torch.__version__,
            "vector_instructions": torch.backends.cpu.get_cpu_capability(),
            "float32_products": torch.get_float32_matmul_precision(),
            "passes": self.passes,
            "seconds": self.seconds,
        }

    def pytest_benchmark_update_commit_info(self, config: Any, commit_info: dict[str, Any]) -> None:
        """Name the commit of this package and not that of the folder where the command is typed."""
        found = describe()
        commit_info.clear()
        commit_info.update(id=found.git_commit, dirty=found.git_changed)


def settle() -> None:
    """One thread, and no word from the libraries between the figures."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


def run(settings: Settings, *, store: Path | None = None, out: Path | None = None) -> tuple[Path, int]:
    """Time the suite and save it.

    Args:
        settings: what is timed, and how often.
        store: results are saved in its folder `speed`, under time and class of processor.
        out: the file itself, in place of a store.

    Returns:
        The file, and how many benchmarks failed; those are not in it.

    Raises:
        RequestError: there is nothing to run, or the place is taken.
        StoreError: the place cannot be written to.
        KeyboardInterrupt: nothing is saved then.
    """
    settings.check()
    path = out or place(store or Path("runs"))
    if path.exists():
        raise RequestError(f"speed: expected a new file, got {path}, which exists; choose another name.")
    with disk_errors(f"write to {path.parent}"):
        make_folder(path.parent)
    settle()
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "times.json"
        failed = _benchmark(settings, raw)
        if not raw.exists():
            raise RequestError("speed: expected at least one case that can be timed, got none; see above.")
        found = json.loads(raw.read_text(encoding="utf-8"))
    with disk_errors(f"write {path}"):
        write_files({path: _compact(found)})
    return path, failed


def place(store: Path) -> Path:
    """Return a new file in a store, which is made where there is none.

    Raises:
        RequestError: the folder is something else.
    """
    opened = Store(store)
    if not opened.exists:
        with opened.lock():
            pass
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return store / FOLDER / f"{now}-{re.sub(r'[^A-Za-z0-9_-]', '-', cpu_class())}.json"


class _Count:
    """Counts the benchmarks that fail."""

    failed = 0

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.failed += report.failed


def _benchmark(settings: Settings, raw: Path) -> int:
    """Run pytest in this process, on no configuration but this one; return how many benchmarks failed."""
    import pytest

    here, count = Path(__file__).parent, _Count()
    words = [
        *(str(here / "bench_cases.py"), "-c", os.devnull, f"--rootdir={here}", "--import-mode=importlib"),
        *("-o", "python_files=bench_*.py", "-o", "python_functions=bench_*", "-p", "no:cacheprovider"),
        *("-q", "--no-header", "--tb=short", "-W", "ignore", "--benchmark-enable", "--benchmark-quiet"),
        *(f"--benchmark-json={raw}", f"--benchmark-max-time={settings.seconds}", "--benchmark-min-rounds=5"),
        *("--benchmark-disable-gc", "--benchmark-warmup=on", f"--benchmark-warmup-iterations={WARM_UP}"),
    ]
    code = pytest.main(words, plugins=[settings, count])
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest ended with {code!r}.")
    return count.failed


def _compact(found: dict[str, Any]) -> bytes:
    """Return a run as JSON without what cannot be read back, times rounded to what a timer can tell."""
    for benchmark in found["benchmarks"]:
        benchmark.pop("params")
        times = benchmark["stats"]["data"]
        benchmark["stats"]["data"] = [float(f"{seconds:.{FIGURES}g}") for seconds in times]
    return json.dumps(found, separators=(",", ":")).encode() + b"\n"
