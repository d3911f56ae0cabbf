"""What is trained: cells, their expansion from a suite, and the id that names each for good."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from recipebench.benchmarks.combinations import (
    CATALOGS,
    RECIPE,
    WITHOUT_SAMPLES,
    Combination,
    Inputs,
    LastBatch,
    Precision,
    Sampling,
    sources_of,
    training_samples,
)
from recipebench.benchmarks.crossing import cross
from recipebench.datamodules.catalog import data_sha256, facts_of
from recipebench.errors import RequestError
from recipebench.levels import Choice, Value
from recipebench.lightning_modules.catalog import DEFAULT_LOSS, DEFAULTS
from recipebench.lightning_modules.model_catalog import MODELS, responds_to
from recipebench.plugins import ON_CHANGE, Plugin, loaded, origin

if TYPE_CHECKING:
    from recipebench.benchmarks.suite import Suite

_SETTINGS_COLUMNS = ("batch_size", "epochs", "validation", "inputs")
_LATER_COLUMNS = ("label_noise", "last_batch", "sampling")

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
        activation: what follows its hidden layers; this and the next are None where the model does not
            respond to them.
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
        loss: what is minimized.
        schedule: how the learning rate changes.
        augmentation: what is done to training images.
        train_samples: samples that are trained on at most; None for all.
        label_noise: share of the training labels that are replaced.
        last_batch: what becomes of an epoch's last, shorter batch.
        sampling: whether an epoch sees each sample once or draws with replacement.
        precision: the numbers that are computed with.
        probes: what is measured of the layers after every epoch.
        plugins: the SHA-256 of every plug-in that one of its levels came from; filled in.
    """

    data: Choice
    model: Choice
    activation: Choice | None
    initializer: Choice | None
    regularizer: Choice | None
    optimizer: Choice | None
    epochs: int
    batch_size: int
    validation: int | float
    inputs: Inputs
    device: str
    seed: int
    data_sha256: str
    semantics: int = SEMANTICS
    loss: Choice | None = None
    schedule: Choice | None = None
    augmentation: Choice | None = None
    train_samples: int | None = None
    label_noise: float = 0.0
    last_batch: LastBatch = "keep"
    sampling: Sampling = "shuffled"
    precision: Precision = "32-true"
    probes: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for factor, level in _usual(self.model.name, self.task).items():
            if getattr(self, factor) is None:
                object.__setattr__(self, factor, level)
        hashes = tuple(sorted({plugin.sha256 for plugin in self.origins.values()}))
        if self.plugins and self.plugins != hashes:
            raise RequestError(_other_plugins(self.plugins))
        object.__setattr__(self, "plugins", hashes)

    @property
    def origins(self) -> dict[str, Plugin]:
        """The plug-ins that levels came from, by `<axis> <level>`; empty where there are none."""
        choices = {axis: getattr(self, axis) for axis in CATALOGS}
        levels = [(axis, choice.name) for axis, choice in choices.items() if choice]
        levels += [("data", source.name) for source in self.sources]
        found = {f"{axis} {name}": origin(axis, name) for axis, name in levels}
        return {level: plugin for level, plugin in found.items() if plugin}

    @cached_property
    def id(self) -> str:
        """The first 16 hex digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(_compact(self.to_json()).encode()).hexdigest()[:16]

    @property
    def task(self) -> str:
        """What is learned: `classification` or `regression`."""
        return facts_of(self.data.name).task

    @property
    def sources(self) -> tuple[Choice, ...]:
        """The data sets that are read: the cell's own, and the one that transfer learning starts from."""
        return sources_of(self.data, self.model)

    def to_json(self) -> dict[str, Any]:
        """Return the cell in plain JSON types: levels as {name, parameters}.

        What came after ids were first given stands there only where it is not what it was before.
        """
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        unchanged = _LATER | _usual(self.model.name, self.task)
        return {
            name: _choice_to_json(name, value) if name in CATALOGS else _number(value)
            for name, value in plain.items()
            if name not in unchanged or value != unchanged[name]
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cell:
        """Return the cell that `to_json` wrote.

        Raises:
            RequestError: keys are missing or unknown, or a level is none.
        """
        names = {field.name for field in fields(cls)}
        if not names.difference(LATER_AXES, _LATER) <= set(value) <= names:
            raise RequestError(
                f"cell: expected the keys {', '.join(sorted(names))}, got {sorted(value)!r:.500}."
            )
        _check_plugins(value.get("plugins", ()))
        given: dict[str, Any] = {
            name: _choice_from_json(name, v) if name in CATALOGS else v for name, v in value.items()
        }
        for name in {"probes", "plugins"}.intersection(given):
            given[name] = tuple(given[name])
        return cls(**given)

    def columns(self) -> dict[str, Any]:
        """Return the record's descriptive columns: levels by name, hyper-parameters as `<factor>.<name>`.

        A list becomes text (`model.hidden` is "128-64"); the activation of a model without hidden layers
        is None. `plugins` is there only where a level came from one, and says which; `precision` where it is
        not what it was before there was a choice.
        """
        choices = {factor: getattr(self, factor) for factor in CATALOGS}
        names = {factor: choice and choice.name for factor, choice in choices.items()}
        details = {
            f"{factor}.{name}": _cell_text(value)
            for factor, choice in choices.items()
            if choice
            for name, value in choice.parameters.items()
        }
        origins = [f"{level}: {p.name}, SHA-256 {p.sha256}" for level, p in self.origins.items()]
        first, later = ({n: getattr(self, n) for n in group} for group in (_SETTINGS_COLUMNS, _LATER_COLUMNS))
        return {
            **names,
            **details,
            **first,
            "train_samples": None if self.task in WITHOUT_SAMPLES else training_samples(self.data, self),
            **later,
            "device": self.device,
            "seed": self.seed,
            **({"precision": self.precision} if self.precision != _LATER["precision"] else {}),
            **({"plugins": "; ".join(origins)} if origins else {}),
        }


_LATER: dict[str, Any] = {
    "train_samples": None,
    "label_noise": 0.0,
    "last_batch": "keep",
    "sampling": "shuffled",
    "precision": "32-true",
    "probes": (),
    "plugins": (),
}
"""Settings that came after ids were first given, with what was meant before."""

LATER_AXES = ("loss", "schedule", "augmentation")
"""Factors that came after ids were first given."""


@cache
def _usual(model: str, task: str) -> dict[str, Choice]:
    """Return what was meant by a recipe before it named the later factors, where the model has them."""
    names = {"loss": DEFAULT_LOSS.get(task), **{axis: DEFAULTS.get(axis) for axis in LATER_AXES[1:]}}
    return {
        axis: RECIPE[axis].choose(name)
        for axis, name in names.items()
        if name and responds_to(MODELS[model], axis)
    }


ON_CHANGE.append(_usual.cache_clear)


def _check_plugins(hashes: Any) -> None:
    """Refuse a cell whose plug-ins are not in use, before its levels are looked up."""
    if not {plugin.sha256 for plugin in loaded()}.issuperset(hashes):
        raise RequestError(_other_plugins(hashes))


def _other_plugins(hashes: Any) -> str:
    names = ", ".join(f"{plugin.name} {plugin.sha256}" for plugin in loaded()) or "none"
    return (
        f"cell: expected the plug-in that it was made with, SHA-256 {', '.join(hashes)}, got {names}; give "
        "the file of that time as --plugin FILE."
    )


def cell_id(cell: Cell) -> str:
    """Return a cell's id, 16 hex digits."""
    return cell.id


def expand(suite: Suite) -> Iterator[Cell]:
    """Yield the cells of recipes without ranges, in the suite's order, then devices, seeds innermost.

    What a suite plans beyond them depends on what searches find; see `agenda`.

    Args:
        suite: a validated suite.

    Raises:
        RequestError: the data set's content is not known.

    Example:
        >>> from recipebench.benchmarks.suite import load_suite
        >>> sum(1 for _ in expand(load_suite("core")))
        3000
    """
    for combination in cross(suite):
        if not combination.ranges:
            for device in suite.device:
                yield from cells_of(combination, device, suite.seeds)


def cells_of(combination: Combination, device: str, seeds: Iterable[int]) -> Iterator[Cell]:
    """Yield the cells of a recipe without ranges on one device, one a seed.

    Raises:
        RequestError: the data set's content is not known.
    """
    choices: dict[str, Any] = {factor: combination.level(factor) for factor in CATALOGS}
    content = _content(combination.data.name, tuple(combination.data.parameters.items()))
    settings = vars(combination.settings)
    for seed in seeds:
        yield Cell(**choices, **settings, device=device, seed=seed, data_sha256=content)


@lru_cache(maxsize=1024)
def _content(name: str, parameters: tuple[tuple[str, Value], ...]) -> str:
    return data_sha256(Choice(name, dict(parameters)))


def canonical_json(value: object) -> str:
    """Write JSON that is equal for equal values: sorted keys, no spaces, ASCII, 0.0 for -0.0.

    Example:
        >>> canonical_json({"lr": 1e-3, "a": [1, -0.0]})
        '{"a":[1,0.0],"lr":0.001}'
    """
    return _compact(_number(value))


def _compact(value: object) -> str:
    """Write canonical JSON of what has no -0.0, as `Cell.to_json` has none."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _number(value: object) -> object:
    """Write -0.0 as 0.0, everywhere inside a value."""
    if isinstance(value, Mapping):
        return {key: _number(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_number(item) for item in value]
    return value + 0.0 if isinstance(value, float) else value


def _choice_to_json(axis: str, choice: Choice | None) -> dict[str, Any] | None:
    if choice is None:
        return None
    parameters = CATALOGS[axis][choice.name].shortened(choice.parameters)
    return {"name": choice.name, "parameters": _number(parameters)}


def _choice_from_json(axis: str, value: Any) -> Choice | None:
    if value is None and axis in RECIPE:
        return None
    if not isinstance(value, Mapping) or set(value) != {"name", "parameters"}:
        raise RequestError(f"cell: {axis}: expected name and parameters, got {value!r:.80}.")
    return CATALOGS[axis].choose({value["name"]: value["parameters"]})


def _cell_text(value: Value) -> Value:
    return "-".join(map(str, value)) if isinstance(value, tuple) else value
