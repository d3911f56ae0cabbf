"""Checks the values of a suite's keys and turns them into levels, axes, seeds and devices."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal, get_args

from recipebench.benchmarks import ranges, search
from recipebench.benchmarks.combinations import (
    CATALOGS,
    PROBES,
    SETTINGS,
    Axes,
    Inputs,
    LastBatch,
    LevelSpec,
    MisplacedError,
    Precision,
    Sampling,
    at,
)
from recipebench.benchmarks.ranges import Tune
from recipebench.benchmarks.records import ALL_METRICS, SPLITS
from recipebench.benchmarks.suite_file import KeyPath, show
from recipebench.datamodules.catalog import DATA
from recipebench.errors import RequestError, unknown
from recipebench.levels import Catalog, Choice, Parameter, Value
from recipebench.lightning_modules.model_catalog import MODELS

MAX_EPOCHS = 100_000
MAX_BATCH_SIZE = 1_000_000
MAX_SEEDS = 10_000
MAX_RULES = 1_000
MAX_SEED = 2**32 - 1
FIRST_TUNING_SEED = 1_000_000
"""The first of the seeds that a count of tuning seeds means, far from those that suites report on."""

SHARE = "share"
"""The key of the rule that sets a target where none is declared."""

MAX_NAME = 200
"""Characters of the name of a claim."""

MAX_DEPTH_OF_MODEL = 1_000
MAX_WIDTH = 100_000

ENDPOINTS = tuple(
    f"{split}_{metric}{when}" for split in SPLITS for metric in ALL_METRICS for when in ("", "_at_best")
)
"""The columns of the records that can be the endpoint."""


def _whole(value: object, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"expected a whole number from {low} to {high:,}, got {show(value)}.")
    return value


def check_epochs(value: object) -> int:
    """Check a number of passes over the data."""
    return _whole(value, 1, MAX_EPOCHS)


def check_batch_size(value: object) -> int | Literal["full"]:
    """Check a number of samples for each step, or `full`."""
    if value == "full":
        return "full"
    if type(value) is not int or not 1 <= value <= MAX_BATCH_SIZE:
        wanted = f"a whole number from 1 to {MAX_BATCH_SIZE:,}, or full"
        raise ValueError(f"expected {wanted}, got {show(value)}.")
    return value


def check_inputs(value: object) -> Inputs:
    """Check how inputs are scaled."""
    found: Inputs = _one_of("inputs", value, get_args(Inputs))
    return found


def check_last_batch(value: object) -> LastBatch:
    """Check what becomes of an epoch's last, shorter batch."""
    found: LastBatch = _one_of("last_batch", value, get_args(LastBatch))
    return found


def check_sampling(value: object) -> Sampling:
    """Check how an epoch draws its samples."""
    found: Sampling = _one_of("sampling", value, get_args(Sampling))
    return found


def check_precision(value: object) -> Precision:
    """Check what numbers are computed with."""
    found: Precision = _one_of("precision", value, get_args(Precision))
    return found


def _one_of(what: str, value: object, known: tuple[str, ...]) -> Any:
    if value not in known:
        raise ValueError(unknown(what, value, known))
    return value


def check_train_samples(value: object) -> int | None:
    """Check how many samples are trained on: a count, or `all`, which is None."""
    if value == "all":
        return None
    if type(value) is not int or value < 1:
        raise ValueError(f"expected a count of at least 1, or all, got {show(value)}.")
    return value


def check_label_noise(value: object) -> float:
    """Check the share of training labels that are replaced."""
    if type(value) not in (int, float) or not 0 <= value < 1:  # type: ignore[operator]
        raise ValueError(f"expected a share of at least 0 and below 1, got {show(value)}.")
    return float(value) + 0.0  # type: ignore[arg-type]


