"""What tracking costs: to open and close a run, a row, a thousand cells, and a server that is dead.

Run as `python -m recipebench.benchmarks.speed.tracking`. The first three need no training: cells of a
record and a history each are written as a run writes them. The last trains a suite in rounds, in turn
untracked, tracked to files, with a server that hangs, with one that refuses and with one that dies after it
has been sent a run. Two things are told of it: the seconds of the whole command, from its first import to
its end, which are as steady as the machine is; and what tracking took by itself, as `tracked_run` tells it:
the seconds that the command waited for it, and those of processors, spread over all of them. What a dead
server costs is what it takes beyond the same tracking to files.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.environment import cpu_class, package_versions
from recipebench.benchmarks.executor import Event
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.speed.wandb_server import KEY, StandIn
from recipebench.benchmarks.suite import load_suite
from recipebench.benchmarks.tracking import content
from recipebench.benchmarks.tracking.client import Client, prepare
from recipebench.benchmarks.tracking.target import Target, Tracking
from recipebench.benchmarks.tracking.tracker import Tracker
from recipebench.processes import processor_seconds, usable_cores

PACK = 16
"""Cells whose runs are open at once."""

METRICS = [
    f"{split}_{metric}" for split in ("train", "validation", "test") for metric in ("loss", "accuracy")
]

ARMS = ("untracked", "to files", "hangs", "refuses", "dies")
"""What the matrix is trained with, in turn."""

KINDS = ("seconds", "waited", "used")
"""What is measured of a run: its whole time, and what `tracked_run` tells."""


def _suite(cells: int, epochs: int) -> dict[str, Any]:
    return {
        "name": "tracking",
        "data": ["digits"],
        "model": {"mlp": {"hidden": [512, 512]}},
        "matrix": {"optimizer": ["sgd", "adam"]},
        "seeds": max(1, cells // 2),
        "protocol": {"epochs": epochs, "batch_size": 32},
    }


def _rows(epochs: int) -> list[dict[str, Any]]:
    scores = dict.fromkeys(METRICS, 1 / 3)
    return [{"epoch": e, "seconds": e / 7, "lr": 0.1, "fit_loss": 1 / 7, **scores} for e in range(epochs + 1)]


def _record(cell: Cell) -> dict[str, Any]:
    scores = {f"{name}{moment}": 2 / 3 for name in METRICS for moment in ("", "_at_best")}
    done = {"status": "ok", "pack_seconds": 1.5, "torch": "0", "cpu": "none"}
    return {"cell_id": cell.id, **cell.columns(), **done, **scores}


def _packs(cells: list[Cell]) -> list[Pack]:
    return [Pack(tuple(cells[i : i + PACK])) for i in range(0, len(cells), PACK)]


def calls(cells: int, epochs: int) -> dict[str, float]:
    """Time single calls of the client, in this process: opening and closing a run, and a row, in ms."""
    opened, rows_took, closed = [], [], []
    planned = list(expand(load_suite(_suite(cells, epochs))))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        prepare(Path(folder), os.environ)
        client = Client(Path(folder), Target("speed", None, "offline"), "speed")
        for pack in _packs(planned):
            runs = []
            for cell in pack.cells:
                took, run = _timed(lambda cell=cell: client.open(content.described(cell)))
                opened.append(took)
                runs.append((cell, run))
            for row in _rows(epochs):
                rows_took += [_timed(lambda run=run, row=row: client.log(run, [row]))[0] for _, run in runs]
            closed += [_timed(lambda c=cell, r=run: client.close(r, _record(c)))[0] for cell, run in runs]
        import wandb

        wandb.teardown()
    both = [1e3 * (o + c) for o, c in zip(opened, closed, strict=True)]
    return {
        "open and close, mean": statistics.mean(both),
        "open and close, 95 %": statistics.quantiles(both, n=20)[-1],
        "row, mean": 1e3 * statistics.mean(rows_took),
        "row, 95 %": 1e3 * statistics.quantiles(rows_took, n=20)[-1],
    }


def _timed(work: Any) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def matrix(cells: int, epochs: int, *, online: bool) -> dict[str, float]:
    """Time the tracking of a whole matrix, from the start of the process to its end, without training."""
    planned = list(expand(load_suite(_suite(cells, epochs))))
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        StandIn() as server,
        _variables(server.url if online else None),
    ):
        before, start = processor_seconds(), time.perf_counter()
        with Tracker(Tracking(), Path(folder), "speed", lambda text: None) as tracker:
            fed = _feed(tracker, _packs(planned), epochs)
            outcome = tracker.write({"status": "ok"}, [], content.described(planned[0]) | {"id": "last"})
        took, used = time.perf_counter() - start, processor_seconds() - before
    done = outcome.uploaded if online else outcome.written
    if done != len(planned) + 1:
        raise RuntimeError(f"expected {len(planned) + 1} runs, got {done}: {outcome.problem}")
    size = {"cells": len(planned), "rows": len(planned) * (epochs + 1)}
    return {**size, "seconds": took, "processor seconds": used, "fed": fed}


def _feed(tracker: Tracker, packs: list[Pack], epochs: int) -> float:
    """Report packs as a run does; return the seconds for which a run would have been kept waiting."""
    start = time.perf_counter()
    for pack in packs:
        tracker(Event("started", 0, pack))
        for epoch in range(1, epochs + 1):
            rows = _rows(epochs)[0 if epoch == 1 else epoch : epoch + 1]
            tracker(Event("epoch", 0, pack, epoch=epoch, rows={cell.id: rows for cell in pack.cells}))
        history = [{"cell_id": cell.id, **row} for cell in pack.cells for row in _rows(epochs)]
        tracker(Event("done", 0, pack, records=[_record(cell) for cell in pack.cells], history=history))
    return time.perf_counter() - start


@contextlib.contextmanager
def _variables(url: str | None) -> Iterator[None]:
    """Give this process a key and a server, or neither."""
    before = dict(os.environ)
    os.environ.pop("WANDB_API_KEY", None)
    if url:
        os.environ |= {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": url}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def dead_server(rounds: int, cells: int, epochs: int) -> dict[str, Any]:
    """Time whole runs without tracking and with servers that hang, refuse or die, in turn."""
    runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    with tempfile.TemporaryDirectory() as place:
        suite = Path(place) / "suite.yaml"
        suite.write_text(yaml.safe_dump(_suite(cells, epochs)))
        for turn in range(rounds):
            for arm in ARMS:
                runs[arm].append(_run(suite, Path(place) / f"{arm}-{turn}", arm))
    found: dict[str, Any] = {kind: {arm: [run[kind] for run in runs[arm]] for arm in ARMS} for kind in KINDS}
    found["longer"] = {arm: _longer(found["seconds"][arm], found["seconds"]["untracked"]) for arm in ARMS[1:]}
    found["taken"] = {
        arm: statistics.median([run["waited"] + run["used"] / usable_cores() for run in runs[arm]])
        for arm in ARMS[1:]
    }
    return found


def _longer(times: list[float], without: list[float]) -> float:
    """Return the share by which the middle round is longer."""
    return statistics.median([t / u - 1 for t, u in zip(times, without, strict=True)])


def _run(suite: Path, store: Path, arm: str) -> dict[str, float]:
    told = store.with_suffix(".json")
    command = [sys.executable, "-m", "recipebench.benchmarks.speed.tracked_run", str(told)]
    command += ["run", str(suite), "--store", str(store)]
    command += [] if arm == "untracked" else ["--track", "wandb"]
    alone = arm in ("untracked", "to files")
    with StandIn(hang=arm == "hangs") as server, _variables(None if alone else server.url):
        if alone or arm == "refuses":
            server.die()
        if arm == "dies":
            threading.Thread(target=_die, args=[server], daemon=True).start()
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        took = time.perf_counter() - start
    found: dict[str, float] = json.loads(told.read_text())
    return {"seconds": took, **found}


def _die(server: StandIn) -> None:
    """Let a server die once it has been sent a run."""
    while not server.runs:
        time.sleep(0.1)
    server.die()


def conditions() -> str:
    """Return machine and versions in one line."""
    version = package_versions()["wandb"]
    versions = f"Python {platform.python_version()}, wandb {version}"
    busy = f"{usable_cores()} cores with {_load():.1f} processes at work before this one"
    return f"{cpu_class()}, {platform.system()}, {versions}, {busy}"


def _load() -> float:
    """Return how many processes wanted to run in the last minute; NaN where nobody counts."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan


