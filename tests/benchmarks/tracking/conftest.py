"""What the tests of tracking share: a suite tracked live, run files read back, a folder that is a home."""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import recipebench as rb
from recipebench.benchmarks import verbs
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.suite import load_suite
from recipebench.benchmarks.tracking.content import rows_of

LIVE: dict[str, Any] = {
    "name": "live",
    "data": ["digits"],
    "model": {"mlp": {"hidden": [8]}},
    "matrix": {
        "activation": ["relu", {"leaky_relu": {"negative_slope": 0.2}}],
        "optimizer": [{"sgd": {"lr": 1e30}}, "adam"],
    },
    "seeds": 1,
    "probes": ["gradients"],
    "protocol": {"epochs": 3, "batch_size": 256},
    "track": {"wandb": {"project": "recipes"}},
}
"""A suite that is tracked while it trains; one optimizer diverges."""

BLOCK, HEADER = 32 * 1024, 7


@dataclass
class RunFile:
    """What a run folder of wandb holds."""

    run: Any = None
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    artifacts: list[Any] = field(default_factory=list)
    exit_code: int | None = None

    @property
    def config(self) -> dict[str, Any]:
        return {u.key: json.loads(u.value_json) for u in self.run.config.update if u.key != "_wandb"}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The history without what wandb adds."""
        return [own(row) for row in self.history]


def own(row: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what wandb adds to a row or summary."""
    return {name: value for name, value in row.items() if not name.startswith("_")}


def read_run(folder: Path) -> RunFile:
    """Read a run folder back: LevelDB's log format around wandb's records."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("*.wandb")
    found = RunFile()
    for data in _records(path.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found.run = found.run or record.run
        elif kind == "history":
            found.history.append({_key(i): json.loads(i.value_json) for i in record.history.item})
        elif kind == "summary":
            found.summary |= {_key(i): json.loads(i.value_json) for i in record.summary.update}
        elif kind == "files":
            found.files += [file.path for file in record.files.files]
        elif kind == "artifact":
            found.artifacts.append(record.artifact)
        elif kind == "exit":
            found.exit_code = record.exit.exit_code
    return found


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def _records(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    at, parts = HEADER, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + HEADER])
        if kind == 0:
            break
        parts += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def same(one: Any, other: Any) -> bool:
    """Equality in which NaN equals NaN."""
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(one[k], other[k]) for k in one)
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)


@dataclass(frozen=True)
class Tracked:
    """A suite with its store, what was printed, and the run folders by id."""

    suite: dict[str, Any]
    store: Path
    printed: str
    home: Path

    @property
    def folders(self) -> dict[str, Path]:
        found = sorted((self.store / "tracking" / "wandb").glob("offline-run-*"))
        ids = {folder: next(folder.glob("*.wandb")).stem.removeprefix("run-") for folder in found}
        assert len(set(ids.values())) == len(ids), "a run has two folders"
        return {run: folder for folder, run in ids.items()}

    @property
    def cells(self) -> list[Cell]:
        return list(expand(load_suite(self.suite)))

    def frames(self) -> tuple[dict[str, dict[str, Any]], dict[str, list[dict[str, Any]]]]:
        """Records and histories of the store as rows without nulls, by cell."""
        results = rb.load(self.store, self.suite)
        records = {row["cell_id"]: row for row in rows_of(results.records)}
        return records, histories(results.history)


def histories(frame: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows_of(frame.sort_values(["cell_id", "epoch"])):
        found.setdefault(row.pop("cell_id"), []).append(row)
    return found


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home folder: no netrc, no settings of wandb."""
    return tmp_path_factory.mktemp("home")


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def recipebench(home: Path) -> Run:
    """Run the command in a process of its own, with no W&B variables but those given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    places = [str(Path(rb.__file__).resolve().parent.parent), clean.get("PYTHONPATH", "")]
    clean |= {"HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, places))}

    def run(*arguments: object, prefix: tuple[str, ...] = (), **variables: str) -> Any:
        return subprocess.run(
            [*prefix, sys.executable, "-m", "recipebench", *map(str, arguments)],
            env={
                **clean,
                "HOME": str(home),
                "PYTHONPATH": os.pathsep.join(filter(None, places)),
                **variables,
            },
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def offline(recipebench: Run, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    """A suite that was tracked while it trained, without a key."""
    folder = tmp_path_factory.mktemp("offline")
    file = folder / "live.yaml"
    file.write_text(yaml.safe_dump(LIVE))
    done = recipebench("run", file, "--store", folder / "runs", "--workers", 1)
    assert done.returncode == 0, done.stderr
    return Tracked(LIVE, folder / "runs", done.stdout + done.stderr, home)


Track = Callable[..., tuple[int, str]]


@pytest.fixture
def track(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Track:
    """Write the runs of a store of the suite `LIVE`, from this process; return code and output."""

    def write(store: Path, mode: str | None = None, **variables: str) -> tuple[int, str]:
        file = store.parent / "live.yaml"
        file.write_text(yaml.safe_dump(LIVE))
        with monkeypatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("WANDB_")]:
                patch.delenv(name)
            for name, value in {"HOME": str(home), **variables}.items():
                patch.setenv(name, value)
            capfd.readouterr()
            code = verbs.track(str(file), store, None, how={"mode": mode} if mode else {})
        out, err = capfd.readouterr()
        return code, out + err

    return write


@pytest.fixture(scope="session")
def tools() -> Any:
    """The helpers above: `read_run`, `same`, `own` and `Tracked`."""
    return sys.modules[__name__]
