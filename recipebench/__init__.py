"""recipebench: which training recipe wins, by how much, and can you trust the answer?

Example:
    >>> import recipebench as rb
    >>> df = rb.run("quick", store="runs")  # doctest: +SKIP
    >>> rb.load("runs", "quick").history  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipebench.errors import RequestError

if TYPE_CHECKING:
    import pandas as pd

    from recipebench.benchmarks.results import Results
    from recipebench.benchmarks.suite import Suite

Plugins = str | Path | Sequence[str | Path] | None
"""A file with levels of one's own, several, or none."""

__version__ = "0.1.0"
__all__ = ["RequestError", "check", "export", "list", "load", "report", "run"]


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
    )
    return verbs.run_and_report(request, Console(quiet=quiet, highlight=False)).records


def load(
    store: str | Path, suite: str | Path | Mapping[str, object] | Suite, *, plugin: Plugins = None
) -> Results:
    """Return the tidy frames of a suite, `.records` and `.history`, from a store; needs no torch.

    `plugin` names a file with levels of one's own, or several.

    Raises:
        RequestError: there is no store, or the suite is not known.
    """
    from recipebench.benchmarks import verbs
    from recipebench.benchmarks.results import collect
    from recipebench.benchmarks.suite import load_suite

    verbs.plug_in(_paths(plugin))
    return collect(load_suite(suite), verbs.existing_store(Path(store)))


def report(
    suite: str | Path | Mapping[str, object] | Suite,
    *,
    store: str | Path = "runs",
    out: str | Path | None = None,
    plugin: Plugins = None,
) -> Path:
    """Write the report of a suite from a store and return the path of its page; needs no torch.

    `plugin` names a file with levels of one's own, or several.

    Raises:
        RequestError: there is no store, or the suite is not known.
    """
    from recipebench.benchmarks import verbs

    return verbs.report_of(suite, Path(store), _path(out), plugin=_paths(plugin))[0]


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
