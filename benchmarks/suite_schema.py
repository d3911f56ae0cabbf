"""Describes a suite's keys as JSON schema, for editors: one function a key, plug-in levels included."""

from __future__ import annotations

import math
from typing import Any, get_args

from recipebench.benchmarks import search
from recipebench.benchmarks.combinations import (
    CATALOGS,
    PROBES,
    SETTINGS,
    Inputs,
    LastBatch,
    Precision,
    Sampling,
)
from recipebench.benchmarks.ranges import MAX_TRIALS, METHODS
from recipebench.benchmarks.suite_checks import (
    ENDPOINTS,
    MAX_BATCH_SIZE,
    MAX_EPOCHS,
    MAX_NAME,
    MAX_SEED,
    MAX_SEEDS,
    MAX_WIDTH,
    SHARE,
    owner_of,
)
from recipebench.benchmarks.suite_claims import MAX_CLAIMS
from recipebench.datamodules.catalog import DATA
from recipebench.levels import Level, Parameter
from recipebench.reports.suite_info import KINDS, OF, SCOPES


def name() -> dict[str, Any]:
    """Describe `name`."""
    return {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$"}


def description() -> dict[str, Any]:
    """Describe `description`."""
    return {"type": "string", "maxLength": 10_000}


def data() -> dict[str, Any]:
    """Describe `data`."""
    return _flexible(_axis("data"))


def model() -> dict[str, Any]:
    """Describe `model`."""
    return _flexible(_axis("model"))


def matrix() -> dict[str, Any]:
    """Describe `matrix`."""
    factors = _object({axis: _values(axis) for axis in _axes() if axis != "data"})
    return {"anyOf": [factors, {"type": "null"}]}


def rules() -> dict[str, Any]:
    """Describe `include` and `exclude`."""
    entry = _object({axis: _flexible(_axis(axis)) for axis in _axes()}, minProperties=1)
    return {"type": "array", "items": entry}


def seeds() -> dict[str, Any]:
    """Describe `seeds`."""
    seed = {"type": "integer", "minimum": 0, "maximum": MAX_SEED}
    return {"anyOf": [_count(MAX_SEEDS), _list(seed)]}


def device() -> dict[str, Any]:
    """Describe `device`."""
    return _flexible({"type": "string", "pattern": "^(cpu|gpu)(:[1-9][0-9]{0,3})?$"})


def epochs() -> dict[str, Any]:
    """Describe `epochs`."""
    return _count(MAX_EPOCHS)


def batch_size() -> dict[str, Any]:
    """Describe `batch_size`."""
    return {"anyOf": [_count(MAX_BATCH_SIZE), {"const": "full"}]}


def train_samples() -> dict[str, Any]:
    """Describe `train_samples`."""
    return {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "all"}]}


def label_noise() -> dict[str, Any]:
    """Describe `label_noise`."""
    return {"type": "number", "minimum": 0, "exclusiveMaximum": 1}


def last_batch() -> dict[str, Any]:
    """Describe `last_batch`."""
    return {"enum": list(get_args(LastBatch))}


def sampling() -> dict[str, Any]:
    """Describe `sampling`."""
    return {"enum": list(get_args(Sampling))}


def precision() -> dict[str, Any]:
    """Describe `precision`."""
    return {"enum": list(get_args(Precision))}


def probes() -> dict[str, Any]:
    """Describe `probes`."""
    return _list({"enum": list(PROBES)})


def validation() -> dict[str, Any]:
    """Describe `validation`."""
    fraction = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    return {"anyOf": [{"type": "integer", "minimum": 1}, fraction]}


def inputs() -> dict[str, Any]:
    """Describe `inputs`."""
    return {"enum": list(get_args(Inputs))}


def endpoint() -> dict[str, Any]:
    """Describe `endpoint`."""
    return {"enum": list(ENDPOINTS)}


def smallest_effect() -> dict[str, Any]:
    """Describe `smallest_effect`."""
    return _object({name: {"type": "number", "minimum": 0} for name in DATA})


def reference() -> dict[str, Any]:
    """Describe `reference`."""
    return smallest_effect()


