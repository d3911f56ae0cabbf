"""Crosses a suite's levels into combinations: what is planned, what is left out and what is refused."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal, Protocol, TypeVar

from recipebench.benchmarks.suite_file import KeyPath
from recipebench.datamodules.catalog import DATA, facts_of, split_sizes
from recipebench.errors import RequestError
from recipebench.levels import Catalog, Choice, Value
from recipebench.lightning_modules.catalog import DEFAULTS, FACTORS, MODELS, WITHOUT_HIDDEN_LAYERS

CATALOGS: dict[str, Catalog] = {"data": DATA, "model": MODELS, **FACTORS}
"""Where the levels of each axis are described, in the order of the records' columns."""

SETTINGS = ("epochs", "batch_size", "inputs")
"""Parts of the protocol that can be factors."""

MAX_COMBINATIONS = 100_000
"""Combinations (cells but for seeds and devices) above which a suite is refused."""

Inputs = Literal["unit", "standardized"]
T = TypeVar("T")


class MisplacedError(ValueError):
    """What is wrong and the key path where it is wrong, before file and line are known."""

    def __init__(self, path: KeyPath, message: str) -> None:
        super().__init__(message)
        self.path = path


def at(path: KeyPath, action: Callable[[], T]) -> T:
    """Run an action and say where its `RequestError` belongs."""
    try:
        return action()
    except RequestError as error:
        raise MisplacedError(path, str(error)) from None


@dataclass(frozen=True)
class LevelSpec:
    """A level as a suite names it: with the hyper-parameters that are given, checked, and no others."""

    name: str
    given: Mapping[str, Value]

    def matches(self, choice: Choice | None) -> bool:
        """Whether a choice has this name and the given hyper-parameters, whatever its others are."""
        if choice is None or choice.name != self.name:
            return False
        return all(choice.parameters.get(key) == value for key, value in self.given.items())


@dataclass(frozen=True)
class Settings:
    """The protocol of one data set.

    Args:
        epochs: passes over the training data.
        batch_size: samples for each optimizer step; the last batch of an epoch may be smaller.
        validation: samples set aside for validation: a count, or a fraction of the training data.
        inputs: `unit` (as stored, images in [0, 1]) or `standardized` (mean 0, standard deviation 1).
    """

    epochs: int = 10
    batch_size: int = 128
    validation: int | float = 0.1
    inputs: Inputs = "unit"


@dataclass(frozen=True)
class Combination:
    """A recipe on a data set under a protocol: a cell but for device and seed.

    Args:
        data: the data set.
        model: the network.
        activation: what follows its hidden layers; None where it has none.
        initializer: how its weights start.
        regularizer: what keeps it from overfitting.
        optimizer: how its weights move.
        settings: the protocol.
    """

    data: Choice
    model: Choice
    activation: Choice | None
    initializer: Choice
    regularizer: Choice
    optimizer: Choice
    settings: Settings

    def level(self, factor: str) -> Choice | None:
        """Return the choice of one axis of `CATALOGS`."""
        choice: Choice | None = getattr(self, factor)
        return choice

    def key(self) -> tuple[object, ...]:
        """Return what tells this combination from others, hashable."""
        choices = [self.level(factor) for factor in CATALOGS]
        named = [c and (c.name, tuple(sorted(c.parameters.items()))) for c in choices]
        return (*named, self.settings)


Axes = Mapping[str, tuple[object, ...]]
"""The levels of each axis: `LevelSpec` for an axis of `CATALOGS`, values for all others."""


@dataclass(frozen=True)
class Block:
    """Axes that are crossed completely: the matrix, or one entry of `include`.

    Args:
        path: where the block stands in the suite.
        axes: all axes, those of the matrix that an entry leaves out among them.
        own: names of the axes that an entry of `include` gives itself; they win over the matrix.
        above: names of the axes that stand at the top of the suite.
    """

    path: KeyPath
    axes: Axes
    own: frozenset[str] = frozenset()
    above: frozenset[str] = frozenset()

    def place(self, axis: str) -> KeyPath:
        """Return the path at which an axis was given, or would have been."""
        return (axis,) if axis in self.above else (*self.path, axis)


class Plan(Protocol):
    """What crossing needs to know of a suite."""

    @property
    def exclude(self) -> tuple[Axes, ...]:
        """Rules: a combination that matches every key of one is dropped."""

    def blocks(self) -> list[Block]:
        """Return what is crossed."""

    def settings_for(self, data_name: str) -> Settings:
        """Return the protocol of a data set."""


