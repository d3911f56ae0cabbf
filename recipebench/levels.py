"""What a level is: a named choice with hyper-parameters, described without importing torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from recipebench.errors import RequestError, unknown

LARGEST = 2**63 - 1
"""The largest whole number that a hyper-parameter can be."""

Value = float | int | str | bool | tuple[float, ...]
Kind = type


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One hyper-parameter: its type, default, allowed values and meaning.

    Args:
        name: as in the YAML and in the records (`<factor>.<name>`).
        type: `float`, `int`, `str`, `bool`, or `tuple` for a list.
        default: the value that is filled in.
        summary: its meaning and unit, in one line.
        minimum: smallest allowed number.
        maximum: largest allowed number.
        exclusive: whether `minimum` and `maximum` themselves are refused.
        choices: the allowed strings; empty when any number of the range will do.
        structural: whether it changes the shape or the layers of the network.
        element: what a list holds: `int` for positive whole numbers, `float` for numbers of the range.
        later: whether it came after ids were first given: at its default it is left out of a cell's id,
            so that adding it renames no cell.
        decay: whether it is the decay rate of a running mean, which acts through 1 / (1 - x), so that its
            values are spread evenly over log (1 - x).
    """

    name: str
    type: type
    default: Value
    summary: str
    minimum: float = -math.inf
    maximum: float = math.inf
    exclusive: bool = False
    choices: tuple[str, ...] = ()
    structural: bool = False
    element: Kind = int
    later: bool = False
    decay: bool = False

    def check(self, value: object, owner: str) -> Value:
        """Return `value` in its canonical type, or raise `RequestError` naming what was expected."""
        where = f"{owner}: {self.name}"
        if self.type is tuple:
            return self._check_list(value, where)
        if type(value) is int and abs(value) > LARGEST:
            raise RequestError(f"{where}: expected {self._expected()}, got a whole number beyond {LARGEST}.")
        if self.type is float and type(value) is int:
            value = float(value)
        if type(value) is not self.type:
            raise RequestError(f"{where}: expected {self._expected()}, got {_show(value)}.")
        if self.choices and value not in self.choices:
            raise RequestError(f"{where}: {unknown('value', value, self.choices)}")
        if isinstance(value, int | float) and not isinstance(value, bool) and not self._within(value):
            raise RequestError(f"{where}: expected {self._expected()}, got {_show(value)}.")
        return value  # type: ignore[return-value]

    def _check_list(self, value: object, where: str) -> tuple[float, ...]:
        items: list[Any] = list(value) if isinstance(value, list | tuple) else [None]
        if self.element is float:
            items = [float(v) if type(v) is int and abs(v) <= LARGEST else v for v in items]
        if not (all(type(v) is self.element for v in items) and all(self._fits(v) for v in items)):
            raise RequestError(f"{where}: expected {self._expected()}, got {_show(value)}.")
        return tuple(items)

    def _fits(self, item: float) -> bool:
        return 0 < item <= LARGEST if self.element is int else self._within(item)

    def _within(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if self.exclusive:
            return self.minimum < value < self.maximum
        return self.minimum <= value <= self.maximum

    def _expected(self) -> str:
        names = {float: "a number", int: "a whole number", str: "a name", bool: "true or false"}
        lists = {int: "a list of positive whole numbers", float: "a list of numbers"}
        text = lists[self.element] if self.type is tuple else names[self.type]
        word = "between" if not self.exclusive else "strictly between"
        if self.type is tuple and self.element is int:
            return text
        if math.isfinite(self.minimum) and math.isfinite(self.maximum):
            return f"{text} {word} {self.minimum:g} and {self.maximum:g}"
        if math.isfinite(self.minimum):
            return f"{text} {'above' if self.exclusive else 'of at least'} {self.minimum:g}"
        return text


@dataclass(frozen=True, kw_only=True)
class Level:
    """One value of a factor, one data set or one model, as people read about it.

    Args:
        name: as in the YAML and in the records.
        summary: what it does, in one line.
        formula: in plain text, in the symbols of the source; empty where there is none.
        source: paper, book section or library that defines it.
        parameters: its hyper-parameters with their defaults.
        structural: whether choosing it changes the layers of the network.
        tasks: the tasks it can be used for.
    """

    name: str
    summary: str
    formula: str = ""
    source: str
    parameters: tuple[Parameter, ...] = ()
    structural: bool = False
    tasks: tuple[str, ...] = ("classification", "regression")

    def fill(self, given: Mapping[str, object], owner: str) -> dict[str, Value]:
        """Return all hyper-parameters in declared order, given values checked, defaults filled in."""
        known = {p.name: p for p in self.parameters}
        for key in given:
            if key not in known:
                if not known:
                    raise RequestError(f"{owner}: expected no hyper-parameters, got {_show(key)}.")
                raise RequestError(f"{owner}: {unknown('hyper-parameter', key, known)}")
        return {n: p.check(given[n], owner) if n in given else p.default for n, p in known.items()}

    def shortened(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the hyper-parameters without those that came later and have their default."""
        later = {p.name: p.default for p in self.parameters if p.later}
        return {name: value for name, value in values.items() if name not in later or value != later[name]}


@dataclass(frozen=True)
class Choice:
    """A level that was chosen, with all its hyper-parameters.

    Example:
        >>> Choice("maxout", {"pieces": 2})
        Choice(name='maxout', parameters={'pieces': 2})
    """

    name: str
    parameters: Mapping[str, Value]


@dataclass(frozen=True)
class Tuned(Choice):
    """A level of which some hyper-parameters are to be chosen by validation; `parameters` holds the others.

    Args:
        ranges: where the value of each such hyper-parameter is looked for.
    """

    ranges: Mapping[str, Any]

    @property
    def tuned(self) -> str:
        """The names of the hyper-parameters that are to be chosen, as records name them: `beta1, lr`."""
        return ", ".join(sorted(self.ranges))


class Catalog(Mapping[str, Level]):
    """The levels of one factor (or the data sets, or the models) by name, torch-free.

    Example:
        >>> colors = Catalog("color", [Level(name="red", summary="Red.", source="a test")])
        >>> colors.choose("red")
        Choice(name='red', parameters={})
        >>> colors.choose("rde")
        Traceback (most recent call last):
        recipebench.errors.RequestError: Unknown color 'rde'. Known: red. Did you mean 'red'?
    """

    def __init__(self, kind: str, levels: list[Level]) -> None:
        self.kind = kind
        self._levels: dict[str, Level] = {}
        for level in levels:
            self.add(level)

    def add(self, level: Level) -> None:
        """Add a level; a name that is taken is refused."""
        if level.name in self._levels:
            raise RequestError(f"{self.kind} {level.name!r} exists already; choose another name.")
        self._levels[level.name] = level

    def restore(self, levels: Mapping[str, Level]) -> None:
        """Have exactly the levels of another moment again, as when a plug-in is taken out."""
        self._levels = dict(levels)

    def choose(self, spec: object) -> Choice:
        """Turn what a person wrote, `name` or `{name: {hyper-parameter: value}}`, into a `Choice`.

        Raises:
            RequestError: the name, a hyper-parameter or a value is not known or of the wrong type.
        """
        if isinstance(spec, Choice):
            spec = {spec.name: dict(spec.parameters)}
        given: object = {}
        if isinstance(spec, str):
            name = spec
        elif isinstance(spec, Mapping) and len(spec) == 1:
            ((name, given),) = spec.items()
            given = {} if given is None else given
        else:
            raise RequestError(
                f"{self.kind}: expected a name or one name with its hyper-parameters, got {_show(spec)}."
            )
        if name not in self._levels:
            raise RequestError(unknown(self.kind, name, self._levels))
        if not isinstance(given, Mapping):
            raise RequestError(
                f"{self.kind} {name}: expected hyper-parameters as a mapping, got {_show(given)}."
            )
        return Choice(name, self._levels[name].fill(given, f"{self.kind} {name}"))

    def __repr__(self) -> str:
        return f"Catalog({self.kind!r})"

    def __getitem__(self, name: str) -> Level:
        return self._levels[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._levels)

    def __len__(self) -> int:
        return len(self._levels)


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
