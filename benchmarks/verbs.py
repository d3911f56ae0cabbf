"""What the command's verbs do: find what a person means, call the modules, say what happened."""

from __future__ import annotations

import math
import os
import platform
import random
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from recipebench import plugins
from recipebench.benchmarks import environment, executor, runner
from recipebench.benchmarks.agenda import agenda
from recipebench.benchmarks.cells import expand
from recipebench.benchmarks.combinations import RECIPE
from recipebench.benchmarks.devices import unavailable, why_not
from recipebench.benchmarks.endpoints import endpoint_of
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.progress import ProgressView
from recipebench.benchmarks.records import KEPT_BACK, TRACEBACK, cell_of
from recipebench.benchmarks.reporting import describe, outlook, write_report
from recipebench.benchmarks.results import Results, closing_line, collect
from recipebench.benchmarks.runner import Options, Plan
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.store_files import disk_errors
from recipebench.benchmarks.suite import Suite, load_suite, shipped, template
from recipebench.benchmarks.tracking import sweeps
from recipebench.benchmarks.tracking.agent import run_chosen
from recipebench.benchmarks.tracking.following import following
from recipebench.benchmarks.tracking.options import asked_of, tracked
from recipebench.benchmarks.tracking.state import state
from recipebench.benchmarks.tracking.target import Tracking
from recipebench.datamodules import fetch
from recipebench.datamodules.catalog import DATA
from recipebench.errors import RequestError, unknown
from recipebench.levels import Catalog, Level
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.reports.language import checked

LISTS: dict[str, Catalog] = {**RECIPE, "models": MODELS, "data": DATA}
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
    executor: str = "local"
    address: str | None = None
    gpus_per_pack: float = 1.0
    plugin: tuple[Path, ...] = ()
    track: str | Mapping[str, object] | None = None
    language: str = "en"

    def validated(self) -> Suite:
        """Load the plug-ins; return the suite with the seeds and devices of the request."""
        plug_in(self.plugin)
        return load_suite(self.suite).replaced(seeds=self.seeds, device=self.device)

    def options(self) -> Options:
        """Return how to run it."""
        return Options(
            data_dir=self.data_dir,
            workers=self.workers,
            pack_size=self.pack_size,
            mix=self.mix,
            skip_unavailable=self.skip_unavailable,
            executor=self.executor,
            address=self.address,
            gpus_per_pack=self.gpus_per_pack,
            rows=tracked(self.track, self.validated().track) is not None,
        )


def run(request: RunRequest) -> int:
    """Train, report, print where; return the exit code."""
    results = run_and_report(request, Console(highlight=False, soft_wrap=True))
    counts = results.counts
    return 1 if counts["failed"] or counts["missing"] else 0


def run_and_report(request: RunRequest, console: Console) -> Results:
    """Train what is missing, write the report, return the results."""
    checked(request.language)
    suite, options = request.validated(), request.options()
    looked_at, out = Store(request.store), request.out or _reports(request.store, suite)
    check_target(out, "--out")
    selection = runner.select(suite, looked_at, options)
    say = partial(console.print, markup=False)
    store = Store(request.store, on_problem=say)
    command = _repeat(request.suite, request.seeds, request.device, request.plugin)
    tracking = tracked(request.track, suite.track)
    with store.lock(), following(tracking, request.store, suite, request.suite, say) as followed:
        plan = runner.make_plan(selection, store, options)
        _announce(plan, store, console)
        with ProgressView(plan, console) as view:
            results = runner.run(plan, store, options, followed.watch(view))
        console.print(closing_line(results.counts))
        page = write_report(suite, plan.agenda, results, store, out, command, language=request.language)
        console.print(f"Report: {page}", markup=False)
        followed.close(agenda(suite, store).cells, results, out, command)
    return results