def cross(plan: Plan) -> Iterator[Combination]:
    """Yield every planned combination once: the matrix in the order of its levels, then `include`.

    Dropped are duplicates, what `exclude` matches, and dropout or batch norm on a model without hidden
    layers where several models are crossed, or where an entry of `include` takes all regularizers.

    Raises:
        MisplacedError: a combination can never be trained.
    """
    seen = set()
    for block in plan.blocks():
        for combination in _combinations(block, plan.settings_for):
            key = combination.key()
            if key in seen or any(matches(rule, combination) for rule in plan.exclude):
                continue
            seen.add(key)
            if not _is_left_out(block, combination):
                _refuse_misfits(block, combination)
                yield combination


def check_plan(plan: Plan) -> None:
    """Cross a suite once and refuse what plans nothing: a rule that matches no cell, an empty block.

    Raises:
        MisplacedError: with the place and the reason.
    """
    blocks = plan.blocks()
    _refuse_too_many(blocks)
    unmatched = set(range(len(plan.exclude)))
    empty = []
    for block in blocks:
        hits = [(_rules_hit(plan.exclude, c), c) for c in _combinations(block, plan.settings_for)]
        unmatched.difference_update(*(hit for hit, _ in hits))
        empty += [block.path] if all(hit or _is_left_out(block, c) for hit, c in hits) else []
    for i in sorted(unmatched):
        raise MisplacedError(("exclude", i), _unmatched(plan, plan.exclude[i]))
    for path in empty:
        reason = "exclude drops them, or their regularizers need a hidden layer"
        raise MisplacedError(path, f"expected at least one cell, but none is left: {reason}.")
    for _ in cross(plan):
        pass


def _rules_hit(rules: tuple[Axes, ...], combination: Combination) -> set[int]:
    return {i for i, rule in enumerate(rules) if matches(rule, combination)}


def matches(rule: Axes, combination: Combination) -> bool:
    """Whether a combination has, for every key of a rule, one of the levels or values given."""
    return all(_has(combination, axis, wanted) for axis, wanted in rule.items())


def _has(combination: Combination, axis: str, wanted: tuple[object, ...]) -> bool:
    if axis in CATALOGS:
        choice = combination.level(axis)
        return any(spec.matches(choice) for spec in wanted if isinstance(spec, LevelSpec))
    if axis in SETTINGS:
        return getattr(combination.settings, axis) in wanted
    factor, _, name = axis.partition(".")
    choice = combination.level(factor)
    return choice is not None and name in choice.parameters and choice.parameters[name] in wanted


def _unmatched(plan: Plan, rule: Axes) -> str:
    """Say which key of a rule is to blame."""
    for axis, wanted in rule.items():
        planned = (c for block in plan.blocks() for c in _combinations(block, plan.settings_for))
        if not any(_has(c, axis, wanted) for c in planned):
            names = " or ".join(w.name if isinstance(w, LevelSpec) else repr(w) for w in wanted)
            return f"matches no planned cell: none has {axis} {names}."
    return "matches no planned cell: none has all of these together."


def _combinations(block: Block, settings_for: Callable[[str], Settings]) -> Iterator[Combination]:
    """Cross the axes of a block, without regard to `exclude`."""
    choices = {factor: _choices(block, factor) for factor in CATALOGS}
    given = {name: block.axes[name] for name in SETTINGS if name in block.axes}
    for data, model, *recipe in itertools.product(*choices.values()):
        activation, initializer, regularizer, optimizer = recipe
        fixed = vars(settings_for(data.name))
        for values in itertools.product(*given.values()):
            settings = Settings(**{**fixed, **dict(zip(given, values, strict=True))})
            shown = None if model.name in WITHOUT_HIDDEN_LAYERS else activation
            yield Combination(data, model, shown, initializer, regularizer, optimizer, settings)


def _choices(block: Block, factor: str) -> list[Choice]:
    """Return the levels of an axis with all values of the hyper-parameters that are crossed."""
    found: dict[tuple[object, ...], Choice] = {}
    specs = block.axes.get(factor) or (LevelSpec(DEFAULTS[factor], {}),)
    for spec in specs:
        assert isinstance(spec, LevelSpec)
        crossed = _crossed(block, factor, spec)
        for values in itertools.product(*crossed.values()):
            given = {**spec.given, **dict(zip(crossed, values, strict=True))}
            path = (*block.path, f"{factor}.{next(iter(crossed))}") if crossed else block.path
            choice = at(path, partial(CATALOGS[factor].choose, {spec.name: given}))
            found.setdefault((choice.name, *choice.parameters.items()), choice)
    return list(found.values())


