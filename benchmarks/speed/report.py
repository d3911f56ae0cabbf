"""What a report costs: time and memory of `recipebench report` on made-up stores of several sizes.

`python -m recipebench.benchmarks.speed.report --cells 1000 10000` fills a store for each size with cells of
20 epochs whose numbers are drawn, not trained, writes its report in a process of its own, and prints the
processor seconds and the peak memory of that process, and the size of the page. `--suite core` fills a
store for a shipped suite instead.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recipebench.benchmarks import environment, records
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.suite import Suite, load_suite

EPOCHS, SEEDS = 20, 5
DATA = ("synthetic_regression", "digits", "mnist", "fashion_mnist")
FACTORS: dict[str, list[Any]] = {
    "activation": ["sigmoid", "relu", "leaky_relu", "maxout", "tanh"],
    "initializer": ["xavier", "he"],
    "regularizer": ["none", "l1", "l2", "dropout", "early_stopping"],
}
OPTIMIZERS = (
    *("sgd", "momentum", "adagrad", "rmsprop", "adam", "nesterov", "adamw"),
    *({name: {"lr": 0.003}} for name in ("adam", "rmsprop", "adagrad")),
)
STEP = len(DATA) * SEEDS * 50
"""Cells with one optimizer: sizes are multiples of it."""

PACK = 500
"""Cells that are committed to the store at once."""


def suite_of(cells: int) -> dict[str, Any]:
    """Return a suite of so many cells, a multiple of `STEP`: the more, the more optimizers.

    Example:
        >>> suite_of(2000)["matrix"]["optimizer"]
        ['sgd', 'momentum']
    """
    return {
        "name": f"report_{cells}",
        "data": list(DATA),
        "model": {"mlp": {"hidden": [32]}},
        "matrix": FACTORS | {"optimizer": list(OPTIMIZERS[: max(1, cells // STEP)])},
        "seeds": SEEDS,
        "protocol": {"epochs": EPOCHS, "batch_size": 128},
        "time_to_target": {"share": 0.9},
    }


def fill(folder: Path, suite: Suite) -> int:
    """Fill a store with made-up results of all cells of a suite; return how many cells there are."""
    cells, draw = list(expand(suite)), np.random.default_rng(0)
    store = Store(folder)
    with store.lock():
        run = store.begin_run(environment.describe(workers=1, threads=1))
        for start in range(0, len(cells), PACK):
            rows, histories = [], []
            for cell in cells[start : start + PACK]:
                row, history = made_up(cell, draw)
                rows.append(row)
                histories += history
            store.write(rows, histories, run)
        store.compact()
    return len(cells)


def made_up(cell: Cell, draw: np.random.Generator) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a record and a history that learn as a network does; one cell in fifty diverges."""
    speed = 0.2 + 0.6 * (int(cell.id[:4], 16) / 16**4)
    history = list(_history(cell, speed, draw))
    losses = [row["validation_loss"] for row in history[1:]]
    found = records.record(
        cell,
        history,
        parameters=10_000,
        steps_per_epoch=100,
        diverged_at=7 if draw.random() < 0.02 else None,
        best_epoch=1 + int(np.argmin(losses)),
        pack_seconds=1.0,
        build={"torch": "2.13.0", "cpu": "made up"},
    )
    return found, [{"cell_id": cell.id, **row} for row in history]


def _history(cell: Cell, speed: float, draw: np.random.Generator) -> Iterator[dict[str, Any]]:
    for epoch in range(cell.epochs + 1):
        error = float(np.exp(-speed * epoch) * 0.85 + 0.02 + 0.01 * draw.random())
        row: dict[str, Any] = {"epoch": epoch, "seconds": 0.1 * epoch, "lr": 0.1, "fit_loss": error}
        for column in records.metric_columns(cell.task):
            better_high = column.endswith(("accuracy", "r2"))
            row[column] = 1 - error if better_high else error
        yield row


def measured(suite: dict[str, Any] | str, folder: Path) -> dict[str, Any]:
    """Fill a store and write its report in a process of its own; return what that process took."""
    source = folder / "suite.yaml"
    if isinstance(suite, dict):
        source.write_text(json.dumps(suite), encoding="utf-8")  # JSON is YAML
    name = str(source) if isinstance(suite, dict) else suite
    cells = fill(folder / "runs", load_suite(name))
    command = [sys.executable, "-m", "recipebench", "report", name, "--store", str(folder / "runs")]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*command, "--out", str(folder / "out")], check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = [(b - a) for a, b in ((before.ru_utime, after.ru_utime), (before.ru_stime, after.ru_stime))]
    return {
        "cells": cells,
        "processor_seconds": sum(spent),
        "wall_seconds": wall,
        "peak_bytes": after.ru_maxrss * 1024,  # of the largest child so far: sizes must not fall
        "page_bytes": (folder / "out" / "index.html").stat().st_size,
        "figures": len(list((folder / "out" / "figures").iterdir())),
    }


def main() -> None:
    """Print what the reports of several sizes cost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cells", type=int, nargs="*", default=[], help=f"multiples of {STEP:,}")
    parser.add_argument("--suite", nargs="*", default=[], help="shipped suites")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--keep", type=Path, help="keep stores and reports in this folder")
    options = parser.parse_args()
    sizes = options.cells or ([] if options.suite else [1_000, 10_000])
    print("| suite | cells | processor s | wall s | peak MB | page MB | figures |\n|" + " --- |" * 7)
    found = []
    for suite in [*options.suite, *map(suite_of, sorted(sizes))]:
        name = suite if isinstance(suite, str) else str(suite["name"])
        with tempfile.TemporaryDirectory() as temporary:
            folder = (options.keep or Path(temporary)) / name
            folder.mkdir(parents=True, exist_ok=True)
            found.append({"suite": name, **measured(suite, folder)})
        row = found[-1]
        print(
            f"| {name} | {row['cells']:,} | {row['processor_seconds']:.1f} | {row['wall_seconds']:.1f} "
            f"| {row['peak_bytes'] / 1e6:.0f} | {row['page_bytes'] / 1e6:.2f} | {row['figures']} |",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