def track(
    source: str,
    path: Path,
    out: Path | None,
    *,
    how: Mapping[str, str],
    seeds: int | None = None,
    device: str | None = None,
    plugin: Sequence[Path] = (),
) -> int:
    """Write the runs of a suite that has been trained already; return the exit code.

    Args:
        source: the suite.
        path: the store.
        out: the report folder.
        how: project, entity and mode, in place of what the suite says.
        seeds: in place of the suite's.
        device: in place of the suite's.
        plugin: files with levels of one's own.
    """
    page, results = report_of(source, path, out, seeds=seeds, device=device, plugin=plugin)
    suite = load_suite(source).replaced(seeds=seeds, device=device)
    tracking = tracked({"wandb": {**asked_of(suite.track), **how}}, None)
    if tracking is None:
        print("W&B: the mode is disabled; nothing is written.")
        return 0
    store, command = existing_store(path), _repeat(source, seeds, device, plugin)
    with store.lock(), following(tracking, path, suite, source, print) as followed:
        outcome = followed.close(agenda(suite, store).cells, results, page.parent, command)
    return 0 if outcome and not outcome.ended else 1


def sweep(source: str, path: Path, out: Path, method: str, plugin: Sequence[Path] = ()) -> None:
    """Write the file of a sweep over the cells of a suite."""
    plug_in(plugin)
    suite = load_suite(source)
    cells = list(expand(suite))
    if not cells:
        raise RequestError(f"{suite.name} leaves no recipe to a sweep: validation chooses all of its values.")
    name = cells[0].data.name
    endpoint = endpoint_of(suite.endpoint_for(name), name)
    text = sweeps.sweep_file(
        cells,
        suite=suite.name,
        source=source,
        endpoint=endpoint.column,
        lower=endpoint.direction == "lower",
        method=method,
        file=str(out),
        store=str(path),
    )
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"--out: {out} cannot be written: {error.strerror}.") from error
    print(f"Sweep: {out}. Next: wandb sweep {out}")


def agent(source: str, choice: str, path: Path, data_dir: Path | None, plugin: Sequence[Path] = ()) -> int:
    """Train the cell that a sweep has chosen and write its run; return the exit code."""
    plug_in(plugin)
    suite = load_suite(source)
    tracking = suite.track or Tracking()
    outcome = run_chosen(suite, choice, Store(path), tracking, print, data_dir=data_dir)
    for line in outcome.lines():
        print(line)
    return 1 if outcome.ended else 0


