"""Crosses a suite's levels into combinations: what is planned, what is left out and what is refused."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from recipebench.benchmarks.combinations import (
    CATALOGS,
    RECIPE,
    SETTINGS,
    Axes,
    Block,
    Combination,
    LevelSpec,
    MisplacedError,
    Settings,
    at,
    key_of,
    training_samples,
)
from recipebench.benchmarks.misfits import fits, left_out
from recipebench.benchmarks.ranges import Tune, check_design, choose, value_of
from recipebench.benchmarks.suite_file import KeyPath
from recipebench.datamodules.catalog import facts_of
from recipebench.levels import Choice
from recipebench.lightning_modules.catalog import DEFAULT_LOSS, DEFAULTS
from recipebench.lightning_modules.model_catalog import MODELS, responds_to

MAX_COMBINATIONS = 100_000
"""Combinations (cells but for seeds and devices) above which a suite is refused."""


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

    Dropped are duplicates, what `exclude` matches, and what `misfits.left_out` says: a level that has no
    place with this model or data set, where it does have one with another that is crossed with it.

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
            if combination.ranges:
                at(block.path, partial(check_design, combination.ranges))
            if all(fits(block, corner) for corner in combination.corners()):
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
        empty += [block.path] if all(hit or left_out(block, c.corners()[0]) for hit, c in hits) else []
    for i in sorted(unmatched):
        raise MisplacedError(("exclude", i), _unmatched(plan, plan.exclude[i]))
    for path in empty:
        reason = "exclude drops them, or their regularizers need a hidden layer"
        raise MisplacedError(path, f"expected at least one cell, but none is left: {reason}.")
    for _ in cross(plan):
        pass


def ranges_of(block: Block) -> Iterator[tuple[KeyPath, str, tuple[str, ...], Tune]]:
    """Yield every range of a block: its place, whose it is, with what it is tuned together, itself."""
    for axis, values in block.axes.items():
        for i, value in enumerate(values):
            if isinstance(value, Tune):
                yield (*block.place(axis), i), axis, (axis,), value
            elif isinstance(value, LevelSpec):
                tuned = {name: given for name, given in value.given.items() if isinstance(given, Tune)}
                for name, tune in tuned.items():
                    owner = f"{axis} {value.name}: {name}"
                    yield (*block.place(axis), i, value.name, name), owner, tuple(sorted(tuned)), tune


def check_fair(blocks: list[Block]) -> None:
    """Refuse unequal efforts, and several spaces of one level.

    Raises:
        MisplacedError: at the range that differs from the first one.
    """
    found = [entry for block in blocks for entry in ranges_of(block)]
    _, first, _, usual = found[0]
    spaces: dict[tuple[str, tuple[str, ...]], Tune] = {}
    for path, owner, together, tune in found:
        if tune.effort != usual.effort:
            raise MisplacedError(
                path,
                f"expected as many trials, searched alike, as for {first} ({_effort(usual)}), got "
                f"{_effort(tune)}: whoever may try more looks better.",
            )
        if spaces.setdefault((owner, together), tune) != tune:
            raise MisplacedError(path, f"expected one range of {owner} for the whole suite, got two.")


def _effort(tune: Tune) -> str:
    trials, method, rounds = tune.effort
    return f"{trials} by {method}" + (f" in {rounds} rounds" if rounds > 1 else "")


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
    value = choice and value_of(choice, name)
    return value is not None and value in wanted


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
        fitted = _fitted(block, data, model, dict(zip(RECIPE, recipe, strict=True)))
        fixed = vars(settings_for(data.name))
        for values in itertools.product(*given.values()):
            settings = Settings(**{**fixed, **dict(zip(given, values, strict=True))})
            yield Combination(data, model, **fitted, settings=_resolved(settings, data))


def _fitted(block: Block, data: Choice, model: Choice, recipe: dict[str, Choice]) -> dict[str, Any]:
    """Return a recipe as this model takes it: None for what it does not respond to, its task's loss."""
    fitted: dict[str, Choice | None] = {
        factor: choice if responds_to(MODELS[model.name], factor) else None
        for factor, choice in recipe.items()
    }
    if "loss" not in block.axes and fitted["loss"]:
        usual = DEFAULT_LOSS.get(facts_of(data.name).task)
        fitted["loss"] = RECIPE["loss"].choose(usual) if usual else None
    return fitted


def _resolved(settings: Settings, data: Choice) -> Settings:
    """Write `full` as the number of training samples."""
    if settings.batch_size != "full":
        return settings
    return replace(settings, batch_size=training_samples(data, settings))


def _choices(block: Block, factor: str) -> list[Choice]:
    """Return the levels of an axis with all values of the hyper-parameters that are crossed."""
    found: dict[tuple[object, ...], Choice] = {}
    specs = block.axes.get(factor) or (_default(factor),)
    for spec in specs:
        assert isinstance(spec, LevelSpec)
        crossed = _crossed(block, factor, spec)
        for values in itertools.product(*crossed.values()):
            given: dict[str, Any] = {**spec.given, **dict(zip(crossed, values, strict=True))}
            path = (*block.path, f"{factor}.{next(iter(crossed))}") if crossed else block.path
            choice = at(path, partial(choose, CATALOGS[factor], spec.name, given))
            found.setdefault(key_of(choice), choice)
    return list(found.values())


def _default(factor: str) -> LevelSpec:
    """Return the level of a factor that a suite leaves out; which loss it is depends on the task."""
    return LevelSpec(DEFAULTS.get(factor) or DEFAULT_LOSS["classification"], {})


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
    specs = block.axes.get(factor) or (_default(factor),)
    names = [spec.name for spec in specs if isinstance(spec, LevelSpec)]
    name = axis.partition(".")[2]
    if not any(p.name == name for level in names for p in CATALOGS[factor][level].parameters):
        raise MisplacedError((*block.path, axis), f"no planned {factor} has it: {', '.join(names)}.")
