"""From records and history as written to one checked frame of cells that the tables start from."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recipebench.errors import RequestError, unknown
from recipebench.levels import Choice
from recipebench.reports.suite_info import Endpoint, SuiteInfo
from recipebench.reports.wording import SETTINGS

STATUSES = ("ok", "diverged", "failed", "missing")
ABSENT = "—"  # the label of a factor that a cell does not have: a model without hidden layers

_RECORDS = ("cell_id", "data", "model", "seed", "status", "reason", "epochs")
_NUMBERS = ("parameters", "steps", "pack_seconds")
_TEXTS = ("torch", "cpu", "device")
_MAY_VARY = ("model", *SETTINGS)


def cells(records: pd.DataFrame, suite: SuiteInfo) -> pd.DataFrame:
    """Return one row a cell, in declared order: its levels as ordered categories, and its score.

    The score is the endpoint of an ok cell, chance level for a diverged one and for an infinite
    endpoint, NaN for a gap (failed, missing, or ok without a number). Whatever else differs between
    cells (model, batch size …) joins the recipe as a factor.

    Args:
        records: one row a cell, columns as written by a run.
        suite: endpoints and declared levels.

    Returns:
        Columns `cell_id, data, <factor>…, seed, status, reason, score, last_epoch, parameters, steps,
        pack_seconds, torch, cpu, on_device`; `data` and the factors are ordered categoricals.

    Raises:
        RequestError: a column is lacking, a status or data set is not known, a cell stands twice, or
            there are more cells than were planned.
    """
    _check(records, suite)
    factors = [*suite.factors, *(c for c in _MAY_VARY if c not in suite.factors and _varies(records, c))]
    frame = pd.DataFrame({"cell_id": records["cell_id"].astype(object)})
    frame["data"] = labels(records, "data", tuple(suite.endpoints))
    for factor in factors:
        frame[factor] = labels(records, factor, suite.factors.get(factor, ()))
    for name in ("seed", "status", "reason"):
        frame[name] = records[name]
    frame["score"] = _score(records, suite)
    frame["last_epoch"] = records["epochs"]
    for name in _NUMBERS:
        frame[name] = pd.to_numeric(_column(records, name), errors="coerce").astype("float64")
    for name in _TEXTS:
        frame["on_device" if name == "device" else name] = _column(records, name)
    return frame.sort_values(["data", *factors, "seed", "cell_id"], kind="stable", ignore_index=True)


def factors(cells: pd.DataFrame) -> list[str]:
    """Return the columns that make up a recipe: all ordered categoricals but `data`."""
    return [str(c) for c in cells if isinstance(cells[c].dtype, pd.CategoricalDtype) and c != "data"]


def compared(cells: pd.DataFrame) -> list[str]:
    """Return the factors that have at least two levels on some data set; the first factor if none has.

    That some models do not respond to a factor makes no second level of it.
    """
    names = factors(cells)
    present = pd.DataFrame({name: cells[name].astype(object).where(cells[name] != ABSENT) for name in names})
    counts = present.groupby(cells["data"], observed=True).nunique()
    return [name for name in names if (counts[name] > 1).any()] or names[:1]


def levels(cells: pd.DataFrame, factor: str) -> list[str]:
    """Return the labels of a factor (or of `data`) in declared order."""
    return [str(label) for label in cells[factor].cat.categories]


def endpoint(label: str, suite: SuiteInfo) -> Endpoint:
    """Return the endpoint of a data set by its label, such as `synthetic (noise=0.1)`."""
    return suite.endpoints[data_name(label, suite)]


def data_name(label: str, suite: SuiteInfo) -> str:
    """Return the data set's name of a label: the longest declared name that it begins with."""
    if label in suite.endpoints:
        return label
    return max((n for n in suite.endpoints if label.startswith(f"{n} (")), key=len)


def labels(records: pd.DataFrame, factor: str, declared: Sequence[Choice | str]) -> pd.Series[Any]:
    """Label each record's level: its name, and its hyper-parameters where a name has several.

    Args:
        records: with the column `factor` and perhaps `<factor>.<hyper-parameter>`.
        factor: the column of names.
        declared: the levels in the order in which they are to be shown; undeclared ones follow.

    Returns:
        An ordered categorical, aligned with `records`.

    Example:
        >>> frame = pd.DataFrame({"r": ["dropout", "none", "dropout"], "r.p": [0.5, None, 0.2]})
        >>> list(labels(frame, "r", [Choice("none", {}), Choice("dropout", {"p": 0.2})]))
        ['dropout (p=0.5)', 'none', 'dropout (p=0.2)']
    """
    prefix = f"{factor}."
    given = [str(c) for c in records.columns if str(c).startswith(prefix)]
    names = [name.removeprefix(prefix) for name in given]
    keys = list(zip(*(_hashable(records[c]) for c in [factor, *given]), strict=True))
    seen = {key: (_name(key[0]), _parameters(names, key[1:])) for key in dict.fromkeys(keys)}
    choices = [(c.name, c.parameters) if isinstance(c, Choice) else (c, {}) for c in declared]
    telling = _telling([*choices, *seen.values()])
    shown = [_label(c, telling) for c in choices if c[1] or not telling.get(c[0])]
    order = {label: (float(position), 0.0, "") for position, label in reversed(list(enumerate(shown)))}
    first = {choice[0]: position for position, choice in reversed(list(enumerate(choices)))}
    for key, level in seen.items():
        number = float(key[0]) if isinstance(key[0], int | float) else 0.0
        label = _label(level, telling)
        order.setdefault(label, (first.get(level[0], len(choices)) + 0.5, number, label))
    categories = sorted(order, key=lambda label: order[label])
    values = pd.Categorical([_label(seen[k], telling) for k in keys], categories=categories, ordered=True)
    return pd.Series(values, index=records.index)