def check_target(path: Path, option: str) -> None:
    """Make sure, before anything is trained, that a folder can be made and written.

    Raises:
        RequestError: it, or what it would lie in, is a file or may not be written.
    """
    try:
        nearest = next(place for place in (path, *path.parents) if place.exists())
    except (OSError, ValueError) as error:  # a name too long, a NUL
        raise RequestError(f"{option}: {str(path)!r:.200} is not a possible path: {error}.") from error
    if not nearest.is_dir():
        raise RequestError(f"{option}: expected a folder, but {nearest} is a file.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RequestError(f"{option}: {path} cannot be written; choose a folder that you can write to.")


def _repeat(
    source: str | Path | Mapping[str, object] | Suite,
    seeds: int | None,
    device: str | None,
    plugin: Sequence[Path],
) -> str:
    """Return the command that repeats a run; a suite given as a mapping goes by its name."""
    name = str(source) if isinstance(source, str | Path) else load_suite(source).name
    options = {"--seeds": seeds, "--device": device}
    given = [text for option, value in options.items() if value is not None for text in (option, str(value))]
    given += [text for path in plugin for text in ("--plugin", str(path))]
    return shlex.join(["recipebench", "run", name, *given])


def dry_run(request: RunRequest) -> int:
    """Print cells, packs and an estimate of time; train and write nothing."""
    from recipebench.benchmarks.estimate import estimate_seconds

    console, suite, options = _console(), request.validated(), request.options()
    store = Store(request.store)
    check_target(request.out or _reports(request.store, suite), "--out")
    selection = runner.select(suite, store, options, fetch=False)
    plan = runner.make_plan(selection, store, options, ask_why_alone=True)
    _announce(plan, store, console)
    _announce_downloads(plan, options, console)
    if not plan.packs:
        console.print("Nothing to train.")
        return 0
    rows = [
        (str(len(packs)), str(sum(len(pack.cells) for pack in packs)), *texts)
        for texts, packs in _alike(plan.packs).items()
    ]
    header = ("packs", "cells", "data", "model", "activation", "epochs", "batch", "alone because")
    console.print(_table(header, rows))
    alone = sum(len(pack.cells) for pack in plan.packs if len(pack.cells) == 1)
    packed = sum(len(pack.cells) for pack in plan.packs) - alone
    console.print(f"{packed} cells in {len(plan.packs) - alone} packs, {alone} alone.")
    minutes = estimate_seconds([*plan.packs, *runner.packs_to_come(plan, options)], options.processes) / 60
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


def _announce(plan: Plan, store: Store, console: Console) -> None:
    todo = sum(len(pack.cells) for pack in plan.packs)
    for text in plan.left_out.values():
        console.print(f"Left out: {text}", markup=False)
    absent = len(plan.cells) - len(plan.cached) - todo
    planned = len(plan.cells) + plan.agenda.to_come
    parts = [f"{planned} cells planned", f"{len(plan.cached)} in the store", f"{todo} to train"]
    parts += [f"{plan.agenda.to_come} after their rates are chosen"] if plan.agenda.to_come else []
    parts += [f"{absent} not possible here"] if absent else []
    console.print(f"{plan.suite.name}: {', '.join(parts)}.", markup=False)
    for line in outlook(plan.suite, plan.agenda, store):
        console.print(line, markup=False)


def _announce_downloads(plan: Plan, options: Options, console: Console) -> None:
    for choice in {pack.cells[0].data.name: pack.cells[0].data for pack in plan.packs}.values():
        absent = [f.path for f, place in fetch.locate(choice, options.data_dir).items() if place is None]
        if absent:
            console.print(f"{choice.name}: a run downloads {', '.join(absent)}.", markup=False)


def _console() -> Console:
    """Return where tables go: as wide as the terminal, or wide enough in a file."""
    return Console(highlight=False, soft_wrap=True, width=None if Console().is_terminal else 160)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> Table:
    """Return a table of plain text: brackets in it are no markup."""
    table = Table(*header, title=title, title_justify="left", box=None, show_header=any(header))
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _reports(store: Path, suite: Suite) -> Path:
    return store / "reports" / suite.name


def report(
    source: str,
    path: Path,
    out: Path | None,
    *,
    seeds: int | None = None,
    device: str | None = None,
    plugin: Sequence[Path] = (),
    speed: Path | None = None,
    language: str = "en",
) -> int:
    """Write a suite's report from the store; return the exit code."""
    page, results = report_of(
        source, path, out, seeds=seeds, device=device, plugin=plugin, speed=speed, language=language
    )
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
    plugin: Sequence[Path] = (),
    speed: Path | None = None,
    language: str = "en",
) -> tuple[Path, Results]:
    """Write a suite's report from the store; return its page and the results."""
    checked(language)
    plug_in(plugin)
    suite = load_suite(source).replaced(seeds=seeds, device=device)
    store = existing_store(path)
    plan = agenda(suite, store)
    results = collect(suite, store, plan)
    out = out or _reports(path, suite)
    check_target(out, "--out")
    command = _repeat(source, seeds, device, plugin)
    return write_report(suite, plan, results, store, out, command, speed, language), results


def load(
    source: str | Path | Mapping[str, object] | Suite, path: Path, plugin: Sequence[Path] = ()
) -> Results:
    """Return the frames of a suite from a store, with what a report knows of it."""
    plug_in(plugin)
    suite, store = load_suite(source), existing_store(path)
    plan = agenda(suite, store)
    info = describe(suite, plan, _repeat(source, None, None, plugin))
    return replace(collect(suite, store, plan), info=info)


def plug_in(paths: Sequence[Path]) -> None:
    """Load files with levels of one's own.

    Raises:
        RequestError: one cannot be loaded, adds nothing, or takes a name that exists.
    """
    for path in paths:
        plugins.load(path)


