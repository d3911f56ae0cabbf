"""From records and history as written to one checked frame of cells that the tables start from."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from recipebench.errors import RequestError, unknown
from recipebench.levels import Choice, Tuned
from recipebench.reports.suite_info import Endpoint, SuiteInfo, names_of
from recipebench.reports.wording import SETTINGS

STATUSES = ("ok", "diverged", "failed", "missing")
ROLES = ("trial", "report")
ABSENT = "—"  # the label of a factor that a cell does not have: a model without hidden layers

_RECORDS = ("cell_id", "data", "model", "seed", "status", "reason", "epochs")
_NUMBERS = ("parameters", "steps", "pack_seconds")
_TEXTS = ("torch", "cpu", "device")
_MAY_VARY = ("model", *SETTINGS)
_SEARCH = ("role", "search", "trial", "chosen")


class Named(NamedTuple):
    """A level as records tell it.

    Args:
        name: of the level.
        parameters: its hyper-parameters without those that were tuned.
        tuned: the names of those, such as `beta1, lr`; empty where none was.
    """

    name: str
    parameters: Mapping[str, Any]
    tuned: str = ""


Levels = Mapping[str, Mapping[str, Named]]
"""What the labels of columns stand for, by column (`levels_of`)."""


def may_vary(suite: SuiteInfo) -> list[str]:
    """Return the columns of records whose levels may differ: the factors, then model and settings."""
    return [*suite.factors, *(name for name in _MAY_VARY if name not in suite.factors)]


def cells(records: pd.DataFrame, suite: SuiteInfo) -> pd.DataFrame:
    """Return one row a cell, in declared order: its levels as ordered categories, and its score.

    The score is the endpoint of an ok cell, chance level for a diverged one and for an infinite
    endpoint, NaN for a gap (failed, missing, or ok without a number). Whatever else differs between
    cells (model, batch size …) joins the recipe as a factor.

    Args:
        records: one row a cell, columns as written by a run.
        suite: endpoints and declared levels.

    Returns:
        Columns `cell_id, data, <factor>…, seed, status, reason, score, scale, validation, last_epoch,
        parameters, steps, pack_seconds, torch, cpu, on_device`; `data` and the factors are ordered
        categoricals, `scale` is that of the intervals of means (`statistics.SCALES`), `validation` the
        score by which a recipe is chosen (NaN where it was not recorded). Of a suite that tunes also
        `role, search, trial, chosen`, `<factor>.tuned` and the values of the
        tuned `<factor>.<hyper-parameter>`: trials stand among the cells, but have no score, only what
        `validation_scores` gives (see `reported`).

    Raises:
        RequestError: a column is lacking, a status, role or data set is not known, a cell stands twice,
            there are more cells than were planned, or trials although the suite tunes nothing.
    """
    _check(records, suite)
    factors = [c for c in may_vary(suite) if c in suite.factors or _varies(records, c)]
    frame = pd.DataFrame({"cell_id": records["cell_id"].astype(object)})
    frame["data"] = labels(records, "data", tuple(suite.endpoints))
    for factor in factors:
        frame[factor] = labels(records, factor, suite.factors.get(factor, ()))
    for name in ("seed", "status", "reason"):
        frame[name] = records[name]
    frame["score"] = _score(records, suite)
    frame["scale"] = records["data"].map({name: goal.mean_scale for name, goal in suite.endpoints.items()})
    criterion = {name: suite.criterion(name) for name in suite.endpoints}
    if suite.tuning is None:  # nothing was chosen by it yet: a score that was not recorded is a gap
        criterion = {name: goal for name, goal in criterion.items() if goal.column in records.columns}
    known = records["data"].isin(criterion)
    frame["validation"] = validation_scores(records[known], criterion).reindex(records.index)
    frame["last_epoch"] = records["epochs"]
    for name in _NUMBERS:
        frame[name] = pd.to_numeric(_column(records, name), errors="coerce").astype("float64")
    for name in _TEXTS:
        frame["on_device" if name == "device" else name] = _column(records, name)
    order = ["data", *factors, "seed", "cell_id"]
    if suite.tuning is not None:
        for name in _SEARCH:
            frame[name] = records[name]
        for factor in factors:
            frame = frame.assign(**_tuned_values(records, factor))
        frame.loc[frame["role"] == "trial", "score"] = np.nan  # a trial is judged by validation alone
        order += ["role", "search", "trial"]
    return frame.sort_values(order, kind="stable", ignore_index=True)


def reported(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells that are not trials of a search: those that the means are about."""
    if "role" not in cells:
        return cells
    return cells[cells["role"] == "report"].reset_index(drop=True)


