"""Gathers the cells of the shipped suites from stores into docs/runs, the store that the pages quote.

python docs/publish.py STORE ... : each cell once, from the first store that has it; of the machine's paths
only the last part is kept. What docs/runs holds already stays, unless a store has it anew. The pages of
suites that take long are written to docs/examples, by `python docs/publish.py` alone too.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

import recipebench
from recipebench.benchmarks.agenda import agenda
from recipebench.benchmarks.environment import Environment
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.suite import load_suite, shipped

RUNS = Path(__file__).parent / "runs"
EXAMPLES = Path(__file__).parent / "examples"
PAGES = ("cnn", "core", "optimizers_tuned", "rl")
"""Suites whose pages are kept: they take long to train."""

LEFT_OUT = ("RECIPEBENCH_DATA",)
"""Variables that say where a machine keeps its files, and nothing about a result."""


def publish(sources: Sequence[Path], target: Path, suites: Iterable[str | Mapping[str, object]]) -> int:
    """Write the planned cells of suites to a new store in place of `target`; return how many there are."""
    stores = [Store(path) for path in [*sources, target] if (path / "store.json").exists()]
    loaded = [load_suite(suite) for suite in suites]
    taken: set[str] = set()
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh = Store(Path(folder) / "runs")
        with fresh.lock():
            for store in stores:
                plans = [agenda(suite, store) for suite in loaded]
                planned = {cell.id for plan in plans for cell in plan.cells}
                mine = [cell for cell in store.cached() if cell in planned and cell not in taken]
                taken.update(mine)
                _copy(store, mine, fresh)
                for search in {name for plan in plans for name in plan.chosen}:
                    _copy_choice(store, search, fresh)
            fresh.compact()
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(fresh.path, target)
    (target / "store.lock").unlink(missing_ok=True)
    return len(taken)


def write_pages(store: Path, folder: Path) -> None:
    """Write the page of every suite of `PAGES` as one file."""
    folder.mkdir(exist_ok=True)
    for name in PAGES:
        with tempfile.TemporaryDirectory() as out:
            shutil.copy(recipebench.report(name, store=store, out=out), folder / f"{name}.html")


def _copy(store: Store, cells: list[str], fresh: Store) -> None:
    by_environment: dict[str, list[str]] = defaultdict(list)
    environments: dict[str, dict[str, Any]] = {}
    for cell in cells:
        found = store.environment(cell)
        by_environment[found["started"]].append(cell)
        environments[found["started"]] = found
    for started, members in by_environment.items():
        name = fresh.begin_run(_without_paths(Environment(**environments[started])))
        fresh.write(list(_rows(store.records(members))), list(_rows(store.history(members))), name)


def _copy_choice(store: Store, search: str, fresh: Store) -> None:
    choice = store.choice(search)
    if choice and fresh.choice(search) is None:
        fresh.keep_choice(search, choice)


def _without_paths(environment: Environment) -> Environment:
    variables = {n: v for n, v in environment.variables.items() if n not in LEFT_OUT}
    words = tuple(Path(word).name if word.startswith("/") else word for word in environment.command_line)
    return replace(environment, command_line=words, variables=variables)


def _rows(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the rows as plain values, with None where there is none."""
    columns = {
        str(name): [_plain(value, frame[name].dtype) for value in frame[name].tolist()] for name in frame
    }
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _plain(value: Any, kind: object) -> Any:
    absent = value is pd.NA or (isinstance(kind, pd.StringDtype) and not isinstance(value, str))
    return None if absent else value


def main() -> None:
    """Publish the stores that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", nargs="*", type=Path)
    options = parser.parse_args()
    if options.stores:
        print(f"{publish(options.stores, RUNS, shipped()):,} cells in {RUNS.name}")
    write_pages(RUNS, EXAMPLES)


if __name__ == "__main__":
    main()