def check(paths: Sequence[Path]) -> int:
    """Hold every level that plug-ins add against what a level has to be; print it; return the exit code."""
    from recipebench.benchmarks import conformance

    console, failed = _console(), 0
    for path in paths:
        plugin = plugins.load(path)
        console.print(f"{plugin.name}, SHA-256 {plugin.sha256}", markup=False)
        for axis, name in plugin.levels:
            report = conformance.check(axis, name)
            failed += bool(report.problems)
            console.print(str(report), markup=False)
    return 1 if failed else 0


def existing_store(path: Path) -> Store:
    """Open a store for reading; what is damaged in it is told on standard error.

    Raises:
        RequestError: there is none.
    """
    store = Store(path, on_problem=lambda problem: print(problem, file=sys.stderr))
    if not store.exists:
        raise RequestError(
            f"Expected a store at {path}, found none. `recipebench run` makes one; --store names another."
        )
    return store


def list_levels(what: str | None, plugin: Sequence[Path] = ()) -> None:
    """Print levels with summaries, defaults and sources."""
    plug_in(plugin)
    console = _console()
    for name in [what] if what else [*LISTS, "suites"]:
        console.print(_table(LIST_COLUMNS, rows_of(name), title=name))


def rows_of(what: str) -> list[tuple[str, ...]]:
    """Return the levels of a factor, the data sets, the models or the suites; columns: `LIST_COLUMNS`.

    Raises:
        RequestError: there is no such list.
    """
    if what == "suites":
        return _suite_rows()
    if what not in LISTS:
        raise RequestError(unknown("list", what, [*LISTS, "suites"]))
    return _level_rows(what.removesuffix("s") if what == "models" else what, LISTS[what])


def _level_rows(axis: str, catalog: Catalog) -> list[tuple[str, ...]]:
    return [
        (
            level.name,
            level.summary,
            level.formula,
            ", ".join(f"{p.name} {_plain(p.default)}" for p in level.parameters),
            _source(axis, level),
        )
        for level in catalog.values()
    ]


def _source(axis: str, level: Level) -> str:
    """Return where a level comes from, plug-in and its hash included."""
    name = level.name
    plugin = next((p for p in plugins.loaded() if (axis, name) in p.levels), None)
    return f"{level.source}; {plugin.name}, SHA-256 {plugin.sha256[:16]}…" if plugin else level.source


def _plain(value: object) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _suite_rows() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name in shipped():
        suite = load_suite(name)
        rows.append((name, suite.description, "", f"{len(agenda(suite).planned)} cells", "shipped"))
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
    record = store.records([cell_id]).iloc[0].dropna()
    history = store.history([cell_id])
    console = _console()
    shown = record.drop([name for name in KEPT_BACK if name in record])
    console.print(_table(("", ""), [(str(name), _plain(value)) for name, value in shown.items()]))
    for column in ("train_loss", "validation_loss", "validation_accuracy", "validation_mse"):
        values = history[column].dropna().astype(float).to_list() if column in history else []
        if values:
            console.print(f"{column:20} {sparkline(values)}  {values[0]:.4g} … {values[-1]:.4g}")
    if TRACEBACK in record:
        console.print(record[TRACEBACK], markup=False)
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
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    width = (high - low) or 1.0
    places = [(value - low) / width if math.isfinite(value) else None for value in values]
    return "".join("?" if place is None else bars[round(place * (len(bars) - 1))] for place in places)


def export(
    prefix: str, path: Path, data_dir: Path | None, out: Path, at: str, plugin: Sequence[Path] = ()
) -> None:
    """Train a cell again, alone, and write its weights.

    Raises:
        RequestError: there is no such cell, it has no weights, or `out` or `at` is wrong.
        WorkerError: training failed this time.
    """
    plug_in(plugin)
    moments = ("start", "end", "best")
    if at not in moments:
        raise RequestError(unknown("moment", at, moments))
    if out.suffix != ".safetensors":
        raise RequestError(f"--out: expected a name that ends in .safetensors, got {str(out)!r}.")
    check_target(out.parent, "--out")
    if out.is_dir():
        raise RequestError(f"--out: expected a file, but {out} is a folder.")
    store = existing_store(path)
    (record,) = store.records([find_cell(store, prefix)]).to_dict("records")
    _refuse_without_weights(record, at)
    cell = cell_of(record)
    fetch.ensure(cell.data, data_dir)
    request = executor.training_request(Pack((cell,)), data_dir)
    executor.ask_once(request | {"weights": {"at": at, "out": str(out)}})


