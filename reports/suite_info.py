"""What a report must know of a suite beyond its records: endpoints, levels, protocol, searches, claims."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from recipebench.errors import RequestError, unknown
from recipebench.levels import Choice, Value
from recipebench.reports.language import N_, gettext

_DIRECTIONS = ("higher", "lower")
SCALES = ("linear", "log", "one_minus_log")

RATIO_SCALES = {"accuracy": "log_error", "loss": "log_loss", "mse": "log_loss"}
"""The scale, by measure, on which a difference is a ratio."""

MEAN_SCALES = {
    "accuracy": "logit",
    "average_precision": "logit",
    "loss": "log",
    "mse": "log",
    "distance": "log",
}
"""The scale, by measure, on which the interval of a mean is made; `raw` for all others."""


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

    @property
    def mean_scale(self) -> str:
        """The scale on which the interval of a mean is made, of `statistics.SCALES`."""
        return MEAN_SCALES.get(self.measure, "raw")

    def scale(self, *, referred: bool) -> str:
        """Return the scale on which two levels are compared.

        Args:
            referred: whether there is a score from which the smallest effect is an improvement.

        Example:
            >>> goal = Endpoint(column="test_accuracy", direction="higher", chance=0.1)
            >>> goal.scale(referred=True), goal.scale(referred=False)
            ('log_error', 'raw')
        """
        known = RATIO_SCALES.get(self.measure) if referred else None
        return known or ("raw" if self.direction == "higher" else "lower")


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


KINDS = {"greater": N_("difference > smallest effect"), "equivalent": N_("|difference| < smallest effect")}
"""What a claim says."""

SCOPES = {
    "these": N_("on these data sets (seeds random)"),
    "new": N_("on new data sets (data sets random)"),
}
"""What a claim is about."""

OF = {
    "average": N_("averaged over all other factors"),
    "best": N_("the best tuned recipe within each level"),
}
"""What of its levels a claim compares."""


@dataclass(frozen=True, kw_only=True)
class RegisteredClaim:
    """A claim that a suite made before its run: `first` is better than `second`, or equivalent to it.

    Args:
        name: as it is told; distinct in the suite.
        axis: whose levels are compared: a factor, `<factor>.<hyper-parameter>`, or a part of the protocol.
        first: the planned levels of the first side: one of a factor; all levels with the value where the
            axis is a hyper-parameter; values as records hold them where it is a part of the protocol.
        second: likewise; cells of the two sides that differ in nothing else are compared.
        where: for other axes, the levels or values to which the comparison is confined.
        data: the data sets that it is about.
        kind: of `KINDS`.
        scope: of `SCOPES`.
        of: of `OF`.

    Raises:
        RequestError: a side or the data are empty, or `kind`, `scope` or `of` is not known.
    """

    name: str
    axis: str
    first: tuple[Choice | Value, ...]
    second: tuple[Choice | Value, ...]
    where: Mapping[str, tuple[Choice | Value, ...]] = field(default_factory=dict)
    data: tuple[Choice, ...]
    kind: str = "greater"
    scope: str = "these"
    of: str = "average"

    def __post_init__(self) -> None:
        if not (self.first and self.second and self.data):
            raise RequestError(
                f"claim {self.name}: expected two sides and data, got nothing for one of them."
            )
        for key, known in (("kind", KINDS), ("scope", SCOPES), ("of", OF)):
            if getattr(self, key) not in known:
                raise RequestError(f"claim {self.name}: {unknown(key, getattr(self, key), known)}")

    @property
    def factor(self) -> str:
        """The column of the records whose levels are compared."""
        return self.axis.partition(".")[0]


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
        reference: the score, per data set, from which it is an improvement; where there is one, accuracies
            are compared by their error rates and losses by their ratios (`scale`).
        items: the number of test samples of a data set.
        claims: the family of claims that the suite registered before its run.
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
    reference: Mapping[str, float] = field(default_factory=dict)
    items: Mapping[str, int] = field(default_factory=dict)
    claims: tuple[RegisteredClaim, ...] = ()
    data: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    command: str = ""
    tuning: Tuning | None = None
    targets: Targets | None = None
    own_levels: tuple[str, ...] = ()

    def scale(self, name: str) -> str:
        """Return the scale (of `scales.SCALES`) on which levels are compared on a data set, by its name.

        Raises:
            RequestError: the data set is not one of the suite.
        """
        if name not in self.endpoints:
            raise RequestError(unknown("data set", name, self.endpoints))
        return self.endpoints[name].scale(referred=name in self.reference)

    def criterion(self, name: str) -> Endpoint:
        """Return what recipes are chosen by on a data set: its endpoint, of the validation data."""
        if self.tuning is not None and name in self.tuning.criterion:
            return self.tuning.criterion[name]
        goal = self.endpoints[name]
        return replace(goal, column=f"validation_{goal.column.partition('_')[2] or goal.column}")

    @property
    def rates(self) -> str:
        """The learning rates in words, where they were not tuned."""
        return gettext("default rates") if self.rates_default else gettext("untuned rates")

    def __post_init__(self) -> None:
        if self.planned < 0:
            raise RequestError(f"planned: expected a number of cells of at least 0, got {self.planned}.")
        if not self.endpoints:
            raise RequestError("endpoints: expected one for each data set, got none.")
