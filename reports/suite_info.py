"""What a report must know of a suite beyond its records: endpoints, declared levels, protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from recipebench.errors import RequestError, unknown
from recipebench.levels import Choice

_DIRECTIONS = ("higher", "lower")


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
class SuiteInfo:
    """A suite as its report tells it.

    Args:
        name: of the suite.
        description: in one or two sentences; may be empty.
        endpoints: for each data set, in the order in which the report shows them.
        factors: the levels of each factor in declared order, with their hyper-parameters.
        seeds: the seeds that were planned.
        planned: number of cells that were planned.
        protocol: epochs, batch size, validation and the like, in words.
        rates_tuned: whether the learning rates of the optimizers were tuned.
        rates_default: whether, untuned, they are the ones that the catalog gives each optimizer.
        smallest_effect: the smallest difference that matters, per data set, in the endpoint's unit.
        data: facts about each data set (source, license, SHA-256 …) as they are to be printed.
        command: what a person types to repeat the run.

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

    @property
    def rates(self) -> str:
        """The learning rates in words, where they were not tuned."""
        return "default rates" if self.rates_default else "untuned rates"

    def __post_init__(self) -> None:
        if self.planned < 0:
            raise RequestError(f"planned: expected a number of cells of at least 0, got {self.planned}.")
        if not self.endpoints:
            raise RequestError("endpoints: expected one for each data set, got none.")
