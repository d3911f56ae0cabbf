"""What the matrix itself costs a cell, without training: planning, packing, scheduling, storing, resuming.

`python -m recipebench.benchmarks.speed.scale --cells 1000 10000` plans suites of so many cells, trains none
of them (an executor of its own answers every pack at once with made-up numbers), writes them to a store,
and comes back to that store as a second run does. Every size has a process of its own, so that its memory
is its own; a second process resumes. The time that making numbers up takes is left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from recipebench.benchmarks import runner
from recipebench.benchmarks.environment import build, cpu_class, package_versions
from recipebench.benchmarks.executor import Event, Executor, Message
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.records import metric_columns, record
from recipebench.benchmarks.runner import Options
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.suite import Suite, load_suite

SEEDS = 10
"""Seeds of each recipe."""

LEVELS: dict[str, Any] = {
    "activation": ["sigmoid", "tanh", "relu", "leaky_relu"],
    "initializer": ["xavier", "he", "xavier_fan_in", "torch_default", "small_gaussian"],
    "regularizer": ["none", "l1", "l2", "weight_decay", "dropout"],
    "optimizer": ["sgd", "momentum", "adagrad", "rmsprop", "adam"],
}
"""What is crossed: 500 recipes, and so many rates of each that the cells are as many as asked for."""

STEP = 5_000
"""Cells of one rate: suites have a multiple of this, or a part of the optimizers."""

EPOCHS = 3
"""Epochs that are made up."""

STAGES = ("plan", "pack", "schedule", "store", "collect", "reopen", "compact", "resume")
"""What is timed; the last three in a second process."""

T = TypeVar("T")


class Clock(NamedTuple):
    """Seconds on the wall, and of them those in which this process was computing."""

    wall: float = 0.0
    computing: float = 0.0

    @classmethod
    def now(cls) -> Clock:
        """Read both clocks."""
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: Clock) -> Clock:  # type: ignore[override]
        return Clock(self.wall + other.wall, self.computing + other.computing)

    def __sub__(self, other: Clock) -> Clock:
        return Clock(self.wall - other.wall, self.computing - other.computing)


Seconds = dict[str, Clock]


class SimulatedExecutor(Executor):
    """Finishes every pack at once, with numbers that look like results.

    Args:
        slots: packs under way at the same time.

    Attributes:
        seconds: what making numbers up has taken.
    """

    def __init__(self, slots: int = 8) -> None:
        super().__init__(slots)
        self.seconds = Clock()
        self._messages: deque[tuple[int, Message]] = deque()

    def __exit__(self, *exception: object) -> None:
        self._messages.clear()

    def _start(self, number: int, pack: Pack) -> None:
        began = Clock.now()
        self._messages.append((number, {"kind": "done", **made_up(pack)}))
        self.seconds += Clock.now() - began

    def _next(self) -> tuple[int, Message]:
        return self._messages.popleft()


class TimedStore(Store):
    """A store that counts the seconds in which it writes."""

    seconds = Clock()

    def write(self, *arguments: Any) -> None:
        """Write as any store does."""
        began = Clock.now()
        super().write(*arguments)
        self.seconds += Clock.now() - began


def made_up(pack: Pack) -> dict[str, Any]:
    """Return records and histories of a pack, with as many digits as real ones."""
    records, history = [], []
    for cell in pack.cells:
        digits = int(cell.id, 16) / 16**16
        rows: list[dict[str, Any]] = [
            {
                "epoch": epoch,
                "seconds": digits / (epoch + 1),
                "lr": digits,
                "fit_loss": digits / (epoch + 2),
                **{name: digits / (epoch + 3 + i) for i, name in enumerate(metric_columns(cell.task))},
            }
            for epoch in range(EPOCHS + 1)
        ]
        records.append(
            record(
                cell,
                rows,
                parameters=2_410,
                steps_per_epoch=12,
                diverged_at=None,
                best_epoch=EPOCHS,
                pack_seconds=digits,
                build=build(),
            )
        )
        history += [{"cell_id": cell.id, **row} for row in rows]
    return {"records": records, "history": history}


def suite_of(cells: int) -> Suite:
    """Return a suite of so many cells on the digits.

    Raises:
        ValueError: no such suite can be made.
    """
    matrix = dict(LEVELS)
    if cells % STEP == 0 and cells:
        rates = cells // STEP
    elif cells in (1_000, 2_000, 3_000, 4_000):
        matrix["optimizer"], rates = LEVELS["optimizer"][: cells // 1_000], 1
    else:
        raise ValueError(f"Expected a multiple of {STEP:,}, or 1,000 to 4,000 cells, got {cells:,}.")
    matrix["optimizer.lr"] = [1e-4 * 1.02**i for i in range(rates)]
    return load_suite(
        {
            "name": "scale",
            "data": ["digits"],
            "model": {"mlp": {"hidden": [32]}},
            "matrix": matrix,
            "seeds": SEEDS,
            "protocol": {"epochs": EPOCHS, "batch_size": 128},
        }
    )


def first_run(cells: int, path: Path) -> dict[str, Any]:
    """Plan, pack, schedule, store and collect a suite; return seconds by stage and megabytes by moment."""
    seconds: Seconds = {}
    memory = {"start": resident()}
    store, options = TimedStore(path), Options(workers=8)
    selection = _timed(seconds, "plan", lambda: runner.select(suite_of(cells), store, options))
    plan = _timed(seconds, "pack", lambda: runner.make_plan(selection, store, options))
    memory["planned"] = resident()
    executor, events, began = SimulatedExecutor(options.processes), _Events(), Clock.now()
    with store.lock():
        results = runner.run(
            plan, store, options, events, start=lambda packs, options, more_to_come: executor
        )
    seconds["schedule"] = events.last - began - store.seconds - executor.seconds
    seconds["store"], seconds["collect"] = store.seconds, Clock.now() - events.last
    memory |= {"scheduled": events.memory, "collected": resident()}
    assert results.counts["ok"] == cells
    return {"packs": len(plan.packs), "seconds": seconds, "memory": memory}


def second_run(cells: int, path: Path) -> dict[str, Any]:
    """Come back to the store: look, compact it as a run does, and find that nothing is left to train."""
    seconds: Seconds = {}
    files = sum(1 for _ in (path / "shards").iterdir())
    size = sum(file.stat().st_size for file in (path / "shards").iterdir())
    memory = {"start": resident()}
    found = _timed(seconds, "reopen", lambda: len(Store(path).cached()))
    store, options = Store(path), Options(workers=8)
    _timed(seconds, "compact", lambda: _lock_once(store))
    plan = _timed(
        seconds,
        "resume",
        lambda: runner.make_plan(runner.select(suite_of(cells), store, options), store, options),
    )
    memory["planned"] = resident()
    assert (found, len(plan.packs)) == (cells, 0)
    return {"files": files, "bytes": size, "seconds": seconds, "memory": memory}


class _Events:
    """Takes the time of the last event, and the memory then."""

    def __init__(self) -> None:
        self.last, self.memory = Clock(), 0.0

    def __call__(self, event: Event) -> None:
        if event.kind == "done":
            self.memory = max(self.memory, resident())
            self.last = Clock.now()


def _lock_once(store: Store) -> None:
    with store.lock():
        pass


def _timed(seconds: Seconds, stage: str, work: Callable[[], T]) -> T:
    began = Clock.now()
    result = work()
    seconds[stage] = Clock.now() - began
    return result


def resident() -> float:
    """Return the megabytes of memory that this process occupies."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def measured(cells: int, folder: Path) -> dict[str, Any]:
    """Run a suite of so many cells and resume it, each in a process of its own."""
    first, second = (_in_process(cells, folder / str(cells), part) for part in ("first", "second"))
    return {
        "cells": cells,
        "packs": first["packs"],
        "files": second["files"],
        "bytes": second["bytes"],
        "seconds": first["seconds"] | second["seconds"],
        "memory": first["memory"],
        "memory of the second run": second["memory"],
    }


