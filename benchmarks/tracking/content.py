"""What a run of Weights & Biases holds of a cell: name, tags, config, summary and rows; needs no wandb."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.combinations import CATALOGS
from recipebench.benchmarks.results import PLACES, Results
from recipebench.benchmarks.tracking.rows import Row, plain

if TYPE_CHECKING:
    import pandas as pd

LONGEST_TAG = 64
"""Characters of a tag at most, by the server's rule."""

LONGEST_NAME = 128
"""Characters of a run's name at most, by the server's rule."""


def described(cell: Cell) -> Row:
    """Return what is known of a cell before it is trained: what its run is opened with.

    Returns:
        `id`, `name`, `job_type` (the data set), `tags` (its levels, `activation:relu`) and `config`
        (recipe and protocol as in its record).
    """
    columns = plain(cell.columns())
    levels = {axis: columns[axis] for axis in CATALOGS if axis in columns}
    named = [str(level) for level in levels.values() if level != "none"]
    return {
        "id": cell.id,
        "name": f"{' '.join(named)} seed {cell.seed}"[:LONGEST_NAME],
        "job_type": cell.data.name,
        "tags": [f"{axis}:{level}"[:LONGEST_TAG] for axis, level in levels.items() if axis != "data"],
        "config": {"cell_id": cell.id, **columns},
    }


def rows_of(frame: pd.DataFrame) -> list[Row]:
    """Return the rows of a frame without their nulls; NaN that was measured stays.

    Example:
        >>> import pandas as pd
        >>> rows_of(pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": ["x", "y"]}))
        [{'a': 1, 'b': 'x'}, {'b': 'y'}]
    """
    columns = [(str(name), _values(frame[name])) for name in frame.columns]
    return [plain({name: values[i] for name, values in columns}) for i in range(len(frame))]


def _values(column: pd.Series[Any]) -> list[Any]:
    values = column.astype(object).where(column.notna(), None).tolist()
    return [value.item() if hasattr(value, "item") else value for value in values]


def records_of(results: Results) -> dict[str, Row]:
    """Return the records of the cells that were trained, or tried, by id; what a row of the plan is, not."""
    places = [name for name in results.records if name in PLACES or str(name).endswith(".tuned")]
    rows = rows_of(results.records.drop(columns=places))
    return {row["cell_id"]: row for row in rows if row["status"] != "missing"}


def cells_with_history(results: Results, wanted: Sequence[str]) -> Iterator[tuple[Row, list[Row]]]:
    """Yield the record and the history of each cell wanted."""
    records = records_of(results)
    history = results.history[results.history["cell_id"].isin(set(wanted))]
    by_cell = dict(iter(history.groupby("cell_id", sort=False)))
    for cell_id in wanted:
        rows = rows_of(by_cell[cell_id].sort_values("epoch")) if cell_id in by_cell else []
        yield records[cell_id], rows
