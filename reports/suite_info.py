"""What a report must know of a suite beyond its records: endpoints, levels, protocol, searches, targets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from recipebench.errors import RequestError, unknown
from recipebench.levels import Choice

_DIRECTIONS = ("higher", "lower")
SCALES = ("linear", "log", "one_minus_log")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The one number by which the cells of a data set are read.

    Args:
        column: its column in the records, for example `test_accuracy_at_best`.
        direction: `higher` or `lower`: which of two values is better.
        chance: the score of a diverged cell, in the column's unit: 1/classes for an accuracy; for the
            mean squared error 1.0, the variance of standardized targets.

    Raises:
        RequestError: the direction is not known.

    Example:
        >>> Endpoint(column="test_accuracy_at_best", direction="higher", chance=0.1).measure
        'accuracy'
    """

    column: str
    direction: str
    chance: float

    def __post_init__(self) -> None:
        if self.direction not in _DIRECTIONS:
            raise RequestError(unknown("direction", self.direction, _DIRECTIONS))

    @property
    def measure(self) -> str:
        """The column without its split and its moment: `accuracy`, `mse`, `r2` or `loss`."""
        return self.column.removesuffix("_at_best").partition("_")[2] or self.column


@dataclass(frozen=True, kw_only=True)
class Range:
    """Where the value of a hyper-parameter is looked for.

    Args:
        low: smallest value.
        high: largest value.
        scale: on which the values are spread: `linear`, `log`, or `one_minus_log` for log (1 - x).

    Raises:
        RequestError: the range is empty, or the scale is not known.
    """

    low: float
    high: float
    scale: str

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise RequestError(unknown("scale", self.scale, SCALES))
        if not self.low < self.high:
            raise RequestError(f"range: expected low below high, got {self.low} and {self.high}.")


@dataclass(frozen=True, kw_only=True)
class Space:
    """What is searched for a level: the same on all data sets.

    Args:
        factor: whose level it is.
        level: its name.
        tuned: the names of its tuned hyper-parameters as in the records: `lr`, or `beta1, lr`.
        ranges: one for each of these names.

    Raises:
        RequestError: the ranges are not those of the names.
    """

    factor: str
    level: str
    tuned: str
    ranges: Mapping[str, Range]

    def __post_init__(self) -> None:
        if not self.ranges or sorted(names_of(self.tuned)) != sorted(self.ranges):
            raise RequestError(
                f"space of {self.level}: expected ranges of {self.tuned!r}, got {', '.join(self.ranges)}."
            )


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How the searches of a suite go: alike for all that is compared.

    Args:
        trials: number of trials of every search.
        seeds: on which every trial is trained; no reported cell uses one of them.
        method: how the values are made, for example `log_grid`.
        rounds: how often the ranges are narrowed and searched again; the trials are those of all rounds.
        criterion: for each data set, the validation metric by which a trial is chosen.
        spaces: what is searched.

    Raises:
        RequestError: there are no trials, seeds or rounds, or a criterion is not of the validation data.

    Example:
        >>> by_test = Endpoint(column="test_accuracy", direction="higher", chance=0.1)
        >>> Tuning(trials=4, seeds=(9,), method="log_grid", criterion={"digits": by_test}, spaces=())
        Traceback (most recent call last):
        recipebench.errors.RequestError: tuning: expected a metric of the validation data for digits, got ...
    """

    trials: int
    seeds: tuple[int, ...]
    method: str
    rounds: int = 1
    criterion: Mapping[str, Endpoint]
    spaces: tuple[Space, ...]

    def __post_init__(self) -> None:
        for name, count in (("trials", self.trials), ("seeds", len(self.seeds)), ("rounds", self.rounds)):
            if count < 1:
                raise RequestError(f"tuning: expected at least 1 of {name}, got {count}.")
        _check_validation("tuning", self.criterion)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What a run has to reach on each data set, declared before the run: numbers, or a rule.

    Args:
        values: the targets that are declared as numbers, by data set.
        share: the rule for the other data sets: chance + share (best - chance), where best is the best
            mean over the reporting seeds of any recipe's validation score; None where there is no rule.
        criterion: for each data set, the validation metric; the history's column has no `_at_best`.

    Raises:
        RequestError: the share is not above 0 and at most 1, a target is no finite number or has no
            criterion, or a criterion is not of the validation data.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    share: float | None = None
    criterion: Mapping[str, Endpoint]

    def __post_init__(self) -> None:
        if self.share is not None and not 0 < self.share <= 1:
            raise RequestError(f"targets: expected a share above 0 and at most 1, got {self.share}.")
        for name, value in self.values.items():
            if name not in self.criterion:
                raise RequestError(f"targets: {unknown('data set', name, self.criterion)}")
            if not math.isfinite(value):
                raise RequestError(f"targets: expected a finite number for {name}, got {value}.")
        _check_validation("targets", self.criterion)


def names_of(tuned: str) -> list[str]:
    """Return the hyper-parameters that a text such as `beta1, lr` names.

    Example:
        >>> names_of("beta1, lr"), names_of("")
        (['beta1', 'lr'], [])
    """
    return [name.strip() for name in tuned.split(",") if name.strip()]


def _check_validation(what: str, criterion: Mapping[str, Endpoint]) -> None:
    """Refuse a metric of the test data: they choose nothing."""
    for name, goal in criterion.items():
        if not goal.column.startswith("validation_"):
            raise RequestError(
                f"{what}: expected a metric of the validation data for {name}, got {goal.column!r}; "
                "test data choose nothing."
            )


@dataclass(frozen=True, kw_only=True)
class SuiteInfo:
    """A suite as its report tells it.

    Args:
        name: of the suite.
        description: in one or two sentences; may be empty.
        endpoints: for each data set, in the order in which the report shows them.
        factors: the levels of each factor in declared order, with their hyper-parameters.
        seeds: the seeds that were planned; of a suite that tunes, those of the reported cells.
        planned: number of cells that were planned, trials of searches among them.
        protocol: epochs, batch size, validation and the like, in words.
        own_levels: sentences on the levels of plug-ins, as `own_levels.sentences` returns them.
        rates_tuned: whether the learning rates of all optimizers were tuned; of a suite with `tuning` the
            records tell which were.
        rates_default: whether, untuned, they are the ones that the catalog gives each optimizer.
        smallest_effect: the smallest difference that matters, per data set, in the endpoint's unit.
        data: facts about each data set (source, license, SHA-256 …) as they are to be printed.
        command: what a person types to repeat the run.
        tuning: how its searches go; None for a suite that tunes nothing.
        targets: what has to be reached; None where nothing is declared.

    Raises:
        RequestError: `planned` is negative, or there is no data set.
    """

    name: str
    description: str
    endpoints: Mapping[str, Endpoint]
    factors: Mapping[str, tuple[Choice, ...]]
    seeds: tuple[int, ...]
    planned: int
    protocol: str
    rates_tuned: bool = False
    rates_default: bool = True
    smallest_effect: Mapping[str, float] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    command: str = ""
    tuning: Tuning | None = None
    targets: Targets | None = None
    own_levels: tuple[str, ...] = ()

    @property
    def rates(self) -> str:
        """The learning rates in words, where they were not tuned."""
        return "default rates" if self.rates_default else "untuned rates"

    def __post_init__(self) -> None:
        if self.planned < 0:
            raise RequestError(f"planned: expected a number of cells of at least 0, got {self.planned}.")
        if not self.endpoints:
            raise RequestError("endpoints: expected one for each data set, got none.")