def _in_process(cells: int, path: Path, part: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "recipebench.benchmarks.speed.scale", "--cells", str(cells)]
    done = subprocess.run(
        [*command, "--part", part, "--store", str(path)], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return microseconds a cell by stage, on the wall and of computing, and memory, as a Markdown table."""
    head = ["cells", "packs", *STAGES, "all, s", "MB planned", "MB more while scheduling", "MB collected"]
    head += ["bytes stored a cell"]
    lines = [" | ".join(head), " | ".join(["---:"] * len(head))]
    for row in rows:
        seconds, memory, cells = row["seconds"], row["memory"], row["cells"]
        figures = [f"{cells:,}", f"{row['packs']:,}"]
        figures += [" / ".join(f"{1e6 * part / cells:.0f}" for part in seconds[stage]) for stage in STAGES]
        figures += [f"{sum(wall for wall, _ in seconds.values()):,.0f}"]
        shown = memory["planned"], _held(memory)[1], memory["collected"]
        figures += [f"{megabytes:,.0f}" for megabytes in shown]
        lines.append(" | ".join([*figures, f"{row['bytes'] / cells:,.0f}"]))
    return "\n".join(f"| {line} |" for line in lines)


def growth(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what each size costs a cell over the size before, and the memory that each more cell takes.

    Times are those of computing, which do not depend on what else the machine does.
    """
    lines = [" | ".join(["cells", "before", *STAGES, "kB a cell, planned", "scheduling", "collected"])]
    lines.append(" | ".join(["---:"] * (len(STAGES) + 5)))
    for before, row in itertools.pairwise(rows):
        sizes, times = (before["cells"], row["cells"]), (before["seconds"], row["seconds"])
        costs = [[seconds[s][1] / n for s in STAGES] for seconds, n in zip(times, sizes, strict=True)]
        figures = [f"{row['cells']:,}", f"{before['cells']:,}"]
        figures += [f"{new / old:.2f}" for old, new in zip(*costs, strict=True)]
        held = [_held(run["memory"]) for run in (before, row)]
        more = sizes[1] - sizes[0]
        figures += [f"{1e3 * (new - old) / more:.2f}" for old, new in zip(*held, strict=True)]
        lines.append(" | ".join(figures))
    return "\n".join(f"| {line} |" for line in lines)


def _held(memory: Mapping[str, float]) -> tuple[float, float, float]:
    """Return the megabytes that planning, scheduling and collecting have added."""
    moments = [memory[name] for name in ("start", "planned", "scheduled", "collected")]
    first, second, third = (new - old for old, new in itertools.pairwise(moments))
    return first, second, third


def conditions() -> str:
    """Return machine and versions in one line."""
    versions = package_versions()
    names = [f"{name} {versions[name]}" for name in ("recipebench", "pandas", "pyarrow")]
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{cpu_class()}, {os.cpu_count()} cores, {sys.platform}, Python {python}, {', '.join(names)}"


def main() -> None:
    """Print what planning, scheduling, storing and resuming cost a cell, by number of cells."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--cells", type=int, nargs="+", default=[1_000, 10_000], help="sizes, one after another"
    )
    parser.add_argument("--store", type=Path, help="folder for the stores [a temporary one]")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--part", choices=["first", "second"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        part = {"first": first_run, "second": second_run}[options.part]
        print(json.dumps(part(options.cells[0], options.store)))
        return
    print(conditions())
    with tempfile.TemporaryDirectory() as temporary:
        rows = list(map(partial(measured, folder=options.store or Path(temporary)), options.cells))
    print(f"{table(rows)}\n\n{growth(rows)}")
    if options.json:
        options.json.write_text(json.dumps({"conditions": conditions(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
