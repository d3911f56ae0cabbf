"""The claims that a suite registers before its run: their form, and what of the plan each is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from recipebench.benchmarks.combinations import (
    CATALOGS,
    RECIPE,
    SETTINGS,
    WITHOUT_SAMPLES,
    Combination,
    LevelSpec,
    MisplacedError,
    at,
    key_of,
    training_samples,
)
from recipebench.benchmarks.crossing import Plan, cross
from recipebench.benchmarks.ranges import Tune
from recipebench.benchmarks.records import metric_of
from recipebench.benchmarks.suite_checks import (
    axis_value,
    check_data,
    check_name_of_claim,
    known_axis,
    level_spec,
    mapping_of,
)
from recipebench.benchmarks.suite_file import KeyPath, show
from recipebench.datamodules.catalog import facts_of
from recipebench.errors import unknown
from recipebench.levels import Catalog, Choice, Tuned, Value
from recipebench.reports.suite_info import KINDS, OF, RATIO_SCALES, SCOPES, RegisteredClaim

KEYS = ("better", "than", "where", "data", "kind", "scope", "of", "name")
"""The keys of a claim."""

TUNED = "tuned"
"""What stands in place of the value of a hyper-parameter that validation chooses."""

MAX_CLAIMS = 100
"""A family of more is refused: every claim widens the intervals of all."""


@dataclass(frozen=True)
class Pick:
    """A level as a claim names it.

    Args:
        name: of the level.
        given: the hyper-parameters that are named with a value; the others may be anything.
        tuned: the names of the hyper-parameters that are tuned, all of them; none of a default level.
    """

    name: str
    given: Mapping[str, Any]
    tuned: tuple[str, ...] = ()

    def matches(self, choice: Choice | None) -> bool:
        """Whether a planned level is the one that is named."""
        if choice is None or choice.name != self.name or _ranges(choice) != self.tuned:
            return False
        return all(choice.parameters.get(key) == value for key, value in self.given.items())

    def __str__(self) -> str:
        """Return the level as reports tell it.

        Example:
            >>> str(Pick("adam", {"beta1": 0.5}, ("lr",)))
            'adam (tuned lr; beta1=0.5)'
        """
        tuned = [f"tuned {', '.join(self.tuned)}"] if self.tuned else []
        values = [", ".join(f"{key}={_text(value)}" for key, value in self.given.items())] * bool(self.given)
        return f"{self.name} ({'; '.join([*tuned, *values])})" if tuned or values else self.name


@dataclass(frozen=True)
class ClaimSpec:
    """A claim as a suite writes it, its values checked.

    Args:
        axis: of both sides.
        better: what is claimed to be better.
        than: what it is compared with.
        where: the levels or values of other axes to which the comparison is confined.
        data: the data sets; empty for all on which both sides are planned.
        kind: of `KINDS`.
        scope: of `SCOPES`.
        of: of `OF`.
        name: as it is told; made up where it is empty.
    """

    axis: str
    better: Any
    than: Any
    where: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    data: tuple[LevelSpec, ...] = ()
    kind: str = "greater"
    scope: str = "these"
    of: str = "average"
    name: str = ""

    @property
    def title(self) -> str:
        """The name, or one made of the sides, what they are confined to, and the data."""
        if self.name:
            return self.name
        sign = {"greater": ">", "equivalent": "≈"}[self.kind]
        start = "best with " if self.of == "best" else ""
        first, second = (f"{start}{_side(self.axis, value)}" for value in (self.better, self.than))
        parts = [f"{axis} {' or '.join(map(_text, values))}" for axis, values in self.where.items()]
        data = f" on {' and '.join(spec.name for spec in self.data)}" if self.data else ""
        return f"{first} {sign} {second}{', where ' if parts else ''}{', '.join(parts)}{data}"


class Claiming(Plan, Protocol):
    """What resolving claims needs to know of a suite."""

    @property
    def claims(self) -> tuple[ClaimSpec, ...]:
        """The claims as they are written."""

    @property
    def smallest_effect(self) -> Mapping[str, float]:
        """The smallest difference that matters, by data set."""

    @property
    def reference(self) -> Mapping[str, float]:
        """The score from which it is an improvement, by data set."""

    def endpoint_for(self, data_name: str) -> str:
        """Return the endpoint on a data set."""


def check_claims(value: object) -> tuple[ClaimSpec, ...]:
    """Check the form of the claims; whether they are about what is planned is known later."""
    if not isinstance(value, list):
        raise MisplacedError((), f"expected a list of claims, got {show(value)}.")
    if len(value) > MAX_CLAIMS:
        raise MisplacedError((), f"expected at most {MAX_CLAIMS} claims, got {len(value):,}.")
    found = tuple(_claim(entry, (i,)) for i, entry in enumerate(value))
    names: dict[str, int] = {}
    for i, claim in enumerate(found):
        if names.setdefault(claim.title, i) != i:
            raise MisplacedError((i,), f"expected each claim once, got {claim.title!r:.200} again.")
    return found


def _claim(entry: object, path: KeyPath) -> ClaimSpec:
    given = mapping_of(entry, path, "better, than and what else a claim has")
    for key in given:
        if key not in KEYS:
            raise MisplacedError((*path, key), unknown("key", key, KEYS))
    for key in ("better", "than"):
        if key not in given:
            raise MisplacedError((*path, key), "expected this key, got nothing.")
    axis, better = _one_level(given["better"], (*path, "better"))
    other, than = _one_level(given["than"], (*path, "than"))
    if axis != other:
        raise MisplacedError((*path, "than"), f"expected a level of {axis} as in better, got one of {other}.")
    if better == than:
        raise MisplacedError(
            (*path, "than"), f"expected another level than in better, got {_text(than)} again."
        )
    where = mapping_of(given.get("where", {}), (*path, "where"), "factors to levels")
    claim = ClaimSpec(axis, better, than, _where(where, axis, (*path, "where")))
    words: dict[str, Any] = {key: _word(key, given[key], (*path, key)) for key in _WORDS if key in given}
    data = _data(given["data"], (*path, "data")) if "data" in given else ()
    name = _name(given["name"], (*path, "name")) if "name" in given else ""
    return replace(claim, data=data, name=name, **words)


_WORDS: dict[str, Iterable[str]] = {"kind": KINDS, "scope": SCOPES, "of": OF}


def _word(key: str, value: object, path: KeyPath) -> str:
    if value not in list(_WORDS[key]):
        raise MisplacedError(path, unknown(key, value, _WORDS[key]))
    return str(value)


def _name(value: object, path: KeyPath) -> str:
    try:
        return check_name_of_claim(value)
    except ValueError as error:
        raise MisplacedError(path, str(error)) from None


def _data(value: object, path: KeyPath) -> tuple[LevelSpec, ...]:
    try:
        found = check_data(value)
    except MisplacedError as error:
        raise MisplacedError((*path, *error.path), str(error)) from None
    return tuple(spec for spec in found if isinstance(spec, LevelSpec))


def _one_level(value: object, path: KeyPath) -> tuple[str, Any]:
    side = mapping_of(value, path, "one factor to one level")
    if len(side) != 1:
        raise MisplacedError(path, f"expected one factor with one level, got {show(dict(side))}.")
    ((axis, level),) = side.items()
    known_axis(axis, (*path, axis), but=["data"])
    return axis, _picked(axis, level, (*path, axis))


def _where(where: Mapping[str, object], compared: str, path: KeyPath) -> dict[str, tuple[Any, ...]]:
    found = {}
    for axis, value in where.items():
        known_axis(axis, (*path, axis), but=["data"])
        if axis == compared:
            raise MisplacedError((*path, axis), f"expected another factor than {axis}, which better names.")
        found[axis] = _picks(axis, value, (*path, axis))
    return found


def _picks(axis: str, value: object, path: KeyPath) -> tuple[Any, ...]:
    if not isinstance(value, list):
        return (_picked(axis, value, path),)
    if not value:
        raise MisplacedError(path, "expected at least one level, got an empty list.")
    return tuple(_picked(axis, item, (*path, i)) for i, item in enumerate(value))


def _picked(axis: str, value: object, path: KeyPath) -> Any:
    """Check one level or value; `tuned` stands for the value of a hyper-parameter that is chosen."""
    if axis not in CATALOGS:
        found = axis_value(axis, value, path)
        if isinstance(found, Tune):
            raise MisplacedError(path, f"expected a value, got a range; name a level with {{…: {TUNED}}}.")
        return found
    tuned: tuple[str, ...] = ()
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, given),) = value.items()
        if isinstance(given, Mapping):
            tuned = tuple(sorted(key for key in given if given[key] == TUNED))
            value = {name: {key: given[key] for key in given if key not in tuned}}
    spec = level_spec(CATALOGS[axis], value, path)
    if ranges := [key for key, item in spec.given.items() if isinstance(item, Tune)]:
        raise MisplacedError(
            (*path, spec.name, ranges[0]),
            f"expected a value, or {TUNED} for the one that validation chooses, got a range.",
        )
    for key in tuned:
        at((*path, spec.name, key), partial(_check_tuned, CATALOGS[axis], spec.name, key))
    return Pick(spec.name, spec.given, tuned)


def _check_tuned(catalog: Catalog, level: str, key: str) -> None:
    known = {parameter.name: parameter for parameter in catalog[level].parameters}
    if key not in known or known[key].type not in (int, float):
        catalog.choose({level: {key: TUNED}})  # refuses it


def resolve(suite: Claiming) -> tuple[RegisteredClaim, ...]:
    """Return the claims with the planned levels and data sets that each is about.

    Raises:
        MisplacedError: a claim names what is not planned, several planned levels at once, data sets of
            different endpoints or without a smallest effect, or recipes that are not tuned for `of: best`.
    """
    if not suite.claims:
        return ()
    planned = list(cross(suite))
    return tuple(_resolved(suite, claim, planned, ("claims", i)) for i, claim in enumerate(suite.claims))


def check_references(suite: Claiming, names: Sequence[str]) -> None:
    """Refuse a reference that no scale uses, or from which the smallest effect leaves the range of scores.

    Raises:
        MisplacedError: with the data set.
    """
    for name, value in suite.reference.items():
        path = ("reference", name)
        if name not in names:
            raise MisplacedError(path, unknown("data of this suite", name, names))
        measure = metric_of(suite.endpoint_for(name))
        if measure not in RATIO_SCALES:
            known = ", ".join(RATIO_SCALES)
            raise MisplacedError(path, f"expected data that are judged by {known}, got {measure}.")
        effect = suite.smallest_effect.get(name, 0.0)
        if measure == "accuracy" and not 0 < value < 1 - effect:
            raise MisplacedError(path, f"expected an accuracy between 0 and 1 - {effect:g}, got {value:g}.")
        if measure != "accuracy" and not value > effect:
            raise MisplacedError(
                path, f"expected a score above the smallest effect {effect:g}, got {value:g}."
            )


def _resolved(
    suite: Claiming, claim: ClaimSpec, planned: Sequence[Combination], path: KeyPath
) -> RegisteredClaim:
    for axis, values in claim.where.items():
        for value in values:
            _check_planned(axis, value, planned, (*path, "where", axis))
    here = [combination for combination in planned if _is_about(claim, combination)]
    if not here:
        raise MisplacedError(path, _nothing(claim, planned))
    sides = [_side_of(claim.axis, value, here, planned, (*path, key)) for key, value in _sides(claim)]
    pairs = _paired(claim, sides[0], sides[1], path)
    data = list({key_of(c.data): c.data for c in here if key_of(c.data) in pairs}.values())
    _check_data(suite, claim, data, path)
    scope = [c for c in here if key_of(c.data) in pairs]
    first, second = (_levels(claim.axis, [c for c in side if key_of(c.data) in pairs]) for side in sides)
    where = {axis: _levels(axis, scope) for axis in claim.where}
    for axis, values in claim.where.items():
        _check_value(axis, values, where[axis], [c for c in planned if key_of(c.data) in pairs], path)
    for (key, value), recorded in zip(_sides(claim), (first, second), strict=True):
        _check_value(claim.axis, (value,), recorded, scope, (*path, key))
    return RegisteredClaim(
        name=claim.title,
        axis=claim.axis,
        first=first,
        second=second,
        where=where,
        data=tuple(data),
        kind=claim.kind,
        scope=claim.scope,
        of=claim.of,
    )


def _sides(claim: ClaimSpec) -> list[tuple[str, Any]]:
    return [("better", claim.better), ("than", claim.than)]


def _is_about(claim: ClaimSpec, combination: Combination) -> bool:
    if claim.data and not any(spec.matches(combination.data) for spec in claim.data):
        return False
    return all(_has(combination, axis, values) for axis, values in claim.where.items())


def _nothing(claim: ClaimSpec, planned: Sequence[Combination]) -> str:
    """Say why a claim is about no cell: its data, or all of it together."""
    names = {c.data.name for c in planned}
    for spec in claim.data:
        if spec.name not in names:
            return unknown("data of this suite", spec.name, names)
    return "is about no planned cell: none has all of where and data together."


def _side_of(
    axis: str, value: Any, here: Sequence[Combination], planned: Sequence[Combination], path: KeyPath
) -> list[Combination]:
    """Return the combinations of one side; of a factor they must have one level."""
    found = [c for c in here if _has(c, axis, (value,))]
    if not found:
        _check_planned(axis, value, planned, (*path, axis))
        told = f"{axis} {_text(value)}"
        raise MisplacedError(path, f"expected planned cells, but none has {told} with all of where and data.")
    levels = _levels(axis, found)
    if axis in CATALOGS and len(levels) > 1:
        known = "; ".join(_planned_text(level) for level in levels)
        raise MisplacedError(
            (*path, axis),
            f"expected one planned level, but {_text(value)} is any of {known}: give the hyper-parameters.",
        )
    return found


def _check_planned(axis: str, value: Any, planned: Sequence[Combination], path: KeyPath) -> None:
    """Refuse a level or value that no cell has, with what is planned."""
    if any(_has(c, axis, (value,)) for c in planned):
        return
    levels = _levels(axis, planned)
    names = {level.name for level in levels if isinstance(level, Choice)}
    if isinstance(value, Pick) and value.name not in names:
        raise MisplacedError(path, unknown(f"{axis} of this suite", value.name, names))
    known = "; ".join(dict.fromkeys(map(_planned_text, levels)))
    raise MisplacedError(path, f"expected what is planned, {known}; got {_text(value)}.")


def _paired(
    claim: ClaimSpec, first: Sequence[Combination], second: Sequence[Combination], path: KeyPath
) -> set[tuple[object, ...]]:
    """Return the data sets where both sides are planned: tuned, or in pairs that differ in nothing else."""
    if claim.of == "best":
        for combination in (*first, *second):
            if not combination.ranges:
                raise MisplacedError((*path, "of"), _untuned(combination))
        return {key_of(c.data) for c in first} & {key_of(c.data) for c in second}
    rests = {_rest(claim.axis, c) for c in second}
    pairs = {key_of(c.data) for c in first if _rest(claim.axis, c) in rests}
    if not pairs:
        told = " and ".join(_side(claim.axis, value) for _, value in _sides(claim))
        raise MisplacedError(path, f"expected cells of {told} that differ in nothing else, got none.")
    return pairs


def _untuned(combination: Combination) -> str:
    levels = [choice.name for factor in RECIPE if (choice := combination.level(factor))]
    return (
        f"best chooses among recipes by their tuning seeds, but {' + '.join(levels)} is not tuned: give a "
        "range (`tune`), or name under where the tuned levels."
    )


def _check_data(suite: Claiming, claim: ClaimSpec, data: Sequence[Choice], path: KeyPath) -> None:
    """Refuse endpoints that do not mix, and data sets without a smallest effect."""
    if not data:
        raise MisplacedError(path, "expected a data set on which both sides are planned, got none.")
    names = list(dict.fromkeys(choice.name for choice in data))
    endpoints = {name: suite.endpoint_for(name) for name in names}
    if len({metric_of(endpoint) for endpoint in endpoints.values()}) > 1:
        told = ", ".join(f"{endpoint} on {name}" for name, endpoint in endpoints.items())
        raise MisplacedError(path, f"expected data of one endpoint, got {told}: give data.")
    for name in names:
        if name not in suite.smallest_effect:
            raise MisplacedError(path, f"expected a smallest effect for {name}, to judge the claim by.")
    effects = [suite.smallest_effect[name] for name in names]
    if any(effects) and not all(effects):
        raise MisplacedError(path, "expected smallest effects above 0 on all of its data, or 0 on all.")
    if claim.kind == "equivalent" and not all(effects):
        raise MisplacedError(path, "expected smallest effects above 0: nothing is equivalent within 0.")
    if any(effects) and len({name in suite.reference for name in names}) > 1:
        lacking = [name for name in names if name not in suite.reference]
        raise MisplacedError(
            path, f"expected a reference for all of its data or none, got none for {lacking[0]}."
        )


def _check_value(
    axis: str,
    written: tuple[Any, ...],
    recorded: tuple[Any, ...],
    combinations: Sequence[Combination],
    path: KeyPath,
) -> None:
    """Refuse a part of the protocol whose word means, on other data of the claim, another value."""
    if axis not in SETTINGS:
        return
    if any(_has(c, axis, written) != (_recorded(axis, c) in recorded) for c in combinations):
        raise MisplacedError(
            path, f"expected {axis} to mean one number on all of its data: name one data set."
        )


def _has(combination: Combination, axis: str, wanted: tuple[Any, ...]) -> bool:
    if axis in CATALOGS:
        return any(pick.matches(combination.level(axis)) for pick in wanted)
    if axis in SETTINGS:
        return any(_has_setting(combination, axis, value) for value in wanted)
    factor, _, name = axis.partition(".")
    choice = combination.level(factor)
    return choice is not None and name in choice.parameters and choice.parameters[name] in wanted


def _has_setting(combination: Combination, axis: str, value: object) -> bool:
    if value == "full":
        return combination.settings.batch_size == training_samples(combination.data, combination.settings)
    return bool(getattr(combination.settings, axis) == value)


def _recorded(axis: str, combination: Combination) -> Any:
    """Return a part of the protocol as the records hold it."""
    if axis != "train_samples":
        return getattr(combination.settings, axis)
    if facts_of(combination.data.name).task in WITHOUT_SAMPLES:
        return None
    return training_samples(combination.data, combination.settings)


def _levels(axis: str, combinations: Iterable[Combination]) -> tuple[Any, ...]:
    """Return the levels, or the recorded values, that combinations have on an axis, each once."""
    factor = axis.partition(".")[0]
    if factor in SETTINGS:
        return tuple(dict.fromkeys(_recorded(factor, c) for c in combinations))
    choices = (c.level(factor) for c in combinations)
    return tuple({key_of(choice): choice for choice in choices if choice}.values())


def _rest(axis: str, combination: Combination) -> tuple[object, ...]:
    """Return all that tells a combination from others but for one axis."""
    if axis in SETTINGS:
        return replace(combination, settings=replace(combination.settings, **{axis: _BLANK[axis]})).key()
    factor, _, name = axis.partition(".")
    own: tuple[object, ...] = ()
    if name and (choice := combination.level(factor)):
        fixed = {key: value for key, value in choice.parameters.items() if key != name}
        own = (choice.name, _ranges(choice), tuple(sorted(fixed.items())))
    return (replace(combination, **{factor: _NO_LEVEL}).key(), own)


_NO_LEVEL: Any = None
_BLANK: dict[str, Any] = dict.fromkeys(SETTINGS)


def _ranges(choice: Choice) -> tuple[str, ...]:
    return tuple(sorted(choice.ranges)) if isinstance(choice, Tuned) else ()


def _side(axis: str, value: Any) -> str:
    return str(value) if isinstance(value, Pick) else f"{axis} {_text(value)}"


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return "-".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else "all" if value is None else str(value)


def _planned_text(level: Choice | Value | None) -> str:
    if not isinstance(level, Choice):
        return _text(level)
    return str(Pick(level.name, dict(level.parameters), _ranges(level)))