def history_of(history: pd.DataFrame, cells: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return one row a cell that is ok and one column an epoch from 1: the values of `column`.

    A cell that stopped early keeps, up to its planned last epoch, the values of its last row.

    Args:
        history: one row a cell and epoch.
        cells: as `cells` returns them.
        column: of the history, for example `validation_loss`.

    Returns:
        Indexed like `cells` (its ok rows only); NaN where there is no value.

    Raises:
        RequestError: the history holds cells that the records lack.
    """
    row_of = pd.Series(cells.index, index=cells["cell_id"])
    strangers = set(history["cell_id"]) - set(row_of.index)
    if strangers:
        raise RequestError(
            f"history: expected only cells of the records, got {len(strangers)} others: {min(strangers)!r} …"
        )
    ok = cells.index[cells["status"] == "ok"]
    last = int(cells.loc[ok, "last_epoch"].max()) if len(ok) else 0
    values = np.full((len(cells), last + 1), np.nan)
    kept = history[history["epoch"].between(1, last)]
    at = row_of.loc[kept["cell_id"]].to_numpy()
    values[at, kept["epoch"].to_numpy(dtype=int)] = kept[column].to_numpy(dtype=float, na_value=np.nan)
    return pd.DataFrame(_carry(values, cells["last_epoch"].to_numpy()), index=cells.index).loc[ok, 1:]


def _carry(values: np.ndarray[Any, Any], last: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    epochs = np.arange(values.shape[1])
    known = np.where(np.isnan(values), -1, epochs).max(axis=1, initial=-1)
    fill = (epochs > known[:, None]) & (known[:, None] >= 0) & (epochs <= last[:, None])
    return np.where(fill, values[np.arange(len(values)), known][:, None], values)


def _check(records: pd.DataFrame, suite: SuiteInfo) -> None:
    for column in (*_RECORDS, *suite.factors):
        if column not in records.columns:
            raise RequestError(f"records: {unknown('column', column, map(str, records.columns))}")
    for value in records["status"].unique():
        if value not in STATUSES:
            raise RequestError(f"records: {unknown('status', value, STATUSES)}")
    for value in records["data"].unique():
        if value not in suite.endpoints:
            raise RequestError(f"records: {unknown('data set', value, suite.endpoints)}")
    twice = records["cell_id"][records["cell_id"].duplicated()]
    if len(twice):
        raise RequestError(f"records: expected each cell once, got {twice.iloc[0]!r} more than once.")
    if len(records) > suite.planned:
        raise RequestError(
            f"records: expected at most the {suite.planned} cells planned, got {len(records)}."
        )


def _score(records: pd.DataFrame, suite: SuiteInfo) -> pd.Series[Any]:
    score = pd.Series(np.nan, index=records.index, dtype="float64")
    for name, endpoint in suite.endpoints.items():
        here = records["data"] == name
        ok, diverged = here & (records["status"] == "ok"), here & (records["status"] == "diverged")
        if ok.any():
            if endpoint.column not in records.columns:
                raise RequestError(
                    f"records: {unknown('column', endpoint.column, map(str, records.columns))}"
                )
            values = pd.to_numeric(records.loc[ok, endpoint.column])
            numbers = values.to_numpy(dtype="float64", na_value=np.nan)
            score[ok] = np.where(np.isinf(numbers), endpoint.chance, numbers)
        score[diverged] = endpoint.chance
    return score


def _varies(records: pd.DataFrame, column: str) -> bool:
    """Whether a column has several values on one data set: what differs between data sets is no factor."""
    if column not in records.columns:
        return False
    pairs = set(zip(records["data"], _hashable(records[column]), strict=True))
    return len(pairs) > records["data"].nunique()


def _column(records: pd.DataFrame, name: str) -> pd.Series[Any]:
    return records[name] if name in records.columns else pd.Series(None, index=records.index, dtype=object)


def _hashable(column: pd.Series[Any]) -> list[Any]:
    return [_plain(value) for value in column.tolist()]


def _plain(value: Any) -> Hashable:
    if isinstance(value, list | tuple | np.ndarray):
        return tuple(value)
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    return value  # type: ignore[no-any-return]


def _parameters(names: Iterable[str], values: Iterable[Hashable]) -> dict[str, Hashable]:
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def _name(value: Hashable) -> str:
    return ABSENT if value is None else _value(value)


def _telling(all_levels: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, list[str]]:
    """For each name, the hyper-parameters in which its levels differ."""
    values: dict[str, dict[str, set[Hashable]]] = {}
    for name, parameters in all_levels:
        for key, value in parameters.items():
            plain = "-".join(map(str, value)) if isinstance(value, list | tuple) else _plain(value)
            values.setdefault(name, {}).setdefault(key, set()).add(plain)  # records hold lists as text
    return {name: [k for k, v in known.items() if len(v) > 1] for name, known in values.items()}


def _label(level: tuple[str, Mapping[str, Any]], telling: Mapping[str, list[str]]) -> str:
    name, parameters = level
    shown = [f"{key}={_value(parameters[key])}" for key in telling.get(name, ()) if key in parameters]
    return f"{name} ({', '.join(shown)})" if shown else name


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
