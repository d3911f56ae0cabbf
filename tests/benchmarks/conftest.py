"""What the tests of runs share: a small suite, a store in which it is trained, and the command."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import recipebench as rb
from recipebench.benchmarks import cli, devices, executor
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.suite import load_suite

EXAMPLE: dict[str, Any] = {
    "name": "example",
    "data": ["digits", {"synthetic_regression": {"n": 200}}],
    "model": {"mlp": {"hidden": [8]}},
    "matrix": {
        "regularizer": ["none", {"early_stopping": {"patience": 1}}],
        "optimizer": [{"sgd": {"lr": 1e30}}, {"momentum": {"lr": 0.3}}, "adam"],
    },
    "seeds": 1,
    "protocol": {"epochs": 5, "batch_size": 64},
}


@pytest.fixture(autouse=True)
def no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan as on a machine without graphics processors, wherever the tests run."""
    monkeypatch.setattr(devices, "_gpus", lambda: ())


@dataclass(frozen=True)
class Trained:
    """A suite with the store that holds all of its cells."""

    suite: dict[str, Any]
    store: Path
    file: Path

    @property
    def cells(self) -> list[Cell]:
        """The planned cells."""
        return list(expand(load_suite(self.suite)))

    def cell(self, **names: str) -> Cell:
        """The first cell with these levels."""
        wanted = names.items()
        return next(c for c in self.cells if all(getattr(c, axis).name == name for axis, name in wanted))


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    file = folder / "example.yaml"
    file.write_text(yaml.safe_dump(EXAMPLE))
    rb.run(EXAMPLE, store=folder / "runs", workers=1, quiet=True)
    return Trained(EXAMPLE, folder / "runs", file)


@pytest.fixture
def trained(trained_once: Trained) -> Trained:
    """A trained suite to look at."""
    return trained_once


@pytest.fixture
def copy(trained_once: Trained, tmp_path: Path) -> Trained:
    """A trained suite to change."""
    store = Path(shutil.copytree(trained_once.store, tmp_path / "copy"))
    return Trained(trained_once.suite, store, trained_once.file)


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Run the command in this process, in an empty folder; what its workers print counts too."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["recipebench", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Outcome(ended.value.code, out, err)

    return run


@pytest.fixture
def children() -> Callable[[int], set[int]]:
    """Find the processes that a process has started and that are alive."""
    if not Path("/proc/self/task").exists():
        pytest.skip("needs /proc")

    def find(pid: int) -> set[int]:
        found: set[int] = set()
        for task in Path(f"/proc/{pid}/task").glob("*"):
            found |= {int(child) for child in (task / "children").read_text().split()}
        return {child for child in found if is_alive(child)}

    return find


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Tell whether a process still runs."""
    return is_alive


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@pytest.fixture
def worker_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replace `training.train` in the workers: the code given may call `original`."""

    def install(body: str) -> None:
        script = tmp_path / "worker.py"
        lines = [
            "import os, signal, sys",
            "from recipebench.benchmarks import training, worker",
            "original = training.train",
            "def train(cells, data_dir, progress, **options):",
            *(f"    {line}" for line in body.splitlines()),
            "    return original(cells, data_dir, progress, **options)",
            "training.train = train",
            "worker.main()",
        ]
        script.write_text("\n".join(lines))
        monkeypatch.setattr(executor, "COMMAND", (sys.executable, "-P", str(script)))

    return install
