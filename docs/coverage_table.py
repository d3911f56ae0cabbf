"""Writes `coverage.md`: what the lecture notes name, what implements it, and one measured number for each.

The numbers come from a store; the rows stand in `coverage_rows`, how references are computed in
`coverage_references`, and what they gave in `references.json`.

    python docs/coverage_table.py               write the page; exit 1 where a number is off or lacking
    python docs/coverage_table.py --check       change nothing; exit 1 where the page is stale, too
    python docs/coverage_table.py --references  compute the references again (about 15 minutes)
    python docs/coverage_table.py --references 13 14   those of some rows

`--store DIR` reads another store than docs/runs.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT / "docs") not in sys.path:
    sys.path.append(str(ROOT / "docs"))

from coverage_rows import ROWS, Row  # noqa: E402

from recipebench.benchmarks import cells, results, suite  # noqa: E402
from recipebench.benchmarks.store import Store  # noqa: E402
from recipebench.errors import RequestError, unknown  # noqa: E402
from recipebench.reports import export  # noqa: E402
from recipebench.reports.statistics import diagnosis  # noqa: E402

RUNS = ROOT / "docs" / "runs"
PAGE = ROOT / "docs" / "coverage.md"
REFERENCES = ROOT / "docs" / "references.json"

T = 5.0
"""Standard deviations of the reference's runs that a band is wide, either way."""

NARROWEST = 0.004
"""No band of accuracies is narrower: 0.2 points are the error of 10,000 test images, either way."""


@dataclass(frozen=True)
class Measured:
    """A number from a run, and the ids of the cells that it comes from."""

    value: float
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """A row beside what was found: the number, its reference and by how much they may differ.

    Args:
        place: number of the row, from 1.
        row: the row.
        measured: None where there is no number.
        reference: an entry of `references.json`; None where there is none.
        tolerance: None where there is no reference.
        problem: what is wrong, in one line; empty if nothing is.
    """

    place: int
    row: Row
    measured: Measured | None = None
    reference: dict[str, Any] | None = None
    tolerance: float | None = None
    problem: str = ""


# Which cells


@functools.cache
def planned(name: str) -> tuple[tuple[cells.Cell, dict[str, Any]], ...]:
    """Return the cells of a shipped suite with their columns."""
    return tuple((cell, cell.columns()) for cell in cells.expand(suite.load_suite(name)))


def select(name: str, where: dict[str, Any]) -> cells.Cell:
    """Return the one cell of a suite that has these values; of seed 0 unless another is asked for.

    Raises:
        RequestError: the suite has no such column, or not exactly one such cell.
    """
    known = {column for _, columns in planned(name) for column in columns}
    for column in where:
        if column not in known:
            raise RequestError(f"suite {name}: {unknown('column', column, sorted(known))}")
    wanted = {"seed": 0, **where}
    found = [c for c, columns in planned(name) if all(columns.get(k) == v for k, v in wanted.items())]
    if len(found) != 1:
        raise RequestError(f"suite {name}: expected one cell with {wanted}, found {len(found)}.")
    return found[0]


def cells_of(row: Row) -> list[cells.Cell]:
    """Return the cells that a row's number comes from, in the row's order."""
    return [select(row.suite, dict(where)) for where in row.cells]


def _planned_cells(row: Row) -> list[cells.Cell]:
    """Return the cells of a row, or none where its selection is wrong; measuring it says so."""
    try:
        return cells_of(row)
    except RequestError:
        return []


# The numbers


@dataclass(frozen=True)
class Found:
    """What the store has of one cell: its number, its columns."""

    value: float
    columns: dict[str, Any]


def _number(found: Sequence[Found]) -> float:
    (only,) = found
    return only.value


def _mean(found: Sequence[Found]) -> float:
    return math.fsum(f.value for f in found) / len(found)


def _best_rate(found: Sequence[Found]) -> float:
    from recipebench.benchmarks.search import ranked

    best = ranked([f.value for f in found], "lower")[0]
    return float(found[best].columns["optimizer.lr"])