def _crossed(block: Block, factor: str, spec: LevelSpec) -> dict[str, tuple[object, ...]]:
    """Return the hyper-parameters of a level that are axes of their own."""
    known = {parameter.name for parameter in CATALOGS[factor][spec.name].parameters}
    axes = {axis.partition(".")[2]: axis for axis in block.axes if axis.startswith(f"{factor}.")}
    crossed = {}
    for name, axis in axes.items():
        if name not in known or (name in spec.given and _outranks(block, factor, axis)):
            continue
        if name in spec.given and not _outranks(block, axis, factor):
            raise MisplacedError(
                (*block.path, axis),
                f"expected {name} in one place, but {factor} {spec.name} gives it too.",
            )
        crossed[name] = block.axes[axis]
    return crossed


def _outranks(block: Block, axis: str, other: str) -> bool:
    return axis in block.own and other not in block.own


def _refuse_too_many(blocks: list[Block]) -> None:
    """Count before crossing; refuse axes that change nothing on the way."""
    total = 0
    for block in blocks:
        for factor, axis in _dotted(block):
            if not block.own or axis in block.own:
                _refuse_idle(block, factor, axis)
        total += math.prod(len(values) for values in block.axes.values())
        if total > MAX_COMBINATIONS:
            raise MisplacedError(block.path, f"expected at most {MAX_COMBINATIONS:,} combinations, got more.")


def _dotted(block: Block) -> Iterator[tuple[str, str]]:
    """Yield the axes that are hyper-parameters, each with its factor."""
    for axis in block.axes:
        factor, dot, _ = axis.partition(".")
        if dot:
            yield factor, axis


def _refuse_idle(block: Block, factor: str, axis: str) -> None:
    """Refuse a hyper-parameter as a factor where no planned level has it."""
    specs = block.axes.get(factor) or (LevelSpec(DEFAULTS[factor], {}),)
    names = [spec.name for spec in specs if isinstance(spec, LevelSpec)]
    name = axis.partition(".")[2]
    if not any(p.name == name for level in names for p in CATALOGS[factor][level].parameters):
        raise MisplacedError((*block.path, axis), f"no planned {factor} has it: {', '.join(names)}.")


def _is_left_out(block: Block, combination: Combination) -> bool:
    """Whether a layer has no place in this model, and nobody asked for just this pair."""
    crossed = len(block.axes.get("model", ())) > 1 or (block.own and "regularizer" not in block.own)
    return bool(crossed) and _lacks_hidden_layers(combination)


def _lacks_hidden_layers(combination: Combination) -> bool:
    needs_them = FACTORS["regularizer"][combination.regularizer.name].structural
    return needs_them and combination.model.name in WITHOUT_HIDDEN_LAYERS


def _refuse_misfits(block: Block, combination: Combination) -> None:
    model, data, regularizer = combination.model, combination.data, combination.regularizer
    task = facts_of(data.name).task
    if task not in MODELS[model.name].tasks:
        fits = " and ".join(MODELS[model.name].tasks)
        raise MisplacedError(
            block.place("model"),
            f"model {model.name} is for {fits}, but data {data.name} is {task}; "
            f"exclude {{model: {model.name}, data: {data.name}}}.",
        )
    if _lacks_hidden_layers(combination):
        raise MisplacedError(
            block.place("regularizer"),
            f"regularizer {regularizer.name} needs a hidden layer, and model {model.name} has none.",
        )
    if regularizer.name in combination.optimizer.parameters:
        raise MisplacedError(
            block.place("regularizer"),
            f"optimizer {combination.optimizer.name} has its own {regularizer.name}; "
            f"exclude {{regularizer: {regularizer.name}, optimizer: {combination.optimizer.name}}}.",
        )
    _refuse_sizes(block, combination)


def _refuse_sizes(block: Block, combination: Combination) -> None:
    settings, data = combination.settings, combination.data
    key = (data.name, tuple(data.parameters.items()), settings.validation)
    train = at(("protocol", "validation"), partial(_training_samples, *key))
    last = train % settings.batch_size
    if combination.regularizer.name == "batch_norm" and 1 in (last, settings.batch_size):
        raise MisplacedError(
            block.place("regularizer"),
            f"batch_norm cannot train on one sample, but {train:,} training samples of {data.name} in "
            f"batches of {settings.batch_size} leave a batch of 1; choose another batch_size or validation.",
        )


@lru_cache(maxsize=1024)
def _training_samples(name: str, parameters: tuple[tuple[str, Value], ...], validation: int | float) -> int:
    return split_sizes(Choice(name, dict(parameters)), validation).train
