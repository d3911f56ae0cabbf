"""What a store holds of a suite: one record for every planned cell, trained or not, and the histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from recipebench.benchmarks.agenda import Agenda, Planned, agenda
from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.combinations import CATALOGS, Settings
from recipebench.benchmarks.devices import why_not
from recipebench.benchmarks.records import (
    ALL_METRICS,
    AT_BEST,
    KEPT_BACK,
    SPLITS,
    metric_columns,
    not_trained,
)
from recipebench.benchmarks.store import STATUSES, Store
from recipebench.benchmarks.store_tables import table_from_rows, to_frame
from recipebench.benchmarks.suite import Suite
from recipebench.reports.suite_info import SuiteInfo

if TYPE_CHECKING:
    import pandas as pd

PLACES = ("role", "search", "trial", "chosen")
"""Columns that say what a row is there for, in suites that tune; `<factor>.tuned` beside them."""

_NO_BUILD = {"torch": None, "cpu": None}


@dataclass(frozen=True)
class Results:
    """The tidy frames of one suite.

    Args:
        records: one row a planned cell, in the order of the plan; see the columns in the documentation.
        history: one row a cell and epoch, epoch 0 untrained.
        info: what a report knows of the suite; None while it is being trained.
    """

    records: pd.DataFrame
    history: pd.DataFrame
    info: SuiteInfo | None = None

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The frame that the tables of a report start from: levels as ordered labels, and one score.

        Raises:
            ValueError: there is no `info`.
        """
        from recipebench.reports import frames

        return frames.reported(frames.cells(self.records, self._known))

    @cached_property
    def recipes(self) -> pd.DataFrame:
        """All recipes: their means, by what each is chosen, and how far it is behind the one that is.

        Raises:
            ValueError: there is no `info`.
        """
        from recipebench.reports import choice, frames

        everything = frames.cells(self.records, self._known)
        levels = frames.levels_of(self.records, everything, self._known)
        return choice.recipes(everything, self._known, levels)

    @property
    def _known(self) -> SuiteInfo:
        if self.info is None:
            raise ValueError("Results of a run that goes on have no `info`; load them from the store.")
        return self.info

    @property
    def counts(self) -> dict[str, int]:
        """Number of cells by status, all four of them."""
        found = self.records["status"].value_counts()
        return {status: int(found.get(status, 0)) for status in STATUSES}


def closing_line(counts: dict[str, int]) -> str:
    """Return the sum that accounts for every planned cell.

    Example:
        >>> closing_line({"ok": 3, "diverged": 1, "failed": 0, "missing": 0})
        'planned 4 = ok 3 + diverged 1 + failed 0 + missing 0'
    """
    parts = " + ".join(f"{status} {counts[status]}" for status in STATUSES)
    return f"planned {sum(counts.values())} = {parts}"


def collect(suite: Suite, store: Store, plan: Agenda | None = None) -> Results:
    """Look up the planned cells of a suite in a store; those that it lacks become `missing` rows.

    Args:
        suite: the suite.
        store: where its cells were trained, perhaps for other suites too.
        plan: what is planned, if it is not all of the suite.
    """
    plan = plan or agenda(suite, store)
    history = store.history([cell.id for cell in plan.cells])
    return Results(records_of(suite, store, plan), _with_scores(history, plan.cells))


def records_of(suite: Suite, store: Store, plan: Agenda) -> pd.DataFrame:
    """Return the records of `collect`, without the histories."""
    import pandas as pd

    rows = {row.id: row for row in plan.planned}
    found = store.records([name for name, row in rows.items() if row.open is None])
    known = set(found["cell_id"])
    absent = [_missing(row) for name, row in rows.items() if name not in known]
    records = found
    if absent:
        frame = to_frame(table_from_rows(absent, {}))
        records = frame if found.empty else pd.concat([found, frame], ignore_index=True)
    records = records.set_index("cell_id").loc[[row.id for row in plan.planned]].reset_index()
    records = records.drop(columns=[name for name in KEPT_BACK if name in records])
    if "precision" in records:  # it is written down only where it is not the usual one
        records["precision"] = records["precision"].fillna(Settings.precision)
    records.insert(1, "suite", suite.name)
    if suite.tuned():
        records = pd.concat([records, _places(plan)], axis=1)
    return records[_in_order(list(records.columns))]


def _missing(row: Planned) -> dict[str, Any]:
    """Return the record of a row that the store lacks; of an open one without the tuned values."""
    record = not_trained(row.cell, "missing", row.open or _why_missing(row.cell), _NO_BUILD)
    open_values = row.course.search.combination.ranges if row.open and row.course else ()
    return record | {"cell_id": row.id} | dict.fromkeys(open_values)


def _places(plan: Agenda) -> pd.DataFrame:
    """Return the columns that say what each row is there for."""
    import pandas as pd

    rows = [row.columns(plan.chosen) for row in plan.planned]
    names = list(dict.fromkeys(name for row in rows for name in row))
    types = {"trial": "Int64", "chosen": "boolean"}
    return pd.DataFrame(
        {n: pd.Series([row.get(n) for row in rows], dtype=types.get(n, "str")) for n in names}
    )


def _with_scores(history: pd.DataFrame, planned: Sequence[Cell]) -> pd.DataFrame:
    """Give the history the columns of every planned task, also of one that no cell has finished."""
    columns = dict.fromkeys(name for task in {cell.task for cell in planned} for name in metric_columns(task))
    absent = {name: float("nan") for name in columns if name not in history}
    return history.assign(**absent) if absent else history


def _why_missing(cell: Cell) -> str:
    return why_not(cell) or "not trained yet"


_RECIPE = tuple(CATALOGS)
_RUN = (
    "batch_size",
    "epochs",
    "validation",
    "inputs",
    "train_samples",
    "label_noise",
    "last_batch",
    "sampling",
    "precision",
    "device",
    "seed",
    *PLACES,
    "status",
    "reason",
    "parameters",
    "steps",
)
_OUTCOME = ("pack_seconds", "best_epoch", "stopped_epoch", "torch", "cpu", "fit_loss")


def _in_order(columns: list[str]) -> list[str]:
    """Order columns: identity, recipe, hyper-parameters, run, outcome, then metrics by split."""
    options = [c for factor in _RECIPE for c in columns if c.startswith(f"{factor}.")]
    first = ["cell_id", "suite", *_RECIPE, *options, *_RUN, *_OUTCOME]
    metrics = [
        f"{split}_{metric}{moment}" for moment in ("", AT_BEST) for split in SPLITS for metric in ALL_METRICS
    ]
    ordered = [c for c in [*first, *metrics] if c in columns]
    return ordered + [c for c in columns if c not in ordered]