def _ratio_of_ranges(found: Sequence[Found]) -> float:
    """The range over rates, at the first cell's batch size, over that over the batch sizes of one rate."""
    middle = found[0].columns["batch_size"]
    rate = next(f.columns["optimizer.lr"] for f in found if f.columns["batch_size"] != middle)
    by_rate = [f.value for f in found if f.columns["batch_size"] == middle]
    by_size = [f.value for f in found if f.columns["optimizer.lr"] == rate]
    return (max(by_rate) - min(by_rate)) / (max(by_size) - min(by_size))


def _variance(found: Sequence[Found]) -> float:
    train, validation = (f.value for f in found)
    frame = pd.DataFrame({"train_accuracy": [train], "validation_accuracy": [validation]})
    return float(diagnosis.diagnose(frame)["variance"][0])


COMBINATIONS: dict[str, Callable[[Sequence[Found]], float]] = {
    "the number": _number,
    "mean": _mean,
    "difference": lambda found: found[0].value - found[1].value,
    "ratio": lambda found: found[0].value / found[1].value,
    "powers of ten": lambda found: math.log10(found[0].value / found[1].value),
    "best rate": _best_rate,
    "ratio of ranges": _ratio_of_ranges,
    "variance": _variance,
}
"""How the numbers of a row's cells become one."""


def _bytes_a_sample(store: Store) -> Measured:
    from recipebench.benchmarks.speed import batch_sizes

    sizes = batch_sizes.sizes(64)
    return Measured(batch_sizes.affine_fit(sizes, batch_sizes.memory(sizes)).slope, ())


def _rows_of_csv(store: Store) -> Measured:
    records = results.collect(suite.load_suite("quick"), store).records
    lines = export.csv(records[records["status"] != "missing"]).decode().splitlines()
    return Measured(len(lines) - 1, ("all of quick",))


LIVE: dict[str, Callable[[Store], Measured]] = {
    "bytes_a_sample": _bytes_a_sample,
    "rows_of_csv": _rows_of_csv,
}
"""Numbers that are not in a record: measured anew, or counted over a whole suite."""


class Numbers:
    """The records and histories of the cells that rows ask for, read once.

    Args:
        store: the store.
        rows: what is asked for.
    """

    def __init__(self, store: Store, rows: Iterable[Row]) -> None:
        self.store = store
        ids = sorted({cell.id for row in rows for cell in _planned_cells(row)})
        self._records = store.records(ids).set_index("cell_id")
        self._history = store.history(ids)

    def measure(self, row: Row) -> Measured:
        """Return the measured number of a row.

        Raises:
            RequestError: a cell is not there or ended otherwise, or it has no such column or number.
        """
        if row.live:
            return LIVE[row.live](self.store)
        chosen = cells_of(row)
        columns = [row.column] * len(chosen) if isinstance(row.column, str) else list(row.column)
        if len(chosen) == 1:
            chosen = chosen * len(columns)
        pairs = zip(chosen, columns, strict=True)
        found = [Found(self._value(cell, column, row), cell.columns()) for cell, column in pairs]
        return Measured(COMBINATIONS[row.combine](found), tuple(dict.fromkeys(cell.id for cell in chosen)))

    def _value(self, cell: cells.Cell, column: str, row: Row) -> float:
        if cell.id not in self._records.index:
            raise RequestError(f"cell {cell.id} of {row.suite} is not in the store {self.store.path}.")
        record = self._records.loc[cell.id]
        if row.epoch is None and record["status"] != row.status:
            raise RequestError(f"cell {cell.id}: expected status {row.status}, got {record['status']}.")
        values = record if row.epoch is None else self._row_of_epoch(cell, row.epoch)
        if column not in values.index:
            raise RequestError(f"cell {cell.id}: {unknown('column', column, map(str, values.index))}")
        if pd.isna(values[column]):
            raise RequestError(f"cell {cell.id}: {column} is empty.")
        return float(values[column])

    def _row_of_epoch(self, cell: cells.Cell, epoch: int) -> pd.Series[Any]:
        history = self._history[self._history["cell_id"] == cell.id].set_index("epoch")
        if epoch not in history.index:
            raise RequestError(f"cell {cell.id}: its history has no epoch {epoch}.")
        row: pd.Series[Any] = history.loc[epoch]
        return row


# Against the references