def validation_scores(records: pd.DataFrame, criterion: Mapping[str, Endpoint]) -> pd.Series[Any]:
    """Return what each record is worth to those who choose: never a metric of the test data.

    A diverged cell and a non-finite value count at chance level, or below everything where the chance
    level is not known; failed and missing cells are NaN.

    Args:
        records: one row a cell.
        criterion: the validation metric of each data set.

    Raises:
        RequestError: a column or a data set's criterion is lacking.
    """
    score = pd.Series(np.nan, index=records.index, dtype="float64")
    for name in records["data"].unique():
        if name not in criterion:
            raise RequestError(f"criterion: {unknown('data set', name, criterion)}")
        goal, here = criterion[name], records["data"] == name
        ok = here & (records["status"] == "ok")
        if ok.any() and goal.column not in records.columns:
            raise RequestError(f"records: {unknown('column', goal.column, map(str, records.columns))}")
        worst = -np.inf if goal.direction == "higher" else np.inf
        chance = goal.chance if np.isfinite(goal.chance) else worst
        if ok.any():
            values = pd.to_numeric(records.loc[ok, goal.column]).to_numpy(dtype="float64", na_value=np.nan)
            score[ok] = np.where(np.isfinite(values), values, chance)
        score[here & (records["status"] == "diverged")] = chance
    return score


def is_chosen(column: pd.Series[Any]) -> pd.Series[bool]:
    """Return which rows of the column `chosen` say yes; None and <NA> do not."""
    return column.astype(object).where(column.notna(), other=False).astype(bool)


def tuned_factors(cells: pd.DataFrame) -> list[str]:
    """Return the factors that have a level with tuned hyper-parameters."""
    return [f for f in factors(cells) if f"{f}.tuned" in cells and cells[f"{f}.tuned"].notna().any()]


def untuned_optimizers(cells: pd.DataFrame, suite: SuiteInfo) -> frozenset[str]:
    """Return the labels of the optimizers whose learning rate was not tuned.

    Args:
        cells: the reported cells.
        suite: tells it of a suite that has no searches.
    """
    if "optimizer" not in cells or (suite.rates_tuned and suite.tuning is None):
        return frozenset()
    labels = cells["optimizer"].astype(str)
    if "optimizer.tuned" not in cells:
        return frozenset(labels)
    tuned = cells["optimizer.tuned"].map(lambda text: bool(text) and "lr" in names_of(str(text)))
    return frozenset(labels[~tuned.astype(bool)]) - {ABSENT}


