"""recipebench: which training recipe wins, by how much, and can you trust the answer?

Example:
    >>> import recipebench as rb
    >>> df = rb.run("quick", store="runs")  # doctest: +SKIP
    >>> rb.load("runs", "quick").history  # doctest: +SKIP
    >>> rb.compare("momentum", "adam", data="digits")  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipebench.errors import RequestError

if TYPE_CHECKING:
    import pandas as pd

    from recipebench.benchmarks.results import Results
    from recipebench.benchmarks.suite import Suite
    from recipebench.reports.compare import Comparison as StoreComparison
    from recipebench.reports.versus import Comparison

Plugins = str | Path | Sequence[str | Path] | None
"""A file with levels of one's own, several, or none."""

__version__ = "0.1.0"
__all__ = [
    "RequestError",
    "check",
    "compare",
    "compare_stores",
    "export",
    "list",
    "load",
    "report",
    "run",
]


def _ask_for_exact_matrix_products() -> None:
    """Ask MKL for results that do not depend on memory alignment; it listens until its first use."""
    cpuinfo = Path("/proc/cpuinfo")
    wide = cpuinfo.exists() and "avx512f" in cpuinfo.read_text()
    os.environ.setdefault("MKL_CBWR", "AVX512,STRICT" if wide else "AVX2,STRICT")


_ask_for_exact_matrix_products()

_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file() and (_checkout / "lightning_modules").is_dir():
    __path__.append(str(_checkout))  # a checkout holds the four folders beside this one


def run(
    suite: str | Path | Mapping[str, object] | Suite,
    *,
    store: str | Path = "runs",
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    workers: int | None = None,
    pack_size: int | None = None,
    device: str | None = None,
    seeds: int | None = None,
    skip_unavailable: bool = False,
    mix: bool = False,
    executor: str = "local",
    address: str | None = None,
    gpus_per_pack: float = 1.0,
    plugin: Plugins = None,
    track: str | Mapping[str, object] | None = None,
    language: str = "en",
    quiet: bool = False,
) -> pd.DataFrame:
    """Train what a store lacks of a suite, write the report, and return the records.

    Args:
        suite: name of a shipped suite, path of a YAML file, or the same as a nested mapping.
        store: folder that holds records and histories; made if need be.
        out: report folder; `<store>/reports/<suite>` by default.
        data_dir: where data are looked for first.
        workers: worker processes; one a core by default.
        pack_size: cells in a pack at most; 1 trains every cell alone; by default 8 to 64, as the
            network is large or small. No result depends on it.
        device: a device in place of the suite's.
        seeds: seeds 0 … seeds - 1 in place of the suite's.
        skip_unavailable: leave devices and data that cannot be had out of the plan.
        mix: reuse records of another torch version or class of processor.
        executor: where packs are trained, `local` or `ray`.
        address: of the Ray cluster to join; by default one is started on this machine.
        gpus_per_pack: the part of a GPU that a pack takes, so that several share one.
        plugin: a file with levels of one's own, or several; they stay known in this process.
        track: `wandb`, or the `track` key of a suite as a mapping; by default as the suite says.
        language: of the report, `en` or `zh`.
        quiet: show no progress.

    Returns:
        One row a planned cell.

    Raises:
        RequestError: the request is wrong; nothing was trained.
    """
    from rich.console import Console

    from recipebench.benchmarks import verbs

    request = verbs.RunRequest(
        suite=suite,
        store=Path(store),
        out=_path(out),
        data_dir=_path(data_dir),
        workers=workers,
        pack_size=pack_size,
        device=device,
        seeds=seeds,
        skip_unavailable=skip_unavailable,
        mix=mix,
        executor=executor,
        address=address,
        gpus_per_pack=gpus_per_pack,
        plugin=_paths(plugin),
        track=track,
        language=language,
    )
    return verbs.run_and_report(request, Console(quiet=quiet, highlight=False)).records


def load(
    store: str | Path, suite: str | Path | Mapping[str, object] | Suite, *, plugin: Plugins = None
) -> Results:
    """Return the tidy frames of a suite from a store; needs no torch.

    `.records` has one row a planned cell, `.history` one a cell and epoch. `.cells` and `.info` are what
    the tables of a report are made from, by the functions of `recipebench.reports.tables` for example.
    `plugin` names a file with levels of one's own, or several.

    Raises:
        RequestError: there is no store, or the suite is not known.
    """
    from recipebench.benchmarks import verbs

    return verbs.load(suite, Path(store), _paths(plugin))


def report(
    suite: str | Path | Mapping[str, object] | Suite,
    *,
    store: str | Path = "runs",
    out: str | Path | None = None,
    plugin: Plugins = None,
    language: str = "en",
) -> Path:
    """Write the report of a suite from a store and return the path of its page; needs no torch.

    `plugin` names a file with levels of one's own, or several; `language` is `en` or `zh`.

    Raises:
        RequestError: there is no store, or the suite or the language is not known.
    """
    from recipebench.benchmarks import verbs

    return verbs.report_of(suite, Path(store), _path(out), plugin=_paths(plugin), language=language)[0]


