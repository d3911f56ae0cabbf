"""What the command's verbs do: find what a person means, call the modules, say what happened."""

from __future__ import annotations

import platform
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from recipebench.benchmarks import environment, runner
from recipebench.benchmarks.cells import expand
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.progress import ProgressView
from recipebench.benchmarks.records import CELL, cell_of
from recipebench.benchmarks.reporting import write_report
from recipebench.benchmarks.results import Results, closing_line, collect
from recipebench.benchmarks.runner import Options, Plan
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.suite import Suite, load_suite, shipped, template
from recipebench.datamodules.catalog import DATA
from recipebench.errors import RequestError, unknown
from recipebench.levels import Catalog
from recipebench.lightning_modules.catalog import ACTIVATIONS, INITIALIZERS, MODELS, OPTIMIZERS, REGULARIZERS

FACTORS: dict[str, Catalog] = {
    "activation": ACTIVATIONS,
    "initializer": INITIALIZERS,
    "regularizer": REGULARIZERS,
    "optimizer": OPTIMIZERS,
    "models": MODELS,
    "data": DATA,
}
"""What `list` can list, besides suites."""

LIST_COLUMNS = ("name", "what it does", "formula", "defaults", "source")
"""The columns of `list`."""


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What `recipebench run` was asked; see its help."""

    suite: str | Path | Mapping[str, object] | Suite
    store: Path = Path("runs")
    out: Path | None = None
    data_dir: Path | None = None
    workers: int | None = None
    pack_size: int | None = None
    device: str | None = None
    seeds: int | None = None
    skip_unavailable: bool = False
    mix: bool = False

    def validated(self) -> Suite:
        """Return the suite with the seeds and devices of the request."""
        return load_suite(self.suite).replaced(seeds=self.seeds, device=self.device)

    def options(self) -> Options:
        """Return how to run it."""
        return Options(self.data_dir, self.workers, self.pack_size, self.mix, self.skip_unavailable)


def run(request: RunRequest) -> int:
    """Train, report, print where; return the exit code."""
    results = run_and_report(request, Console(highlight=False, soft_wrap=True))
    counts = results.counts
    return 1 if counts["failed"] or counts["missing"] else 0


def run_and_report(request: RunRequest, console: Console) -> Results:
    """Train what is missing, write the report, return the results."""
    suite, options = request.validated(), request.options()
    store = Store(request.store, on_problem=lambda text: console.print(text, markup=False))
    with store.lock():
        plan = runner.make_plan(suite, store, options)
        _announce(plan, console)
        with ProgressView(plan, console) as view:
            results = runner.run(plan, store, options, view)
        console.print(closing_line(results.counts))
        page = write_report(suite, plan.cells, results, store, request.out or _reports(store, suite))
    console.print(f"Report: {page}", markup=False)
    return results


def dry_run(request: RunRequest) -> int:
    """Print cells, packs and an estimate of time; train and write nothing."""
    from recipebench.benchmarks.estimate import estimate_seconds

    console, suite, options = Console(highlight=False, soft_wrap=True), request.validated(), request.options()
    store = Store(request.store)
    plan = runner.make_plan(suite, store, options, ask_why_alone=True)
    _announce(plan, console)
    table = Table(
        "packs", "cells", "data", "model", "activation", "epochs", "batch", "alone because", box=None
    )
    for (*texts, alone), packs in _alike(plan.packs).items():
        cells = sum(len(pack.cells) for pack in packs)
        table.add_row(str(len(packs)), str(cells), *texts, alone)
    console.print(table)
    alone = sum(len(pack.cells) for pack in plan.packs if len(pack.cells) == 1)
    packed = sum(len(pack.cells) for pack in plan.packs) - alone
    console.print(f"{packed} cells in {len(plan.packs) - alone} packs, {alone} alone.")
    minutes = estimate_seconds(plan.packs, options.processes) / 60
    duration = f"{minutes:.0f} min" if minutes >= 1.5 else f"{60 * minutes:.0f} s"
    console.print(f"About {duration} with {options.processes} workers on this machine.")
    return 0


def _alike(packs: Sequence[Pack]) -> dict[tuple[str, ...], list[Pack]]:
    groups: dict[tuple[str, ...], list[Pack]] = {}
    for pack in packs:
        cell = pack.cells[0]
        activation = cell.activation.name if cell.activation else ""
        key = (
            cell.data.name,
            cell.model.name,
            activation,
            str(cell.epochs),
            str(cell.batch_size),
            pack.alone or "",
        )
        groups.setdefault(key, []).append(pack)
    return groups


def _announce(plan: Plan, console: Console) -> None:
    todo = sum(len(pack.cells) for pack in plan.packs)
    for text in plan.left_out:
        console.print(f"Left out: {text}", markup=False)
    absent = len(plan.cells) - len(plan.cached) - todo
    parts = [f"{len(plan.cells)} cells planned", f"{len(plan.cached)} in the store", f"{todo} to train"]
    parts += [f"{absent} not possible here"] if absent else []
    console.print(f"{plan.suite.name}: {', '.join(parts)}.", markup=False)


def _reports(store: Store, suite: Suite) -> Path:
    return store.path / "reports" / suite.name


def report(
    source: str, path: Path, out: Path | None, *, seeds: int | None = None, device: str | None = None
) -> int:
    """Write a suite's report from the store; return the exit code."""
    page, results = report_of(source, path, out, seeds=seeds, device=device)
    print(closing_line(results.counts))
    print(f"Report: {page}")
    return 1 if results.counts["failed"] or results.counts["missing"] else 0


