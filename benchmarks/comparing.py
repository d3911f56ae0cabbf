"""Compares two stores: which cells both have, and what changed between them; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recipebench.benchmarks import verbs
from recipebench.benchmarks.agenda import agenda
from recipebench.benchmarks.combinations import CATALOGS
from recipebench.benchmarks.endpoints import endpoint_of
from recipebench.benchmarks.records import AT_BEST, KEPT_BACK, MAIN_METRIC
from recipebench.benchmarks.store import Store, is_time_column
from recipebench.benchmarks.suite import Suite, load_suite
from recipebench.datamodules.catalog import DATA, facts_of
from recipebench.errors import RequestError
from recipebench.reports.cellwise import BUILD, ResultSet
from recipebench.reports.compare import Comparison, compare
from recipebench.reports.suite_info import Endpoint

if TYPE_CHECKING:
    import pandas as pd

ABOUT_THE_RUN = (*KEPT_BACK, *BUILD, "plugins")
"""Columns that say where and by which files a cell was trained, and nothing of its result."""

_FACTORS = tuple(axis for axis in CATALOGS if axis != "data")


def compare_stores(
    first: Path,
    second: Path,
    *,
    suite: str | Path | Mapping[str, object] | Suite | None = None,
    plugin: Sequence[Path] = (),
) -> Comparison:
    """Compare what two stores hold, paired by cell id.

    Args:
        first: a store, A.
        second: another, B.
        suite: whose cells are compared (trials of searches are not), by its endpoint and smallest
            effects; all cells without.
        plugin: files with levels of one's own; of data sets they are needed.

    Raises:
        RequestError: a store or the suite is not there, the two are one, or they share no cell.
    """
    verbs.plug_in(plugin)
    known = None if suite is None else load_suite(suite)
    stores = [verbs.existing_store(path) for path in (first, second)]
    if first.resolve() == second.resolve():
        raise RequestError(f"Expected two stores, got {first} twice.")
    cells = None if known is None else _planned(known, stores)
    sets = [_read(store, cells) for store in stores]
    names = {str(name) for found in sets for name in found.records["data"]}
    columns = {str(name) for found in sets for frame in (found.records, found.history) for name in frame}
    return compare(
        *sets,
        endpoints={name: _endpoint(name, known) for name in sorted(names)},
        smallest=known.smallest_effect if known else None,
        ignored=[name for name in columns if is_time_column(name) or name in ABOUT_THE_RUN],
        factors=[factor for factor in _FACTORS if factor in columns],
        scope="all cells" if known is None else f"the cells of the suite {known.name}",
    )


def _planned(suite: Suite, stores: Sequence[Store]) -> list[str]:
    """Return the cells that a suite reports on, given what either store has chosen; trials are none."""
    planned = [row for store in stores for row in agenda(suite, store).planned if row.role == "report"]
    return list(dict.fromkeys(row.id for row in planned))


def _read(store: Store, cells: Sequence[str] | None) -> ResultSet:
    records: pd.DataFrame = store.records(cells)
    for column in ("data", "seed"):
        if column not in records:
            records[column] = None
    return ResultSet(str(store.path), records, store.history(cells))


def _endpoint(name: str, suite: Suite | None) -> Endpoint:
    """Return how a data set is scored: as the suite says, else by the main metric of its task."""
    if name not in DATA:
        raise RequestError(
            f"The data set {name!r} of these stores is not known here: give the plug-in that adds it "
            "(--plugin FILE)."
        )
    if suite is not None:
        return endpoint_of(suite.endpoint_for(name), name)
    return endpoint_of(f"test_{MAIN_METRIC[facts_of(name).task]}{AT_BEST}", name)