def compare(
    first: str | Mapping[str, Any] | Callable[..., Any],
    second: str | Mapping[str, Any] | Callable[..., Any],
    *,
    factor: str | None = None,
    data: str | Mapping[str, Any] | Sequence[Any] = "digits",
    model: str | Mapping[str, Any] = "mlp",
    recipe: Mapping[str, Any] | None = None,
    seeds: int | Sequence[int] = 10,
    tune: bool = True,
    trials: int = 16,
    tuning_seeds: int | Sequence[int] = 3,
    epochs: int = 10,
    batch_size: int = 32,
    smallest_effect: float | Mapping[str, float] | None = None,
    device: str = "cpu",
    store: str | Path = "runs",
    data_dir: str | Path | None = None,
    workers: int | None = None,
    mix: bool = False,
    plugin: Plugins = None,
    quiet: bool = False,
) -> Comparison:
    """Compare two levels of one factor, tuned and paired over seeds, and judge whether the first is better.

    Args:
        first: the level that the claim is about: a name, `{name: {hyper-parameter: value}}`, or a function
            or class of one's own, which is written as a plug-in into the store.
        second: the other.
        factor: whose levels they are; found by their names if it is left out.
        data: a data set, or a list of several.
        model: the network, with hyper-parameters if need be.
        recipe: levels of other factors, by factor; what is left out is a suite's default.
        seeds: on which both are reported, a count or a list.
        tune: choose the learning rate of each recipe by validation, over four decades around the default.
        trials: values that are tried for each recipe.
        tuning_seeds: on which they are tried; none of `seeds`.
        epochs: passes over the training data.
        batch_size: samples for each optimizer step.
        smallest_effect: the smallest difference that matters, in the unit of the endpoint, for all data
            sets or by data set; half a point of an accuracy, 0.005 of a mean squared error.
        device: where cells are trained.
        store: folder that holds records and histories; made if need be.
        data_dir: where data are looked for first.
        workers: worker processes; one a core by default.
        mix: reuse records of another torch version or class of processor.
        plugin: a file with levels of one's own, or several.
        quiet: show no progress.

    Returns:
        Verdict, records and table, worded when printed.

    Raises:
        RequestError: the request is wrong; nothing was trained.
    """
    from rich.console import Console

    from recipebench.benchmarks.runner import Options
    from recipebench.benchmarks.versus import Request, compare_levels

    request = Request(
        factor=factor,
        data=data,
        model=model,
        recipe=dict(recipe or {}),
        seeds=seeds,
        tune=tune,
        trials=trials,
        tuning_seeds=tuning_seeds,
        epochs=epochs,
        batch_size=batch_size,
        smallest_effect=smallest_effect,
        device=device,
        store=Path(store),
        options=Options(_path(data_dir), workers, None, mix),
        plugin=_paths(plugin),
    )
    return compare_levels(first, second, request, Console(quiet=quiet, highlight=False))


def compare_stores(
    first: str | Path,
    second: str | Path,
    *,
    suite: str | Path | Mapping[str, object] | Suite | None = None,
    plugin: Plugins = None,
) -> StoreComparison:
    """Compare two stores cell by cell: what is equal, what differs by less than matters, what has changed.

    Args:
        first: a store, A.
        second: another, B.
        suite: whose cells are compared, by its endpoint and smallest effects; all cells by default.
        plugin: a file with levels of one's own, or several.

    Raises:
        RequestError: a store or the suite is not there, or the stores share no cell.
    """
    from recipebench.benchmarks import comparing

    return comparing.compare_stores(Path(first), Path(second), suite=suite, plugin=_paths(plugin))


def check(plugin: Plugins) -> pd.DataFrame:
    """Hold every level of a plug-in against what a level has to be: one row a finding.

    Returns:
        Columns `axis`, `level`, `check`, `problem`: what was expected and what came, in a sentence; empty
        where all is as it should be.

    Raises:
        RequestError: the file cannot be loaded, or adds nothing.
    """
    import pandas as pd

    from recipebench import plugins
    from recipebench.benchmarks import conformance

    levels = [level for path in _paths(plugin) for level in plugins.load(path).levels]
    rows = [row for axis, name in levels for row in conformance.check(axis, name).rows()]
    return pd.DataFrame(rows, columns=["axis", "level", "check", "problem"])


def list(what: str, *, plugin: Plugins = None) -> pd.DataFrame:
    """Return the levels of a factor (or `data`, `models`, `suites`) with summaries, defaults and sources.

    `plugin` names a file with levels of one's own, or several.

    Raises:
        RequestError: there is no such factor.
    """
    import pandas as pd

    from recipebench.benchmarks import verbs

    verbs.plug_in(_paths(plugin))
    return pd.DataFrame(verbs.rows_of(what), columns=[*verbs.LIST_COLUMNS])


def export(
    cell: str,
    out: str | Path,
    *,
    store: str | Path = "runs",
    data_dir: str | Path | None = None,
    at: str = "end",
) -> Path:
    """Train a cell of a store again and write its weights as safetensors.

    Args:
        cell: the id of the cell, or the beginning of one.
        out: the file, `*.safetensors`.
        store: where the cell was recorded.
        data_dir: where data are looked for first.
        at: `start`, `end` or `best`.

    Raises:
        RequestError: there is no such cell, or `out` or `at` is wrong.
    """
    from recipebench.benchmarks import verbs

    verbs.export(cell, Path(store), _path(data_dir), Path(out), at)
    return Path(out)


def _paths(plugin: Plugins) -> tuple[Path, ...]:
    if plugin is None:
        return ()
    return (Path(plugin),) if isinstance(plugin, str | Path) else tuple(map(Path, plugin))


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def __getattr__(name: str) -> Any:
    """Let `recipebench.reports` and its sisters be named without importing them first."""
    if name in ("benchmarks", "datamodules", "lightning_modules", "reports"):
        import importlib

        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