def claims() -> dict[str, Any]:
    """Describe `claims`; their levels are those of the matrix, and are not listed again."""
    where = {"type": "object", "propertyNames": {"enum": [axis for axis in _axes() if axis != "data"]}}
    side = where | {"minProperties": 1, "maxProperties": 1}
    keys = {
        "better": side,
        "than": side,
        "where": where,
        "data": data(),
        "kind": {"enum": list(KINDS)},
        "scope": {"enum": list(SCOPES)},
        "of": {"enum": list(OF)},
        "name": {"type": "string", "minLength": 1, "maxLength": MAX_NAME},
    }
    claim = _object(keys, required=["better", "than"])
    return {"type": "array", "items": claim, "maxItems": MAX_CLAIMS}


def time_to_target() -> dict[str, Any]:
    """Describe `time_to_target`."""
    share = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    return _object({SHARE: share, **{name: {"type": "number"} for name in DATA}})


def _axes() -> list[str]:
    """Return every axis there is."""
    dotted = {
        f"{factor}.{parameter.name}": None
        for factor, catalog in CATALOGS.items()
        for level in catalog.values()
        for parameter in level.parameters
    }
    return [*CATALOGS, *dotted, *SETTINGS]


_SETTINGS = {
    "epochs": epochs,
    "batch_size": batch_size,
    "inputs": inputs,
    "train_samples": train_samples,
    "label_noise": label_noise,
    "last_batch": last_batch,
    "sampling": sampling,
    "precision": precision,
}


def _values(axis: str) -> dict[str, Any]:
    """Describe the levels or values of an axis of the matrix: a list, or a rule that gives values."""
    listed = _list(_axis(axis))
    if axis in CATALOGS:
        return listed
    rules = {name: {"type": "object"} for name in search.RULES}
    rule = _object({**rules, **_tune()["properties"]}, minProperties=1, maxProperties=1)
    return {"anyOf": [listed, rule]}


def _axis(axis: str) -> dict[str, Any]:
    """Describe one level or value of an axis."""
    if axis in CATALOGS:
        levels = {name: _level(level) for name, level in CATALOGS[axis].items()}
        return {"anyOf": [{"enum": list(levels)}, _object(levels, minProperties=1, maxProperties=1)]}
    if axis in SETTINGS:
        return _SETTINGS[axis]()
    factor, _, name = axis.partition(".")
    schema = _type(owner_of(factor, name)[1])
    return {key: schema[key] for key in schema if key in ("type", "items", "minItems", "enum")}


def _level(level: Level) -> dict[str, Any]:
    fields = _object({parameter.name: _parameter(parameter) for parameter in level.parameters})
    return {"anyOf": [fields, {"type": "null"}], "description": level.summary}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
    told = {"default": default, "description": parameter.summary}
    if parameter.type in (int, float):
        return {"anyOf": [{**_type(parameter), **_range(parameter)}, _tune()], **told}
    return {**_type(parameter), **_range(parameter), **told}


def _tune() -> dict[str, Any]:
    """Describe the range of a hyper-parameter that is to be chosen."""
    number = {"type": "number"}
    count = {"type": "integer", "minimum": 1}
    keys = {
        "low": number,
        "high": number,
        "trials": {"type": "integer", "minimum": 2, "maximum": MAX_TRIALS},
        "search": {"enum": list(METHODS)},
        "rounds": count,
        "scale": {"enum": ["linear", "log"]},
    }
    return _object({"tune": _object(keys, required=["low", "high", "trials"])}, required=["tune"])


def _type(parameter: Parameter) -> dict[str, Any]:
    if parameter.type is tuple:
        widths = {"type": "integer", "minimum": 1, "maximum": MAX_WIDTH}
        numbers = {"type": "number", **_range(parameter)}
        items = widths if parameter.element is int else numbers
        return {"type": "array", "items": items, "minItems": 1}
    names = {float: "number", int: "integer", str: "string", bool: "boolean"}
    choices = {"enum": list(parameter.choices)} if parameter.choices else {}
    return {"type": names[parameter.type], **choices}


def _range(parameter: Parameter) -> dict[str, Any]:
    low, high = ("exclusiveMinimum", "exclusiveMaximum") if parameter.exclusive else ("minimum", "maximum")
    limits = {low: parameter.minimum, high: parameter.maximum}
    return {key: limit for key, limit in limits.items() if math.isfinite(limit)}


def _object(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


def _count(high: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": high}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}


def _flexible(item: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [item, _list(item)]}