def load_references() -> dict[str, Any]:
    """Return what `references.json` holds, by the names of the rows."""
    return json.loads(REFERENCES.read_text(encoding="utf-8")) if REFERENCES.exists() else {}


def tolerance_of(row: Row, reference: dict[str, Any]) -> float:
    """Return by how much a number may differ from its reference.

    Raises:
        RequestError: the row takes the band of the reference's runs, and there were none.
    """
    if row.tolerance is not None:
        return row.tolerance
    if "sd" not in reference:
        raise RequestError(f"{row.name}: expected a tolerance, because its reference is a single number.")
    return max(T * float(reference["sd"]) * math.sqrt(1 + 1 / reference["runs"]), NARROWEST)


def check(row: Row, place: int, numbers: Numbers, references: dict[str, Any]) -> Checked:
    """Hold a row's number against its reference."""
    if row.open:
        return Checked(place, row)
    try:
        measured = numbers.measure(row)
    except RequestError as error:
        return Checked(place, row, problem=str(error))
    reference = references.get(row.name)
    if reference is None or reference["compute"] != row.compute:
        return Checked(place, row, measured, problem="no reference: run with --references.")
    if not row.live and reference["cells"] != list(measured.cells):
        return Checked(
            place, row, measured, problem="the reference is of other cells: run with --references."
        )
    tolerance = tolerance_of(row, reference)
    off = abs(measured.value - reference["value"])
    problem = "" if off <= tolerance else f"off by {off:.3g}, more than {tolerance:.3g}."
    return Checked(place, row, measured, reference, tolerance, problem)


def check_all(store: Path = RUNS, rows: Sequence[Row] = ROWS) -> list[Checked]:
    """Hold all rows against their references.

    Raises:
        RequestError: there is no store, or a row selects no cell or several.
    """
    opened = Store(store)
    if not opened.exists:
        raise RequestError(f"expected a store, got {store}: train the suites, or name another by --store.")
    numbers, references = Numbers(opened, rows), load_references()
    return [check(row, place, numbers, references) for place, row in enumerate(rows, start=1)]


# The page


def page(checked: Sequence[Checked]) -> str:
    """Return the page."""
    measured = [c for c in checked if c.reference is not None]
    within = sum(not c.problem for c in measured)
    head = [
        "# Coverage",
        "",
        "The systems and techniques that the lecture notes name, in their order: what implements each, what "
        "holds it against something outside of this project, the suite that runs it, and one number of a "
        f"real run, in the store `docs/runs`, beside its reference. {len(checked)} rows, {len(measured)} "
        f"measured, {within} of them within tolerance. Generated by `python docs/coverage_table.py`, which "
        "fails where a number is not.",
        "",
        "The notes: Lee, Machine Learning (with his lecture on the recipe of deep learning); Zhang, Lipton, "
        "Li and Smola, Dive into Deep Learning, in Li's lectures; Saito, Deep Learning from Scratch; Ng, "
        "Improving Deep Neural Networks.",
        "",
        "The same start means the same split, order of samples and initial weights; all that is computed "
        "from them is the reference's own. All cells are of seed 0.",
        "",
        *_table(checked),
    ]
    return "\n".join([*head, *(line for c in checked for line in _section(c))]) + "\n"