def report_of(
    source: str | Path | Mapping[str, object] | Suite,
    path: Path,
    out: Path | None,
    *,
    seeds: int | None = None,
    device: str | None = None,
) -> tuple[Path, Results]:
    """Write a suite's report from the store; return its page and the results."""
    suite = load_suite(source).replaced(seeds=seeds, device=device)
    store = existing_store(path)
    cells = list(expand(suite))
    results = collect(suite, store, cells)
    return write_report(suite, cells, results, store, out or _reports(store, suite)), results


def existing_store(path: Path) -> Store:
    """Open a store for reading.

    Raises:
        RequestError: there is none.
    """
    store = Store(path)
    if not store.exists:
        raise RequestError(
            f"Expected a store at {path}, found none. `recipebench run` makes one; --store names another."
        )
    return store


def list_levels(what: str | None) -> None:
    """Print levels with summaries, defaults and sources."""
    console = Console(highlight=False, width=None if Console().is_terminal else 160)
    for name in [what] if what else [*FACTORS, "suites"]:
        table = Table(*LIST_COLUMNS, title=name, title_justify="left", box=None)
        for row in rows_of(name):
            table.add_row(*row)
        console.print(table)


def rows_of(what: str) -> list[tuple[str, ...]]:
    """Return the levels of a factor, the data sets, the models or the suites; columns: `LIST_COLUMNS`.

    Raises:
        RequestError: there is no such list.
    """
    if what == "suites":
        return _suite_rows()
    if what not in FACTORS:
        raise RequestError(unknown("list", what, [*FACTORS, "suites"]))
    return _level_rows(FACTORS[what])


def _level_rows(catalog: Catalog) -> list[tuple[str, ...]]:
    return [
        (
            level.name,
            level.summary,
            level.formula,
            ", ".join(f"{p.name} {_plain(p.default)}" for p in level.parameters),
            level.source,
        )
        for level in catalog.values()
    ]


def _plain(value: object) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _suite_rows() -> list[tuple[str, ...]]:
    rows = []
    for name in shipped():
        suite = load_suite(name)
        rows.append((name, suite.description, "", f"{sum(1 for _ in expand(suite))} cells", "shipped"))
    return rows


def find_cell(store: Store, prefix: str) -> str:
    """Return the one cell id that begins with a prefix.

    Raises:
        RequestError: none or several do.
    """
    matches = [cell for cell in store.statuses() if cell.startswith(prefix)] if prefix else []
    if len(matches) != 1:
        found = f"{len(matches)} do ({', '.join(matches[:4])} …)" if matches else "none does"
        raise RequestError(f"Expected one cell of {store.path} whose id begins with {prefix!r}; {found}.")
    return matches[0]


def show(prefix: str, path: Path) -> None:
    """Print one cell."""
    store = existing_store(path)
    cell_id = find_cell(store, prefix)
    record = store.records([cell_id]).iloc[0].drop(CELL).dropna()
    history = store.history([cell_id])
    console = Console(highlight=False, soft_wrap=True)
    table = Table("", "", box=None, show_header=False)
    for name, value in record.items():
        table.add_row(str(name), _plain(value))
    console.print(table)
    for column in ("train_loss", "validation_loss", "validation_accuracy", "validation_mse"):
        if column in history and history[column].notna().any():
            values = history[column].astype(float).to_list()
            console.print(f"{column:20} {sparkline(values)}  {values[0]:.4g} … {values[-1]:.4g}")
    where = store.environment(cell_id)
    versions = ", ".join(f"{name} {version}" for name, version in where["packages"].items())
    console.print(
        f"trained on {where['cpu_model']}, {where['os']}, Python {where['python']}, {versions}", markup=False
    )
    console.print(
        f"repeat: recipebench export {cell_id} --store {path} --out {cell_id}.safetensors", markup=False
    )


