"""Pairs the cells of two result sets: which columns differ in any bit, and what became of each cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recipebench.reports.frames import labels
from recipebench.reports.statistics.inference import Blocks, block_differences
from recipebench.reports.statistics.scales import transform
from recipebench.reports.suite_info import Endpoint

EQUAL, WITHIN, CHANGED, ENDED = "equal", "within", "changed", "ended otherwise"
FAILED, ONLY_FIRST, ONLY_SECOND = "failed in both", "only in A", "only in B"
OUTCOMES = {
    EQUAL: "the same bits in all columns but times",
    WITHIN: "other bits; the endpoint differs by no more than the smallest effect",
    CHANGED: "the endpoint differs by more than the smallest effect",
    ENDED: "ok, diverged or failed in one, another of these in the other",
    FAILED: "failed in both",
    ONLY_FIRST: "the second store has no record",
    ONLY_SECOND: "the first store has no record",
}
"""What can become of a cell, and what that means."""

DONE = ("ok", "diverged")
BUILD = ("torch", "cpu")
COUNTED = (EQUAL, WITHIN, CHANGED, ENDED)
"""The outcomes of cells that one of them has done."""


ROUNDING = 1e-9
"""Share by which a difference may exceed the smallest effect: 0.92 - 0.9 is a little more than 0.02."""


@dataclass(frozen=True)
class ResultSet:
    """What one store holds.

    Args:
        name: as it is told, for example its path.
        records: one row a cell, `ok`, `diverged` or `failed`.
        history: one row a cell and epoch.
    """

    name: str
    records: pd.DataFrame
    history: pd.DataFrame


def paired(
    first: ResultSet,
    second: ResultSet,
    *,
    endpoints: Mapping[str, Endpoint],
    smallest: Mapping[str, float],
    ignored: Iterable[str] = (),
    factors: Sequence[str] = (),
) -> pd.DataFrame:
    """Return one row a cell of either result set, with its outcome; see `Comparison.cells`.

    A cell of a data set without a smallest effect has changed as soon as its endpoint differs.
    """
    known = pd.concat([first.records, second.records], ignore_index=True)
    known = known.drop_duplicates("cell_id").reset_index(drop=True)
    frame = known[["cell_id", "seed"]].astype({"cell_id": object})
    frame.insert(1, "data", known["data"].astype(object))
    for factor in factors:
        frame[factor] = labels(known, factor, ()).astype(object)
    frame["device"] = known["device"].astype(object) if "device" in known else None
    for name, side in (("first", first), ("second", second)):
        rows = side.records.set_index("cell_id").reindex(frame["cell_id"])
        frame[f"{name}_status"] = rows["status"].astype(object).where(rows["status"].notna(), None).to_numpy()
        frame[name] = scores(rows, frame["data"].to_numpy(), endpoints)
    frame["difference"] = frame["second"] - frame["first"]
    frame["columns"] = _columns(first, second, frame["cell_id"], set(ignored))
    frame["outcome"] = _outcome(frame, smallest)
    return frame.sort_values(["data", *factors, "seed", "cell_id"], kind="stable", ignore_index=True)


def scores(
    rows: pd.DataFrame, data: np.ndarray[Any, Any], endpoints: Mapping[str, Endpoint]
) -> np.ndarray[Any, Any]:
    """Return endpoints, chance level for what diverged or is infinite, NaN for what failed or is missing.

    Args:
        rows: records.
        data: the name of the data set of each.
        endpoints: of each data set.
    """
    status = rows["status"].astype(object).to_numpy()
    found = np.full(len(rows), np.nan)
    for name, endpoint in endpoints.items():
        here = data == name
        if endpoint.column in rows:
            values = rows[endpoint.column].to_numpy(dtype="float64", na_value=np.nan)
            finite = np.where(np.isinf(values), endpoint.chance, values)
            found = np.where(here & (status == "ok"), finite, found)
        found = np.where(here & (status == "diverged"), endpoint.chance, found)
    return found


def _columns(first: ResultSet, second: ResultSet, cells: pd.Series[Any], ignored: set[str]) -> list[str]:
    """Name for each cell the columns that differ, those of the history as `history.<name>`."""
    found: dict[str, list[str]] = {}
    for prefix, kind, keys in (("", "records", ["cell_id"]), ("history.", "history", ["cell_id", "epoch"])):
        for cell, names in differing(getattr(first, kind), getattr(second, kind), keys, ignored).items():
            found.setdefault(cell, []).extend(prefix + name for name in names)
    return [", ".join(found.get(cell, ())) for cell in cells]


def differing(
    first: pd.DataFrame, second: pd.DataFrame, keys: Sequence[str], ignored: Iterable[str] = ()
) -> dict[str, list[str]]:
    """Return the columns in which the rows of a cell differ in any bit; null is apart from NaN.

    Args:
        first: a frame of records or of histories.
        second: the other.
        keys: columns that name a row; the first names the cell.
        ignored: columns that are not looked at.

    Returns:
        Columns by cell, for the cells of both frames that differ; `rows` where one has rows that the
        other lacks.

    Example:
        >>> one = pd.DataFrame({"cell_id": ["a", "b"], "loss": [1.0, 2.0]})
        >>> differing(one, one.assign(loss=[1.0, 2.5]), ["cell_id"])
        {'b': ['loss']}
    """
    names = [n for n in dict.fromkeys([*first, *second]) if n not in {*keys, *ignored}]
    both = set(first[keys[0]]) & set(second[keys[0]])
    one, two = (f[f[keys[0]].isin(both)].set_index(list(keys)) for f in (first, second))
    rows = one.index.union(two.index)
    cells = rows.get_level_values(0).to_numpy()
    unequal = {"rows": ~(rows.isin(one.index) & rows.isin(two.index))}
    one, two = one.reindex(rows), two.reindex(rows)
    unequal |= {name: _unequal(one.get(name), two.get(name)) for name in names}
    found: dict[str, list[str]] = {}
    for name, where in unequal.items():
        for cell in dict.fromkeys(cells[where]):
            found.setdefault(str(cell), []).append(name)
    return found


def _unequal(first: pd.Series[Any] | None, second: pd.Series[Any] | None) -> np.ndarray[Any, Any]:
    """Whether values differ in their bits; a column that is not there is null."""
    given = [column for column in (first, second) if column is not None]
    if len(given) == 1:
        return np.asarray(given[0].notna())
    if all(_is_number(column) or column.isna().all() for column in given):
        masks = [column.isna().to_numpy() for column in given]
        bits = [_numbers(column).view("int64") for column in given]
        return np.asarray((masks[0] != masks[1]) | (~masks[0] & (bits[0] != bits[1])))
    plain = [column.astype(object).where(column.notna(), None).tolist() for column in given]
    return np.array([_bits(a) != _bits(b) for a, b in zip(*plain, strict=True)], dtype=bool)


def _is_number(column: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)


def _numbers(column: pd.Series[Any]) -> np.ndarray[Any, Any]:
    if not _is_number(column):
        return np.full(len(column), np.nan)
    return np.ascontiguousarray(column.to_numpy(dtype="float64", na_value=np.nan))


def _bits(value: Any) -> Any:
    return value.hex() if isinstance(value, float) else value


def _outcome(frame: pd.DataFrame, smallest: Mapping[str, float]) -> list[str]:
    """Return what became of each cell: a key of `OUTCOMES`."""
    one, two = frame["first_status"], frame["second_status"]
    limit = frame["data"].map(dict(smallest)).fillna(0.0).astype("float64")
    apart = frame["difference"].abs()
    both_gone = frame["first"].isna() & frame["second"].isna()
    rules = [
        (one.isna(), ONLY_SECOND),
        (two.isna(), ONLY_FIRST),
        (one != two, ENDED),
        (~one.isin(DONE), FAILED),
        (frame["columns"] == "", EQUAL),
        ((apart <= limit * (1 + ROUNDING)) | both_gone, WITHIN),
    ]
    found = np.select([np.asarray(rule) for rule, _ in rules], [name for _, name in rules], CHANGED)
    return [str(outcome) for outcome in found]


def blocks(pairs: pd.DataFrame, endpoint: Endpoint, *, of: str = "second", over: str = "first") -> Blocks:
    """Return the differences of one data set by seed, positive where `of` is better than `over`.

    Args:
        pairs: columns `seed` and, for either side, its score and `<side>_status`, as of `paired`.
        endpoint: of the data set.
        of: the side that is judged.
        over: the other.
    """
    seeds, place = pairs["seed"].factorize(sort=True)[0], pairs.groupby("seed").cumcount().to_numpy()
    shape = (1, int(seeds.max(initial=-1)) + 1, int(place.max(initial=-1)) + 1)
    there = np.zeros(shape, dtype=bool)
    there[0, seeds, place] = True
    scale = "raw" if endpoint.direction == "higher" else "lower"
    sides = {}
    for side in (of, over):
        values, lost = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
        values[0, seeds, place] = transform(pairs[side].to_numpy(dtype="float64"), scale)
        lost[0, seeds, place] = (pairs[f"{side}_status"] == "diverged").to_numpy()
        sides[side] = values, lost
    return block_differences(
        sides[of][0],
        sides[over][0],
        first_diverged=sides[of][1],
        second_diverged=sides[over][1],
        planned=there,
    )


def in_both(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells that have a record in both, failed ones among them."""
    return cells[~cells["outcome"].isin([ONLY_FIRST, ONLY_SECOND])]


def builds(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Count the cells that are done by side, torch version and class of processor."""
    parts = []
    for side, records in (("A", first), ("B", second)):
        done = records[records["status"].isin(DONE)]
        known = done[[*BUILD]].astype(object).where(done[[*BUILD]].notna(), "unknown")
        parts.append(known.groupby([*BUILD]).size().rename("cells").reset_index().assign(side=side))
    return pd.concat(parts, ignore_index=True)[["side", *BUILD, "cells"]]