def report(found: dict[str, Any]) -> str:
    """Say the figures in lines."""
    one, offline, online, dead = (found[name] for name in ("calls", "offline", "online", "dead"))
    size = f"{offline['cells']:,} cells, {offline['rows']:,} rows"
    lines = [
        found["conditions"],
        f"open and close: {one['open and close, mean']:.1f} ms a cell, "
        f"in 95 of 100 at most {one['open and close, 95 %']:.1f}",
        f"row: {one['row, mean']:.2f} ms, in 95 of 100 at most {one['row, 95 %']:.2f}",
        f"{size}, to files: {offline['seconds']:.1f} s, of a processor {offline['processor seconds']:.1f} s; "
        f"the matrix waits {offline['fed']:.2f} s",
        f"{size}, to a server on this machine: {online['seconds']:.1f} s, "
        f"of a processor {online['processor seconds']:.1f} s",
    ]
    if dead:
        whole = statistics.median(dead["seconds"]["untracked"])
        lines.append(f"a run of {whole:.0f} s, tracked, median of {len(dead['seconds']['untracked'])}:")
        lines += [_told(arm, whole, dead) for arm in ARMS[1:]]
    return "\n".join(lines)


def _told(arm: str, whole: float, dead: dict[str, Any]) -> str:
    """Say what tracking took with one kind of server."""
    taken, files = dead["taken"][arm], dead["taken"]["to files"]
    told = f"  {arm}: {taken:.1f} s are tracking's, {100 * taken / whole:.1f} %"
    if arm != "to files":
        told += f", {100 * (taken - files) / whole:+.1f} % against files"
    return f"{told}; the whole run was {100 * dead['longer'][arm]:+.1f} % longer than untracked"


def main() -> None:
    """Measure, print, and with `--json` write down."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=1000, help="cells that are tracked without training")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of each of them")
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds of training with a dead server; 0: none"
    )
    parser.add_argument("--train-cells", type=int, default=32, help="cells that are trained in a round")
    parser.add_argument("--train-epochs", type=int, default=60, help="epochs of each of them")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    found = {
        "conditions": conditions(),
        "offline": matrix(options.cells, options.epochs, online=False),
        "online": matrix(options.cells, options.epochs, online=True),
        "dead": dead_server(options.rounds, options.train_cells, options.train_epochs)
        if options.rounds
        else {},
        "calls": calls(min(options.cells, 320), options.epochs),
    }
    print(report(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
