"""What a report costs: time and memory of `recipebench report` on made-up stores of several sizes.

`python -m recipebench.benchmarks.speed.report --cells 1000 10000` fills a store for each size with cells of
20 epochs whose numbers are drawn, not trained, and writes its report anew in every round, by a command of
its own. In one more round the memory of that command's processes is watched (on Linux). `--suite core` fills
a store for a shipped suite.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recipebench.benchmarks import environment, records
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.environment import cpu_class
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.suite import Suite, load_suite
from recipebench.processes import processor_seconds, usable_cores

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


class Filled(NamedTuple):
    """A store that is filled, and how its report is written.

    Args:
        name: of the suite.
        cells: in the store.
        command: writes the report.
        out: the folder of the report.
    """

    name: str
    cells: int
    command: list[str]
    out: Path


def filled(suite: dict[str, Any] | str, folder: Path) -> Filled:
    """Fill a store below a folder with made-up results of a suite, a shipped one or one of `suite_of`."""
    name = suite if isinstance(suite, str) else str(suite["name"])
    here = folder / name
    here.mkdir(parents=True, exist_ok=True)
    source = here / "suite.yaml"
    if isinstance(suite, dict):
        source.write_text(json.dumps(suite), encoding="utf-8")  # JSON is YAML
    of = name if isinstance(suite, str) else str(source)
    cells = fill(here / "runs", load_suite(of))
    command = [sys.executable, "-m", "recipebench", "report", of, "--store", str(here / "runs")]
    return Filled(name, cells, [*command, "--out", str(here / "out")], here / "out")


def timed(store: Filled) -> tuple[float, float]:
    """Write a report anew; return the seconds on the wall and those of all processors."""
    _remove(store.out)
    before, start = processor_seconds(), time.perf_counter()
    subprocess.run(store.command, check=True, capture_output=True)
    return time.perf_counter() - start, processor_seconds() - before


def peak_bytes(store: Filled) -> int | None:
    """Write a report anew; return the most memory that its processes held together; None where unknown."""
    if sys.platform != "linux":
        return None
    _remove(store.out)
    most = 0
    with subprocess.Popen(store.command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            most = max(most, held(process.pid))
            time.sleep(0.05)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, store.command)
    return most or None  # where the kernel tells no Pss


def held(process: int) -> int:
    """Return the bytes of a process and of all that it started, shared pages divided by their users (Linux).

    References:
        proc_pid_smaps(5), Pss.
    """
    home = Path("/proc", str(process))
    try:
        lines = (home / "smaps_rollup").read_text(encoding="ascii").splitlines()
        children = [file.read_text(encoding="ascii").split() for file in home.glob("task/*/children")]
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return 0
    own = sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return own + sum(held(int(child)) for found in children for child in found)


def measured(stores: Sequence[Filled], rounds: int) -> list[dict[str, Any]]:
    """Write all reports in turn in every round; return what each took."""
    taken = list(zip(*([timed(store) for store in stores] for _ in range(rounds)), strict=True))
    return [
        {
            "suite": store.name,
            "cells": store.cells,
            "wall_seconds": [wall for wall, _ in each],
            "processor_seconds": [spent for _, spent in each],
            "peak_bytes": peak_bytes(store),
            "page_bytes": (store.out / "index.html").stat().st_size,
            "figures": len(list((store.out / "figures").iterdir())),
        }
        for store, each in zip(stores, taken, strict=True)
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return medians over the rounds, lowest and highest time, memory and sizes as a Markdown table."""
    head = ["suite", "cells", "wall, s", "lowest to highest", "processors, s", "memory, MB"]
    head += ["page, MB", "figures"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for row in rows:
        walls, spent, memory = row["wall_seconds"], row["processor_seconds"], row["peak_bytes"]
        line = [row["suite"], f"{row['cells']:,}", f"{statistics.median(walls):.1f}"]
        line += [f"{min(walls):.1f} to {max(walls):.1f}", f"{statistics.median(spent):.1f}"]
        line += ["not known" if memory is None else f"{memory / 1e6:.0f}"]
        lines.append([*line, f"{row['page_bytes'] / 1e6:.2f}", str(row["figures"])])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def conditions() -> str:
    """Return machine and versions in one line."""
    python = ".".join(map(str, sys.version_info[:3]))
    return (
        f"{cpu_class()}, {usable_cores()} cores, {sys.platform}, Python {python}, pandas {version('pandas')}"
    )


def main() -> None:
    """Print what the reports of several sizes cost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cells", type=int, nargs="*", default=[], help=f"multiples of {STEP:,}")
    parser.add_argument("--suite", nargs="*", default=[], help="shipped suites")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all sizes in turn")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--keep", type=Path, help="keep stores and reports in this folder")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds: expected at least 1, got {options.rounds}")
    sizes = options.cells or ([] if options.suite else [1_000, 10_000])
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        stores = [filled(suite, folder) for suite in [*options.suite, *map(suite_of, sizes)]]
        rows = measured(stores, options.rounds)
    print(f"{conditions()}\n\n{table(rows)}")
    if options.json:
        options.json.write_text(json.dumps({"conditions": conditions(), "rows": rows}, indent=1) + "\n")


def _remove(out: Path) -> None:
    if out.exists():  # an old report would be kept
        shutil.rmtree(out)


if __name__ == "__main__":
    main()