def sparkline(values: Sequence[float]) -> str:
    """Draw numbers as a row of bars.

    Example:
        >>> sparkline([0.0, 1.0, 0.5])
        '▁█▅'
    """
    bars = "▁▂▃▄▅▆▇█"
    low, high = min(values), max(values)
    width = (high - low) or 1.0
    return "".join(bars[round((value - low) / width * (len(bars) - 1))] for value in values)


def export(prefix: str, path: Path, data_dir: Path | None, out: Path, at: str) -> int:
    """Train a cell again, alone, and write its weights."""
    moments = ("start", "end", "best")
    if at not in moments:
        raise RequestError(unknown("moment", at, moments))
    if out.suffix != ".safetensors":
        raise RequestError(f"--out: expected a name that ends in .safetensors, got {str(out)!r}.")
    from recipebench.benchmarks import weights

    store = existing_store(path)
    record = store.records([find_cell(store, prefix)]).iloc[0]
    weights.export(cell_of(record), at, out, data_dir)
    print(f"Weights: {out}")
    return 0


def verify(source: str, path: Path, sample: str, data_dir: Path | None, workers: int | None) -> int:
    """Train a sample of stored cells again, each alone, and compare the bits; return the exit code."""
    suite, store = load_suite(source), existing_store(path)
    done = store.cached()
    cells = [cell for cell in expand(suite) if cell.id in done]
    if not cells:
        raise RequestError(f"The store {path} has no finished cell of {suite.name}.")
    chosen = random.Random(0).sample(cells, _sample_size(sample, len(cells)))
    differing = runner.differing(chosen, store, Options(data_dir, workers, pack_size=1))
    for cell_id, columns in differing.items():
        print(f"{cell_id} differs in {', '.join(columns)}")
    print(
        f"verified {len(chosen)} of {len(cells)} cells: {len(chosen) - len(differing)} equal, {len(differing)} differ"
    )
    return 1 if differing else 0


def _sample_size(text: str, total: int) -> int:
    try:
        wanted = float(text[:-1]) / 100 * total if text.endswith("%") else int(text)
    except ValueError:
        wanted = 0
    if wanted <= 0:
        raise RequestError(f"--sample: expected a share such as 1% or a number of cells, got {text!r}.")
    return min(total, max(1, round(wanted)))


def init(path: Path) -> None:
    """Write a commented suite, unless the file exists."""
    if path.exists():
        raise RequestError(f"{path} exists already; choose another name.")
    try:
        path.write_text(template(), encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror}.") from error
    print(f"Suite: {path}. Next: recipebench run {path if path.is_absolute() else f'./{path}'} --dry-run")


def doctor(data_dir: Path | None, path: Path) -> None:
    """Print machine, versions, devices, data sets and the state of the store."""
    from recipebench.datamodules import fetch

    here = environment.describe()
    rows: list[tuple[str, Callable[[], str]]] = [
        ("machine", lambda: f"{here.cpu_model}, {here.cores} cores, {here.os}"),
        ("class", environment.cpu_class),
        ("GPUs", lambda: "; ".join(here.gpus) or "none"),
        ("Python", platform.python_version),
        ("packages", lambda: ", ".join(f"{name} {version}" for name, version in here.packages.items())),
        ("store", lambda: f"{path}: {len(Store(path).cached())} finished cells"),
    ]
    rows += [(f"data {name}", lambda name=name: _found(fetch, name, data_dir)) for name in DATA]  # type: ignore[misc]
    for name, tell in rows:
        try:
            print(f"{name}: {tell()}")
        except RequestError as error:
            print(f"{name}: {error}")


def _found(fetch: Any, name: str, data_dir: Path | None) -> str:
    places = fetch.locate(DATA.choose(name), data_dir)
    if not places:
        return "built in"
    absent = [file.path for file, place in places.items() if place is None]
    return (
        f"missing {', '.join(absent)}; a run downloads them"
        if absent
        else f"in {next(iter(places.values())).parent}"
    )
