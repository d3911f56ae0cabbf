"""What is trained: cells, their expansion from a suite, and the id that names each for good."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from recipebench.benchmarks.crossing import CATALOGS, Inputs, cross
from recipebench.benchmarks.suite import Suite
from recipebench.datamodules.catalog import data_sha256, facts_of
from recipebench.errors import RequestError
from recipebench.levels import Choice, Value

_RUN_COLUMNS = ("batch_size", "epochs", "validation", "inputs", "device", "seed")

SEMANTICS = 1
"""The version of what training means. It is part of every cell's id.

Raise it when the same cell would give other numbers than before: another split or batch order, another
initial draw, another place of dropout, another default that the catalogs do not show, another way to
compute a loss or a metric. Do not raise it for speed, packing, names of files or the report. Records of
other versions are then no longer taken for these cells.
"""


@dataclass(frozen=True)
class Cell:
    """One training run: everything that determines its result, and nothing else.

    Args:
        data: the data set, with all its parameters.
        model: the network.
        activation: what follows its hidden layers; None where it has none.
        initializer: how its weights start.
        regularizer: what keeps it from overfitting.
        optimizer: how its weights move.
        epochs: passes over the training data.
        batch_size: samples for each optimizer step.
        validation: samples set aside for validation: a count, or a fraction of the training data.
        inputs: `unit` or `standardized`.
        device: `cpu`, `gpu`, or either with the number of them, `gpu:2`.
        seed: names the split, the batch order, the initial draws and the noise.
        data_sha256: what the data set contains, as a hash.
        semantics: the version of what training means.
    """

    data: Choice
    model: Choice
    activation: Choice | None
    initializer: Choice
    regularizer: Choice
    optimizer: Choice
    epochs: int
    batch_size: int
    validation: int | float
    inputs: Inputs
    device: str
    seed: int
    data_sha256: str
    semantics: int = SEMANTICS

    @cached_property
    def id(self) -> str:
        """The first 16 hex digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(canonical_json(self.to_json()).encode()).hexdigest()[:16]

    @property
    def task(self) -> str:
        """What is learned: `classification` or `regression`."""
        return facts_of(self.data.name).task

    def to_json(self) -> dict[str, Any]:
        """Return the cell in plain JSON types: levels as {name, parameters}."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: _choice_to_json(v) if name in CATALOGS else _number(v) for name, v in plain.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cell:
        """Return the cell that `to_json` wrote.

        Raises:
            RequestError: keys are missing or unknown, or a level is none.
        """
        names = [field.name for field in fields(cls)]
        if set(value) != set(names):
            raise RequestError(
                f"cell: expected exactly the keys {', '.join(names)}, got {sorted(value)!r:.300}."
            )
        given: dict[str, Any] = {
            name: _choice_from_json(name, value[name]) if name in CATALOGS else value[name] for name in names
        }
        return cls(**given)

    def columns(self) -> dict[str, Any]:
        """Return the record's descriptive columns: levels by name, hyper-parameters as `<factor>.<name>`.

        A list becomes text (`model.hidden` is "128-64"); the activation of a model without hidden layers
        is None.
        """
        choices = {factor: getattr(self, factor) for factor in CATALOGS}
        names = {factor: choice and choice.name for factor, choice in choices.items()}
        details = {
            f"{factor}.{name}": _cell_text(value)
            for factor, choice in choices.items()
            if choice
            for name, value in choice.parameters.items()
        }
        rest = {name: getattr(self, name) for name in _RUN_COLUMNS}
        return {**names, **details, **rest}


def cell_id(cell: Cell) -> str:
    """Return a cell's id, 16 hex digits."""
    return cell.id


def expand(suite: Suite) -> Iterator[Cell]:
    """Yield every planned cell once: data and recipes in the suite's order, then devices, seeds innermost.

    Args:
        suite: a validated suite.

    Raises:
        RequestError: the data set's content is not known.

    Example:
        >>> from recipebench.benchmarks.suite import load_suite
        >>> sum(1 for _ in expand(load_suite("core")))
        3000
    """
    hashes: dict[str, str] = {}
    for combination in cross(suite):
        choices: dict[str, Any] = {factor: combination.level(factor) for factor in CATALOGS}
        content = canonical_json(_choice_to_json(combination.data))
        if content not in hashes:
            hashes[content] = data_sha256(combination.data)
        settings = vars(combination.settings)
        for device in suite.device:
            for seed in suite.seeds:
                yield Cell(**choices, **settings, device=device, seed=seed, data_sha256=hashes[content])


def canonical_json(value: object) -> str:
    """Write JSON that is equal for equal values: sorted keys, no spaces, ASCII, 0.0 for -0.0.

    Example:
        >>> canonical_json({"lr": 1e-3, "a": [1, -0.0]})
        '{"a":[1,0.0],"lr":0.001}'
    """
    return json.dumps(_number(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _number(value: object) -> object:
    """Write -0.0 as 0.0, everywhere inside a value."""
    if isinstance(value, Mapping):
        return {key: _number(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_number(item) for item in value]
    return value + 0.0 if isinstance(value, float) else value


def _choice_to_json(choice: Choice | None) -> dict[str, Any] | None:
    return None if choice is None else {"name": choice.name, "parameters": _number(dict(choice.parameters))}


def _choice_from_json(axis: str, value: Any) -> Choice | None:
    if value is None and axis == "activation":
        return None
    if not isinstance(value, Mapping) or set(value) != {"name", "parameters"}:
        raise RequestError(f"cell: {axis}: expected name and parameters, got {value!r:.80}.")
    return Choice(value["name"], {key: _tuple(item) for key, item in value["parameters"].items()})


def _tuple(value: Any) -> Value:
    return tuple(value) if isinstance(value, list) else value


def _cell_text(value: Value) -> Value:
    return "-".join(map(str, value)) if isinstance(value, tuple) else value