def rates(cells: pd.DataFrame, suite: SuiteInfo) -> str:
    """Return whether the learning rates of the optimizers are `tuned`, `untuned` or `mixed`."""
    if "optimizer" not in cells:
        return "tuned" if suite.rates_tuned else "untuned"
    plain = untuned_optimizers(cells, suite)
    if not plain:
        return "tuned"
    return "untuned" if set(cells["optimizer"].astype(str)) - {ABSENT} <= plain else "mixed"


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
        An ordered categorical, aligned with `records`. A level of which hyper-parameters were tuned is
        told by their names, as in `adam (tuned lr)`, whatever their values.

    Example:
        >>> frame = pd.DataFrame({"r": ["dropout", "none", "dropout"], "r.p": [0.5, None, 0.2]})
        >>> list(labels(frame, "r", [Choice("none", {}), Choice("dropout", {"p": 0.2})]))
        ['dropout (p=0.5)', 'none', 'dropout (p=0.2)']
    """
    keys, seen = _seen(records, factor)
    choices = [_declared(choice) for choice in declared]
    telling = _telling([*choices, *seen.values()])
    shown = [_label(c, telling) for c in choices if c.parameters or c.tuned or not telling.get(c.name)]
    order = {label: (float(position), 0.0, "") for position, label in reversed(list(enumerate(shown)))}
    first = {choice.name: position for position, choice in reversed(list(enumerate(choices)))}
    for key, level in seen.items():
        number = float(key[0]) if isinstance(key[0], int | float) else 0.0
        label = _label(level, telling)
        order.setdefault(label, (first.get(level.name, len(choices)) + 0.5, number, label))
    categories = sorted(order, key=lambda label: order[label])
    values = pd.Categorical([_label(seen[k], telling) for k in keys], categories=categories, ordered=True)
    return pd.Series(values, index=records.index)


def named(records: pd.DataFrame, factor: str, declared: Sequence[Choice | str]) -> dict[str, Named]:
    """Return what each label of `labels` stands for, by label."""
    _, seen = _seen(records, factor)
    telling = _telling([*map(_declared, declared), *seen.values()])
    return {_label(level, telling): level for level in seen.values()}


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
    strangers = set(history["cell_id"]) - set(cells["cell_id"])
    if strangers:
        raise RequestError(
            f"history: expected only cells of the records, got {len(strangers)} others: {min(strangers)!r} …"
        )
    ok = cells.index[cells["status"] == "ok"]
    last = int(cells.loc[ok, "last_epoch"].max()) if len(ok) else 0
    values = np.full((len(cells), last + 1), np.nan)
    kept = history.loc[history["epoch"].between(1, last), ["cell_id", "epoch", column]]
    rows = kept.merge(pd.DataFrame({"cell_id": cells["cell_id"], "_row": cells.index}), on="cell_id")
    at, epoch = rows["_row"].to_numpy(), rows["epoch"].to_numpy(dtype=int)
    values[at, epoch] = rows[column].to_numpy(dtype=float, na_value=np.nan)
    return pd.DataFrame(_carry(values, cells["last_epoch"].to_numpy()), index=cells.index).loc[ok, 1:]


def _carry(values: np.ndarray[Any, Any], last: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    epochs = np.arange(values.shape[1])
    known = np.where(np.isnan(values), -1, epochs).max(axis=1, initial=-1)
    fill = (epochs > known[:, None]) & (known[:, None] >= 0) & (epochs <= last[:, None])
    return np.where(fill, values[np.arange(len(values)), known][:, None], values)


def _check(records: pd.DataFrame, suite: SuiteInfo) -> None:
    tunes = suite.tuning is not None
    if "role" in records.columns and not tunes:
        raise RequestError("records: expected no column 'role': this suite tunes nothing.")
    for column in (*_RECORDS, *suite.factors, *(_SEARCH if tunes else ())):
        if column not in records.columns:
            raise RequestError(f"records: {unknown('column', column, map(str, records.columns))}")
    for value in records["status"].unique():
        if value not in STATUSES:
            raise RequestError(f"records: {unknown('status', value, STATUSES)}")
    for value in records["data"].unique():
        if value not in suite.endpoints:
            raise RequestError(f"records: {unknown('data set', value, suite.endpoints)}")
    for value in records["role"].unique() if tunes else ():
        if value not in ROLES:
            raise RequestError(f"records: {unknown('role', value, ROLES)}")
    key = ["cell_id", "role", "search"] if tunes else ["cell_id"]
    twice = records["cell_id"][records[key].duplicated()]
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


def _seen(records: pd.DataFrame, factor: str) -> tuple[list[tuple[Hashable, ...]], dict[Any, Named]]:
    """Return each record's level as a plain key, and the level of each key."""
    prefix, marked = f"{factor}.", [f"{factor}.tuned"] if "role" in records.columns else []
    given = [str(c) for c in records.columns if str(c).startswith(prefix) and c not in marked]
    marks = [c for c in marked if c in records.columns]
    names = [name.removeprefix(prefix) for name in given]
    keys = list(zip(*(_hashable(records[c]) for c in [factor, *given, *marks]), strict=True))
    seen = {}
    for key in dict.fromkeys(keys):
        tuned = str(key[-1]) if marks and key[-1] is not None else ""
        seen[key] = Named(_name(key[0]), _parameters(names, key[1 : 1 + len(names)], tuned), tuned)
    return keys, seen