def _refuse_without_weights(record: Mapping[Any, Any], at: str) -> None:
    """Refuse to export what is not there: the weights of a cell that failed or diverged."""
    if record["status"] == "failed":
        raise RequestError(f"{record['cell_id']} has no weights: it failed, {record['reason']}.")
    if record["status"] == "diverged" and at != "start":
        raise RequestError(
            f"{record['cell_id']} has no weights at its {at}: it diverged at {record['reason']}. "
            "Give --at start for its initial weights."
        )
    if reason := unavailable(record["device"]):
        raise RequestError(f"{record['cell_id']} cannot be trained here: {reason}.")


def verify(
    source: str,
    path: Path,
    sample: str,
    data_dir: Path | None,
    workers: int | None,
    plugin: Sequence[Path] = (),
) -> int:
    """Train a sample of stored cells again, each alone, and compare the bits; return the exit code."""
    plug_in(plugin)
    suite, store = load_suite(source), existing_store(path)
    done = store.cached()
    planned = agenda(suite, store).cells
    cells = [cell for cell in planned if cell.id in done and why_not(cell) is None]
    if not cells:
        raise RequestError(f"The store {path} has no finished cell of {suite.name} that can be trained here.")
    chosen = random.Random(0).sample(cells, _sample_size(sample, len(cells)))
    differing = runner.differing(chosen, store, Options(data_dir, workers, pack_size=1))
    for cell_id, columns in differing.items():
        print(f"{cell_id} differs in {', '.join(columns)}")
    equal = len(chosen) - len(differing)
    print(f"verified {len(chosen)} of {len(cells)} cells: {equal} equal, {len(differing)} differ")
    return 1 if differing else 0


def _sample_size(text: str, total: int) -> int:
    try:
        wanted = float(text[:-1]) / 100 * total if text.endswith("%") else int(text)
    except ValueError:
        wanted = 0
    if not 0 < wanted < math.inf:
        raise RequestError(f"--sample: expected a share such as 1% or a number of cells, got {text!r}.")
    return min(total, max(1, round(wanted)))


def compare(
    first: Path, second: Path, suite: str | None, out: Path | None, plugin: Sequence[Path] = ()
) -> int:
    """Print what changed between two stores; return 1 where something did that matters."""
    from recipebench.benchmarks.comparing import compare_stores
    from recipebench.reports import compare as comparison
    from recipebench.reports import writer

    if out is not None:
        check_target(out, "--out")
    found = compare_stores(first, second, suite=suite, plugin=plugin)
    print(found)
    if out is not None:
        with disk_errors(f"write the comparison to {out}"):
            for name, content in comparison.files(found).items():
                writer.replace(out / name, content)
        print(f"Comparison: {out / 'compare.html'}")
    return 1 if found.changed else 0


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
    here = environment.describe()
    rows: list[tuple[str, Callable[[], str]]] = [
        ("machine", lambda: f"{here.cpu_model}, {here.cores} cores, {here.os}"),
        ("class", environment.cpu_class),
        ("GPUs", lambda: "; ".join(here.gpus) or "none"),
        ("Python", platform.python_version),
        ("packages", lambda: ", ".join(f"{name} {version}" for name, version in here.packages.items())),
        ("store", lambda: f"{path}: {len(Store(path).cached())} finished cells"),
        ("tracking", lambda: state(path)),
    ]
    rows += [(f"data {name}", partial(_found, name, data_dir)) for name in DATA]
    for name, tell in rows:
        try:
            print(f"{name}: {tell()}")
        except RequestError as error:
            print(f"{name}: {error}")


def _found(name: str, data_dir: Path | None) -> str:
    places = fetch.locate(DATA.choose(name), data_dir)
    if not places:
        return "built in"
    absent = [file.path for file, place in places.items() if place is None]
    found = sorted({str(place.parent) for place in places.values() if place})
    return f"missing {', '.join(absent)}; a run downloads them" if absent else f"in {', '.join(found)}"