def check_probes(value: object) -> tuple[str, ...]:
    """Check what is measured of the layers: a list of names, in the order of `PROBES`."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"expected a list of {', '.join(PROBES)}, got {show(value)}.")
    for name in value:
        if name not in PROBES:
            raise ValueError(unknown("probe", name, PROBES))
    return tuple(name for name in PROBES if name in value)


def check_validation_size(value: object) -> int | float:
    """Check how many samples are set aside; whether they fit the data is known later."""
    if type(value) is int and value >= 1:
        return value
    if isinstance(value, float) and 0 < value < 1:
        return value
    wanted = "a count of at least 1 or a fraction strictly between 0 and 1"
    raise ValueError(f"expected {wanted}, got {show(value)}.")


def check_name(value: object) -> str:
    """Check the name of a suite: it becomes a folder, so it holds no path."""
    if not isinstance(value, str) or not re.fullmatch("[a-z0-9][a-z0-9_-]{0,63}", value):
        rule = "1 to 64 of a-z, 0-9, _ and -, a letter or digit first"
        raise ValueError(f"expected {rule}, got {show(value)}.")
    return value


def check_description(value: object) -> str:
    """Check a text for people."""
    if not isinstance(value, str) or len(value) > 10_000:
        raise ValueError(f"expected text of at most 10,000 characters, got {show(value)}.")
    return value


def level_spec(catalog: Catalog, value: object, path: KeyPath = ()) -> LevelSpec:
    """Check a level as people write it, and keep apart what is given from what is filled in.

    Args:
        catalog: where the level should be.
        value: `name` or `{name: {hyper-parameter: value}}`.
        path: where it stands below its field, for the message.

    Raises:
        MisplacedError: the level, a hyper-parameter or a value is unknown or of the wrong type.

    Example:
        >>> level_spec(CATALOGS["optimizer"], {"sgd": {"lr": 1}})
        LevelSpec(name='sgd', given={'lr': 1.0})
    """
    if value is None:
        raise MisplacedError(
            path, f"expected a {catalog.kind}, got nothing (null); known: {', '.join(catalog)}."
        )
    if not _has_parameters(value):
        return LevelSpec(at(path, lambda: catalog.choose(value)).name, {})
    assert isinstance(value, Mapping)
    ((name, raw),) = value.items()
    at(path, lambda: catalog.choose(name))
    given: dict[str, Value | Tune] = {}
    for key in raw:
        place = (*path, name, key)
        if isinstance(raw[key], Mapping):
            given[key] = at(place, partial(_range, catalog, name, key, raw[key]))
        else:
            choice = at(place, partial(catalog.choose, {name: {key: raw[key]}}))
            given[key] = _checked(place, catalog, key, choice.parameters[key])
    return LevelSpec(name, given)


def _range(catalog: Catalog, level: str, key: str, value: object) -> Tune:
    """Check a hyper-parameter that is to be chosen; what data are is not."""
    owner = f"{catalog.kind} {level}"
    known = {parameter.name: parameter for parameter in catalog[level].parameters}
    if key not in known:
        catalog.choose({level: {key: None}})  # refuses it
    if catalog in (DATA, MODELS):
        raise RequestError(f"{owner}: {key}: expected a value: only factors of a recipe are tuned.")
    return ranges.parse(known[key], value, owner)


def _has_parameters(value: object) -> bool:
    if not isinstance(value, Mapping) or len(value) != 1:
        return False
    return all(isinstance(given, Mapping) for given in value.values())


def _checked(path: KeyPath, catalog: Catalog, name: str, value: Value) -> Value:
    """Refuse networks of absurd size, and write -0.0 as 0.0."""
    if catalog is MODELS and isinstance(value, tuple):
        if not 1 <= len(value) <= MAX_DEPTH_OF_MODEL or max(value) > MAX_WIDTH:
            limits = f"1 to {MAX_DEPTH_OF_MODEL:,} widths of at most {MAX_WIDTH:,} units"
            raise MisplacedError(path, f"{name}: expected {limits}, got {show(list(value))}.")
        return value
    return value + 0.0 if isinstance(value, float) else value


def _hyper_parameter(axis: str, value: object, path: KeyPath) -> Value | Tune:
    """Check a value of `<factor>.<hyper-parameter>` against the first level that has it."""
    factor, _, name = axis.partition(".")
    level, _ = owner_of(factor, name)
    try:
        return level_spec(CATALOGS[factor], {level: {name: value}}).given[name]
    except MisplacedError as error:
        raise MisplacedError(path, str(error)) from None


def owner_of(factor: str, name: str) -> tuple[str, Parameter]:
    """Return the first level of an axis that has a hyper-parameter."""
    found = [(level.name, p) for level in CATALOGS[factor].values() for p in level.parameters]
    for level, parameter in found:
        if parameter.name == name:
            return level, parameter
    raise RequestError(unknown(f"hyper-parameter of {factor}", name, {p.name for _, p in found}))


_SETTING_CHECKS: dict[str, Callable[[object], object]] = {
    "epochs": check_epochs,
    "batch_size": check_batch_size,
    "inputs": check_inputs,
    "train_samples": check_train_samples,
    "label_noise": check_label_noise,
    "last_batch": check_last_batch,
    "sampling": check_sampling,
    "precision": check_precision,
}


def axis_value(axis: str, value: object, path: KeyPath) -> object:
    """Check one level or value of an axis."""
    if axis in CATALOGS:
        return level_spec(CATALOGS[axis], value, path)
    if axis in SETTINGS:
        try:
            return _SETTING_CHECKS[axis](value)
        except ValueError as error:
            raise MisplacedError(path, str(error)) from None
    return _hyper_parameter(axis, value, path)


def known_axis(axis: str, path: KeyPath, *, but: Iterable[str] = ()) -> str:
    """Refuse an axis that does not exist; `but` names those that have no place here."""
    factor, dot, name = axis.partition(".")
    if dot and factor in CATALOGS:
        at(path, lambda: owner_of(factor, name))
        return axis
    known = [known for known in (*CATALOGS, *SETTINGS) if known not in but]
    if axis not in known:
        raise MisplacedError(path, unknown("factor", axis, known) + _hint(axis))
    return axis


def _hint(axis: str) -> str:
    if axis in CATALOGS:
        return f" The key {axis} stands outside of the matrix."
    return "" if "." in axis else " A hyper-parameter is written <factor>.<hyper-parameter>."


def _distinct(values: list[object], path: KeyPath) -> tuple[object, ...]:
    seen = set()
    for i, value in enumerate(values):
        if repr(value) in seen:
            raise MisplacedError((*path, i), f"expected each level once, got {_written(value)} again.")
        seen.add(repr(value))
    return tuple(values)


def _written(value: object) -> str:
    """Write a level or a value as the file would have it."""
    if isinstance(value, Choice):
        return show({value.name: dict(value.parameters)} if value.parameters else value.name)
    return show(list(value)) if isinstance(value, tuple) else show(value)


def _filled(catalog: Catalog, spec: object) -> object:
    """Return a level with all its hyper-parameters, to see whether two are the same."""
    return ranges.choose(catalog, spec.name, spec.given) if isinstance(spec, LevelSpec) else spec


def _many(axis: str, value: object, path: KeyPath = ()) -> tuple[object, ...]:
    """Check a list of levels or values: none of them twice, at least one; or a rule that gives values."""
    if isinstance(value, Mapping) and axis not in CATALOGS and "tune" in value:
        value = [value]
    if isinstance(value, Mapping) and axis not in CATALOGS:
        value = list(at(path, partial(search.values, value)))
    if not isinstance(value, list):
        raise MisplacedError(path, f"expected a list, got {show(value)}; write [...] even for one.")
    if not value:
        raise MisplacedError(path, "expected at least one, got an empty list.")
    parsed = [axis_value(axis, item, (*path, i)) for i, item in enumerate(value)]
    if axis in CATALOGS:
        _distinct([_filled(CATALOGS[axis], spec) for spec in parsed], path)
    return _distinct(parsed, path)


def _one_or_many(axis: str, value: object, path: KeyPath = ()) -> tuple[object, ...]:
    """Check one level or value, or a list of them."""
    if isinstance(value, list) and not (_takes_lists(axis) and not any(isinstance(v, list) for v in value)):
        return _many(axis, value, path)
    return (axis_value(axis, value, path),)


def _takes_lists(axis: str) -> bool:
    factor, dot, name = axis.partition(".")
    return bool(dot) and owner_of(factor, name)[1].type is tuple


def check_data(value: object) -> tuple[object, ...]:
    """Check one data set or a list of them."""
    return _one_or_many("data", value)


def check_model(value: object) -> tuple[object, ...]:
    """Check one model or a list of them."""
    return _one_or_many("model", value)


def mapping_of(value: object, path: KeyPath, what: str) -> Mapping[str, object]:
    """Check that a value is a mapping."""
    if not isinstance(value, Mapping):
        raise MisplacedError(path, f"expected a mapping of {what}, got {show(value)}.")
    return value


def check_matrix(value: object) -> dict[str, tuple[object, ...]]:
    """Check factors with their lists of levels."""
    factors = mapping_of({} if value is None else value, (), "factors to lists of levels")
    return {known_axis(a, (a,), but=["data"]): _many(a, levels, (a,)) for a, levels in factors.items()}


def check_rules(value: object) -> tuple[Axes, ...]:
    """Check the entries of `include` or `exclude`."""
    if not isinstance(value, list):
        raise MisplacedError((), f"expected a list of mappings of factors to levels, got {show(value)}.")
    if len(value) > MAX_RULES:
        raise MisplacedError((), f"expected at most {MAX_RULES:,} entries, got {len(value):,}.")
    return tuple(_rule(entry, (i,)) for i, entry in enumerate(value))


def _rule(entry: object, path: KeyPath) -> Axes:
    factors = mapping_of(entry, path, "factors to levels")
    if not factors:
        raise MisplacedError(path, "expected at least one key, got an empty mapping.")
    return {known_axis(a, (*path, a)): _one_or_many(a, v, (*path, a)) for a, v in factors.items()}


def check_seeds(value: object) -> tuple[int, ...]:
    """Return the seeds of a count N, 0 to N - 1, or of a list."""
    if not isinstance(value, list):
        if type(value) is int and 1 <= value <= MAX_SEEDS:
            return tuple(range(value))
        raise ValueError(f"expected a count from 1 to {MAX_SEEDS:,} or a list of seeds, got {show(value)}.")
    if not 1 <= len(value) <= MAX_SEEDS:
        raise ValueError(f"expected 1 to {MAX_SEEDS:,} seeds, got {len(value):,}.")
    for i, seed in enumerate(value):
        if type(seed) is not int or not 0 <= seed <= MAX_SEED:
            raise MisplacedError((i,), f"expected a seed from 0 to {MAX_SEED:,}, got {show(seed)}.")
    _distinct(value, ())
    return tuple(value)


def check_tuning_seeds(value: object) -> tuple[int, ...]:
    """Return the seeds of a count N, which no suite reports on unless it lists them, or of a list."""
    if isinstance(value, list):
        return check_seeds(value)
    return tuple(FIRST_TUNING_SEED + seed for seed in check_seeds(value))


def check_time_to_target(value: object) -> dict[str, float]:
    """Check targets by data set, and `share`, the rule for the others."""
    targets = mapping_of(value, (), "data sets, or share, to numbers")
    return {name: _target(name, target) for name, target in targets.items()}


def _target(name: str, value: object) -> float:
    if name != SHARE:
        check_data_name(name, (name,))
    if type(value) not in (int, float) or not abs(value) < float("inf"):  # type: ignore[arg-type]
        raise MisplacedError((name,), f"expected a number, got {show(value)}.")
    if name == SHARE and not 0 < value < 1:  # type: ignore[operator]
        raise MisplacedError((name,), f"expected a share strictly between 0 and 1, got {show(value)}.")
    return float(value)  # type: ignore[arg-type]


def check_devices(value: object) -> tuple[str, ...]:
    """Check one device or a list of them."""
    if isinstance(value, list):
        if not value:
            raise MisplacedError((), "expected at least one device, got an empty list.")
        devices: list[object] = [_device(item, (i,)) for i, item in enumerate(value)]
        return tuple(str(device) for device in _distinct(devices, ()))
    return (_device(value, ()),)


def _device(value: object, path: KeyPath) -> str:
    found = re.fullmatch(r"(cpu|gpu)(?::([1-9][0-9]{0,3}))?", value) if isinstance(value, str) else None
    if not found:
        raise MisplacedError(
            path, f"expected cpu, gpu, cpu:N or gpu:N with N from 1 to 9999, got {show(value)}."
        )
    return found[1] if found[2] in (None, "1") else found[0]


def check_endpoint(value: object) -> str:
    """Check the column that recipes are judged by."""
    if value not in ENDPOINTS:
        raise ValueError(unknown("endpoint", value, ENDPOINTS))
    return str(value)


def check_smallest_effect(value: object) -> dict[str, float]:
    """Check the smallest effects by data set."""
    effects = mapping_of(value, (), "data sets to numbers")
    return {check_data_name(name, (name,)): _effect(effect, (name,)) for name, effect in effects.items()}


def _effect(value: object, path: KeyPath) -> float:
    if type(value) not in (int, float) or not 0 <= value < float("inf"):  # type: ignore[operator]
        raise MisplacedError(path, f"expected a number of at least 0, got {show(value)}.")
    return float(value) + 0.0  # type: ignore[arg-type]


def check_reference(value: object) -> dict[str, float]:
    """Check the scores from which smallest effects are improvements, by data set."""
    scores = mapping_of(value, (), "data sets to numbers")
    return {check_data_name(name, (name,)): _effect(score, (name,)) for name, score in scores.items()}


def check_name_of_claim(value: object) -> str:
    """Check how a claim is told."""
    if not isinstance(value, str) or not 1 <= len(value.strip()) <= MAX_NAME or "\n" in value:
        raise ValueError(f"expected one line of 1 to {MAX_NAME} characters, got {show(value)}.")
    return value.strip()


def check_data_name(value: str, path: KeyPath) -> str:
    """Check that a data set is known."""
    if value not in DATA:
        raise MisplacedError(path, unknown("data", value, DATA))
    return value