def _tuned_values(records: pd.DataFrame, factor: str) -> dict[str, pd.Series[Any]]:
    """Return the column `<factor>.tuned`, and the values of all hyper-parameters that it names."""
    mark = f"{factor}.tuned"
    if mark not in records.columns:
        return {}
    marks = records[mark].astype(object).where(records[mark].notna(), None)
    names = dict.fromkeys(name for text in marks.dropna().unique() for name in names_of(str(text)))
    columns = [f"{factor}.{name}" for name in names]
    values = {c: pd.to_numeric(_column(records, c), errors="coerce").astype("float64") for c in columns}
    return {mark: marks} | values


def _declared(choice: Choice | str) -> Named:
    if not isinstance(choice, Choice):
        return Named(choice, {})
    return Named(choice.name, choice.parameters, choice.tuned if isinstance(choice, Tuned) else "")


def _parameters(names: Iterable[str], values: Iterable[Hashable], tuned: str) -> dict[str, Hashable]:
    chosen = names_of(tuned)
    pairs = zip(names, values, strict=True)
    return {name: value for name, value in pairs if value is not None and name not in chosen}


def _name(value: Hashable) -> str:
    return ABSENT if value is None else text_of(value)


def _telling(all_levels: Iterable[Named]) -> dict[str, list[str]]:
    """For each name, the hyper-parameters in which its levels differ."""
    values: dict[str, dict[str, set[Hashable]]] = {}
    for name, parameters, _ in all_levels:
        for key, value in parameters.items():
            plain = "-".join(map(str, value)) if isinstance(value, list | tuple) else _plain(value)
            values.setdefault(name, {}).setdefault(key, set()).add(plain)  # records hold lists as text
    return {name: [k for k, v in known.items() if len(v) > 1] for name, known in values.items()}


def _label(level: Named, telling: Mapping[str, list[str]]) -> str:
    name, parameters, tuned = level
    shown = [f"{key}={text_of(parameters[key])}" for key in telling.get(name, ()) if key in parameters]
    parts = [f"tuned {tuned}"] * bool(tuned) + [", ".join(shown)] * bool(shown)
    return f"{name} ({'; '.join(parts)})" if parts else name


def text_of(value: object) -> str:
    """Return the label of a value that is a level by itself, such as a batch size."""
    if isinstance(value, list | tuple):
        return "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def levels_of(records: pd.DataFrame, cells: pd.DataFrame, suite: SuiteInfo) -> dict[str, dict[str, Named]]:
    """Return what the labels of the tuned factors, of what claims name and of `data` stand for, in order."""
    axes = {axis for claim in suite.claims for axis in (claim.axis, *claim.where)} | {"data"}
    tuned = tuned_factors(cells)
    columns = {axis.partition(".")[0] for axis in axes}.intersection(cells.columns).difference(tuned)
    found = {}
    for column in [*tuned, *sorted(columns)]:
        declared = tuple(suite.endpoints) if column == "data" else suite.factors.get(column, ())
        known = named(records, column, declared)
        found[column] = {label: known[label] for label in levels(cells, column) if label in known}
    return found
