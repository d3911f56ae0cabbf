"""Sweeps of Weights & Biases that drive cells: the file that describes one, and what its agent runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.combinations import CATALOGS, SETTINGS
from recipebench.errors import RequestError, unknown
from recipebench.levels import Choice

METHODS = ("grid", "random", "bayes")

_HEAD = """\
# A sweep of Weights & Biases over the cells of the suite {suite}. Start it, then as many agents as you like:
#   wandb sweep {file}
#   wandb agent SWEEP_ID
# A hyper-parameter can be added as <factor>.<name>, also with a distribution, for example
#   optimizer.lr: {{distribution: log_uniform_values, min: 1.0e-4, max: 1.0e-1}}
"""


def level_text(choice: Choice, axis: str) -> str:
    """Write a level with the hyper-parameters that are not its defaults.

    Example:
        >>> level_text(CATALOGS["optimizer"].choose({"sgd": {"lr": 0.5}}), "optimizer")
        'sgd(lr=0.5)'
    """
    given = CATALOGS[axis][choice.name].shortened(choice.parameters)
    default = CATALOGS[axis].choose(choice.name).parameters
    own = {name: value for name, value in given.items() if default.get(name) != value}
    return f"{choice.name}({', '.join(f'{k}={v}' for k, v in own.items())})" if own else choice.name


def _levels(cell: Cell) -> dict[str, Any]:
    """Return what tells a cell from the others of its suite: levels as texts, seed, device, protocol."""
    choices = {axis: getattr(cell, axis) for axis in CATALOGS}
    named = {axis: level_text(choice, axis) for axis, choice in choices.items() if choice}
    settings = {name: getattr(cell, name) for name in (*SETTINGS, "device", "seed")}
    return {**named, **{name: value for name, value in settings.items() if value is not None}}


def sweep_file(
    cells: Sequence[Cell],
    *,
    suite: str,
    source: str,
    endpoint: str,
    lower: bool,
    method: str,
    file: str,
    store: str,
) -> str:
    """Return the YAML of a sweep over everything in which the cells of a suite differ.

    Args:
        cells: the planned cells.
        suite: the suite's name, which becomes the sweep's.
        source: the suite as the command takes it.
        endpoint: the column that is optimized.
        lower: whether less of it is better.
        method: how the sweep chooses, one of `METHODS`.
        file: the name of the file, for its head.
        store: the store of the agents.

    Raises:
        RequestError: there is no such method.
    """
    if method not in METHODS:
        raise RequestError(f"--method: {unknown('method', method, METHODS)}")
    command = ["${env}", "${interpreter}", "-m", "recipebench", "agent", source]
    described = {
        "name": suite,
        "method": method,
        "metric": {"name": endpoint, "goal": "minimize" if lower else "maximize"},
        "parameters": {name: {"values": values} for name, values in _axes(cells).items()},
        "program": "recipebench",
        "command": [*command, "--store", store, "--choose", "${args_json}"],
    }
    return _HEAD.format(suite=suite, file=file) + yaml.safe_dump(described, sort_keys=False)


def _axes(cells: Sequence[Cell]) -> dict[str, list[Any]]:
    """Return what cells differ in; an axis that follows from another, as a loss from the data, is none."""
    rows = [_levels(cell) for cell in cells]
    names = list(dict.fromkeys(name for row in rows for name in row))
    found = {name: list(dict.fromkeys(row[name] for row in rows if name in row)) for name in names}
    kept: list[str] = []
    for name in names:
        if len(found[name]) > 1 and not any(_follows(rows, name, other) for other in kept):
            kept.append(name)
    return {name: found[name] for name in kept or ["seed"]}


def _follows(rows: Sequence[Mapping[str, Any]], name: str, other: str) -> bool:
    """Whether one axis has a single value for each value of another."""
    pairs = {(row.get(other), row.get(name)) for row in rows}
    return len(pairs) == len({value for value, _ in pairs})


def chosen_cell(cells: Sequence[Cell], choice: str) -> Cell | None:
    """Return the cell that a sweep has chosen; None where the suite excludes the combination.

    Args:
        cells: the planned cells.
        choice: JSON of names and values, as the sweep's file has them; `<factor>.<hyper-parameter>` changes
            a level of the cell.

    Raises:
        RequestError: a name or value is not known, or several cells fit.
    """
    wanted = _parsed(choice)
    changes = {name: value for name, value in wanted.items() if "." in name}
    named = {name: value for name, value in wanted.items() if name not in changes}
    levels = [_levels(cell) for cell in cells]
    for name, value in named.items():
        known = {str(level[name]) for level in levels if name in level}
        if str(value) not in known:
            raise RequestError(f"--choose: {name}: {unknown('value', value, known or {name})}")
    fitting = [
        cell
        for cell, level in zip(cells, levels, strict=True)
        if all(str(level.get(name)) == str(value) for name, value in named.items())
    ]
    if len(fitting) > 1:
        raise RequestError(f"--choose: expected one cell, got {len(fitting)}; choose more, such as the seed.")
    return _changed(fitting[0], changes) if fitting else None


def _parsed(choice: str) -> Mapping[str, Any]:
    try:
        wanted = json.loads(choice)
    except ValueError as error:
        raise RequestError(f"--choose: expected JSON, got {choice[:80]!r}: {error}.") from None
    if not isinstance(wanted, dict):
        raise RequestError(f"--choose: expected names and values, got {choice[:80]!r}.")
    return wanted


def _changed(cell: Cell, changes: Mapping[str, Any]) -> Cell:
    """Give levels of a cell other hyper-parameters."""
    for name, value in changes.items():
        axis, _, parameter = name.partition(".")
        level = getattr(cell, axis, None) if axis in CATALOGS else None
        if not isinstance(level, Choice):
            raise RequestError(f"--choose: {unknown('factor', axis, CATALOGS)}")
        changed = CATALOGS[axis].choose({level.name: {**level.parameters, parameter: value}})
        replaced: dict[str, Any] = {axis: changed}
        cell = dataclasses.replace(cell, **replaced)
    return cell