def _table(checked: Sequence[Checked]) -> list[str]:
    lines = [
        "| # | what | measured | reference | difference | tolerance |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for c in checked:
        name = c.row.name.replace("|", "\\|")
        lines.append(f"| {c.place} | [{name}](#{_anchor(c)}) | {' | '.join(_figures(c))} |")
    return [*lines, ""]


def _figures(c: Checked) -> tuple[str, str, str, str]:
    if c.row.open:
        return "not measured yet", "", "", ""
    value = shown(c.measured.value) if c.measured else "none"
    if c.measured is None or c.reference is None or c.tolerance is None:
        return value, "none", "**see below**", ""
    off = difference(c.measured.value, c.reference["value"])
    return value, shown(c.reference["value"]), f"**{off}**" if c.problem else off, f"{c.tolerance:.2g}"


def _section(c: Checked) -> list[str]:
    row = c.row
    lines = [f"## {_heading(c)}", "", f"{row.what} ({row.kind})", ""]
    lines += [f"- Notes: {row.source}.", f"- Code: {_link(row.module)}; test: {_link(row.test)}"]
    if row.suite:
        lines[-1] += f"; suite: [`{row.suite}`](../benchmarks/suites/{row.suite}.yaml)"
    lines[-1] += "."
    if row.open:
        return [*lines, f"- Not measured yet. {row.open}", ""]
    if c.measured:
        of = ", ".join(f"`{name}`" for name in c.measured.cells)
        where = f" (cell{'s' if len(c.measured.cells) > 1 else ''} {of})" if of else ""
        lines.append(f"- Measured: **{shown(c.measured.value)}**, {row.number}{where}.")
    if c.reference is not None and c.tolerance is not None:
        lines.append(
            f"- Reference: **{shown(c.reference['value'])}**, tolerance {c.tolerance:.2g}: {_how(c)}."
        )
    if c.problem:
        lines.append(f"- **{c.problem}**")
    return [*lines, ""]


def _heading(c: Checked) -> str:
    return f"{c.place}. {c.row.name}"


def _anchor(c: Checked) -> str:
    """Return the anchor that code hosts make of the row's heading."""
    return re.sub(r"[^\w -]", "", _heading(c)).lower().replace(" ", "-")


def _how(c: Checked) -> str:
    assert c.reference is not None
    text = c.row.reference
    if "sd" in c.reference:
        text += (
            f"; mean of {c.reference['runs']}, standard deviation {c.reference['sd']:.2g}, the band {T:g} of "
            f"them or {NARROWEST:g}"
        )
    libraries = ", ".join(f"{name} {version}" for name, version in c.reference["with"].items())
    return f"{text} ({libraries})" if libraries else text


def _link(place: str) -> str:
    return f"[`{place}`](../{place.partition(':')[0]})"


def shown(value: float) -> str:
    """Write a number with six digits that count, whole numbers as such.

    Example:
        >>> shown(54000.0), shown(0.96581234)
        ('54,000', '0.965812')
    """
    whole = abs(value) >= 1 and math.isclose(value, round(value), rel_tol=1e-12)
    return f"{value:,.0f}" if whole else f"{value:.6g}"


def difference(measured: float, reference: float) -> str:
    """Write by how much two numbers differ; what is below a millionth of them is rounding.

    Example:
        >>> difference(1.0, 1.0), difference(0.97, 0.96)
        ('0', '+0.01')
    """
    off = measured - reference
    return "0" if abs(off) <= 1e-12 else f"{off:+.2g}"


# Computing the references


def compute_references(rows: Sequence[Row]) -> None:
    """Compute the references of some rows and write them beside the others."""
    import coverage_references
    import torch

    torch.set_num_threads(1)
    for row in rows:
        chosen = cells_of(row)
        value = getattr(coverage_references, row.compute)(chosen, row)
        entry = value._asdict() if isinstance(value, tuple) else {"value": float(value)}
        entry |= {
            "compute": row.compute,
            "with": coverage_references.versions(row.compute),
            "cells": list(dict.fromkeys(cell.id for cell in chosen)),
        }
        print(f"{row.name}: {entry['value']}", flush=True)
        found = {**load_references(), row.name: entry}
        ordered = {r.name: found[r.name] for r in ROWS if r.name in found}
        REFERENCES.write_text(json.dumps(ordered, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Write the page, check it, or compute the references."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--store", type=Path, default=RUNS, help="where the numbers are; docs/runs if left out"
    )
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where the page is stale")
    parser.add_argument(
        "--references", nargs="*", type=int, metavar="ROW", help="compute the references of rows, or all"
    )
    options = parser.parse_args()
    try:
        if options.references is not None:
            chosen = options.references or range(1, len(ROWS) + 1)
            compute_references([row for n in chosen if not (row := ROWS[n - 1]).open])
            return
        checked = check_all(options.store)
    except RequestError as error:
        sys.exit(str(error))
    text = page(checked)
    problems = [f"{c.place}. {c.row.name}: {c.problem}" for c in checked if c.problem]
    if not options.check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        problems.append("coverage.md is stale: run `python docs/coverage_table.py`.")
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
