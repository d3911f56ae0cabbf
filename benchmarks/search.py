"""Values to try: grids, draws and narrowing boxes on linear and logarithmic scales, without importing torch.

Equal requests give equal values on every machine. They are rounded to 12 significant digits, so that a
decade comes out as it is written and the last bit of a machine's logarithm renames no cell.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

from recipebench.errors import RequestError, unknown
from recipebench.seeds import seed_for

Trial = dict[str, float]
"""One value for each axis of a space."""

SCALES = ("linear", "log", "one_minus_log")
"""Evenly spaced is the value, its logarithm, or the logarithm of 1 minus the value."""

DIRECTIONS = ("higher", "lower")
"""Which of two scores is better."""

LARGEST_COUNT = 10_000
"""The most values that are made at once."""

_LARGEST = 1e300


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A range of one hyper-parameter, and the scale on which its values are evenly spread.

    Args:
        low: smallest value.
        high: largest value.
        scale: `linear`; `log`, x = 10^r with r evenly spread; `one_minus_log`, 1 - x = 10^r, for what
            acts through 1 / (1 - x), such as the decay rate of a running mean.
        whole: whether the values are whole numbers.

    Raises:
        RequestError: the range is empty, or has no logarithm.

    Example:
        >>> Axis(low=1e-4, high=1, scale="log").at(0.5)
        0.01
        >>> Axis(low=0.9, high=0.999, scale="one_minus_log").at(0.5)
        0.99

    References:
        Ng, Improving Deep Neural Networks, 3.2.
    """

    low: float
    high: float
    scale: str = "linear"
    whole: bool = False

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise RequestError(unknown("scale", self.scale, SCALES))
        if self.whole and self.scale == "one_minus_log":
            raise RequestError("whole: expected the scale linear or log, got one_minus_log.")
        kind = int if self.whole else float
        for name, value in (("low", self.low), ("high", self.high)):
            object.__setattr__(self, name, kind(_checked(name, value, self.whole)))
        if not self.low < self.high:
            raise RequestError(f"high: expected a number above low, {self.low:g}, got {self.high:g}.")
        if self.scale == "log" and self.low <= 0:
            raise RequestError(f"low: expected a number above 0 for a logarithm, got {self.low:g}.")
        if self.scale == "one_minus_log" and self.high >= 1:
            raise RequestError(f"high: expected a number below 1 for log(1 - x), got {self.high:g}.")

    def at(self, u: float) -> float:
        """Return the value below which a share `u`, 0 to 1, of the range lies on its scale.

        Whole numbers from low to high have equal shares (their logarithms' shares on the log scale).
        """
        if self.whole:
            below = math.floor(_between(self.low, self.high + 1, u, self.scale))
            return min(max(below, self.low), self.high)
        return _tidy(self, u)

    def grid(self, points: int) -> tuple[float, ...]:
        """Return evenly spread values, both ends among them.

        Args:
            points: how many, at least 2.

        Raises:
            RequestError: the count is no such number, or there are not so many whole numbers.
        """
        _count("points", points, minimum=2)
        if self.whole and points > self.high - self.low + 1:
            raise RequestError(f"points: expected at most {self.high - self.low + 1}, got {points}.")
        shares = [i / (points - 1) for i in range(points)]
        if not self.whole:
            return tuple(_tidy(self, u) for u in shares)
        up = 0.5 + 1e-9  # halves go up, also those that a logarithm missed by its last bit
        found = tuple(math.floor(_between(self.low, self.high, u, self.scale) + up) for u in shares)
        if len(set(found)) < points:
            raise RequestError(
                f"points: expected so few that no two round to one whole number, got {points} between "
                f"{self.low} and {self.high}, of which {len(set(found))} differ."
            )
        return found

    def draws(self, trials: int, *, seed: int = 0, name: str = "", stage: int = 0) -> tuple[float, ...]:
        """Return independent draws, uniform on the scale; of more trials the first are the same.

        Args:
            trials: how many, at least 1.
            seed: names the stream, together with `name` and `stage`.
            name: of the axis, so that several axes of one search are independent. The range does not
                matter: searches of different ranges with one seed stand at equal places of them.
            stage: the round of a search.
        """
        _count("trials", trials, minimum=1)
        stream = _stream(seed, name, stage)
        return tuple(self.at(stream.random()) for _ in range(trials))


def grid(low: float, high: float, points: int) -> tuple[float, ...]:
    """Evenly spaced values.

    Example:
        >>> grid(0.1, 0.5, 5)
        (0.1, 0.2, 0.3, 0.4, 0.5)
    """
    return Axis(low=low, high=high).grid(points)


def log_grid(low: float, high: float, points: int) -> tuple[float, ...]:
    """Values with one ratio between neighbors.

    Example:
        >>> log_grid(1e-4, 1, 5)
        (0.0001, 0.001, 0.01, 0.1, 1.0)
    """
    return Axis(low=low, high=high, scale="log").grid(points)


def one_minus_log_grid(low: float, high: float, points: int) -> tuple[float, ...]:
    """Values below 1 whose distances from 1 have one ratio between neighbors.

    Example:
        >>> one_minus_log_grid(0.9, 0.999, 3)
        (0.9, 0.99, 0.999)
    """
    return Axis(low=low, high=high, scale="one_minus_log").grid(points)


def integers(low: int, high: int, points: int | None = None) -> tuple[float, ...]:
    """All whole numbers of a range, or evenly spaced ones.

    Example:
        >>> integers(2, 4), integers(50, 100, 3)
        ((2, 3, 4), (50, 75, 100))
    """
    axis = Axis(low=low, high=high, whole=True)
    return axis.grid(int(axis.high - axis.low) + 1 if points is None else points)


def log_integers(low: int, high: int, points: int) -> tuple[float, ...]:
    """Whole numbers with nearly one ratio between neighbors.

    Example:
        >>> log_integers(1, 64, 7)
        (1, 2, 4, 8, 16, 32, 64)
    """
    return Axis(low=low, high=high, scale="log", whole=True).grid(points)


def random(low: float, high: float, trials: int, seed: int = 0) -> tuple[float, ...]:
    """Draws, uniform on the range: low + (high - low) u."""
    return Axis(low=low, high=high).draws(trials, seed=seed)


def log_random(low: float, high: float, trials: int, seed: int = 0) -> tuple[float, ...]:
    """Draws whose logarithm is uniform: 10^r, r uniform on (log10 low, log10 high).

    Example:
        >>> log_random(1e-4, 1, 2, seed=7) == log_random(1e-4, 1, 3, seed=7)[:2]
        True
    """
    return Axis(low=low, high=high, scale="log").draws(trials, seed=seed)


def one_minus_log_random(low: float, high: float, trials: int, seed: int = 0) -> tuple[float, ...]:
    """Draws below 1: 1 - 10^r, r uniform on (log10(1 - high), log10(1 - low))."""
    return Axis(low=low, high=high, scale="one_minus_log").draws(trials, seed=seed)


def random_integers(low: int, high: int, trials: int, seed: int = 0) -> tuple[float, ...]:
    """Draws of whole numbers, all equally likely, each at most once."""
    return _distinct(Axis(low=low, high=high, whole=True), trials, seed)


def log_random_integers(low: int, high: int, trials: int, seed: int = 0) -> tuple[float, ...]:
    """Draws of whole numbers, uniform in their logarithm, each at most once."""
    return _distinct(Axis(low=low, high=high, scale="log", whole=True), trials, seed)


RULES: dict[str, Callable[..., tuple[float, ...]]] = {
    rule.__name__: rule
    for rule in (
        grid,
        log_grid,
        one_minus_log_grid,
        integers,
        log_integers,
        random,
        log_random,
        one_minus_log_random,
        random_integers,
        log_random_integers,
    )
}
"""What can stand in a suite in place of a list of values."""

_KEYS = {name: ("low", "high", *(("trials", "seed") if "random" in name else ("points",))) for name in RULES}
_OPTIONAL = {"seed": tuple(RULES), "points": ("integers",)}


def values(spec: Mapping[str, object]) -> tuple[float, ...]:
    """Turn what a suite says of an axis, one rule with its range, into values.

    Args:
        spec: a name of `RULES` with `low`, `high` and `points` (`integers` can do without), or with
            `low`, `high`, `trials` and, unless it is 0, `seed`.

    Raises:
        RequestError: the rule, a key or a value is not known, is lacking or does not fit.

    Example:
        >>> values({"log_grid": {"low": 1e-3, "high": 0.1, "points": 3}})
        (0.001, 0.01, 0.1)
        >>> values({"log_gird": {}})
        Traceback (most recent call last):
        recipebench.errors.RequestError: Unknown rule 'log_gird'. Known: grid, ... Did you mean 'log_grid'?
    """
    if not isinstance(spec, Mapping) or len(spec) != 1:
        raise RequestError(
            "expected one rule with its range, such as {log_grid: {low: 1e-4, high: 1, points: 5}}, "
            f"got {spec!r:.80}."
        )
    ((name, given),) = spec.items()
    if name not in RULES:
        raise RequestError(unknown("rule", name, RULES))
    if not isinstance(given, Mapping):
        raise RequestError(f"{name}: expected {', '.join(_KEYS[name])} as a mapping, got {given!r:.80}.")
    for key in given:
        if key not in _KEYS[name]:
            raise RequestError(f"{name}: {unknown('key', key, _KEYS[name])}")
    for key in _KEYS[name]:
        if key not in given and name not in _OPTIONAL.get(key, ()):
            raise RequestError(f"{name}: expected {', '.join(_KEYS[name])}, got no {key}.")
    try:
        return RULES[name](**given)
    except RequestError as error:
        raise RequestError(f"{name}: {error}") from None


@dataclass(frozen=True)
class Space:
    """What is searched: named axes.

    Args:
        axes: at least one.

    Example:
        >>> rate, depth = Axis(low=1e-4, high=1, scale="log"), Axis(low=2, high=4, whole=True)
        >>> space = Space({"lr": rate, "layers": depth})
        >>> len(space.grid({"lr": 5, "layers": 3})), len(space.random(25, seed=1))
        (15, 25)
    """

    axes: Mapping[str, Axis]

    def __post_init__(self) -> None:
        if not self.axes:
            raise RequestError("space: expected at least one axis, got none.")

    def grid(self, points: int | Mapping[str, int]) -> tuple[Trial, ...]:
        """Return all combinations of the axes' grids.

        Args:
            points: for every axis, or by axis.
        """
        counts = dict.fromkeys(self.axes, points) if isinstance(points, int) else points
        if set(counts) != set(self.axes):
            raise RequestError(
                f"points: expected one count for each of {', '.join(self.axes)}, got {counts}."
            )
        _count("points", math.prod(counts.values()), minimum=1)
        lists = [axis.grid(counts[name]) for name, axis in self.axes.items()]
        return tuple(
            dict(zip(self.axes, combination, strict=True)) for combination in itertools.product(*lists)
        )

    def random(self, trials: int, *, seed: int = 0, stage: int = 0) -> tuple[Trial, ...]:
        """Return independent draws, every axis from a stream of its own.

        A further axis changes nothing in the values of the others; see `Axis.draws`.
        """
        columns = [a.draws(trials, seed=seed, name=n, stage=stage) for n, a in self.axes.items()]
        return tuple(dict(zip(self.axes, row, strict=True)) for row in zip(*columns, strict=True))

    def latin(self, trials: int, *, seed: int = 0, stage: int = 0) -> tuple[Trial, ...]:
        """Return a Latin hypercube: cut into as many equal parts as trials, each axis has a trial in each.

        Draws leave holes, of which one may hold the optimum; here no gap is wider than two parts. Every
        axis has a stream of its own; with one axis this is stratified sampling.

        References:
            McKay, Beckman and Conover, A comparison of three methods for selecting values of input
            variables, Technometrics 1979.
        """
        _count("trials", trials, minimum=1)
        columns = []
        for name, axis in self.axes.items():
            stream = _stream(seed, f"latin {name}", stage)
            parts = sorted(range(trials), key=[stream.random() for _ in range(trials)].__getitem__)
            columns.append([axis.at((part + stream.random()) / trials) for part in parts])
        return tuple(dict(zip(self.axes, row, strict=True)) for row in zip(*columns, strict=True))

    def holds(self, trial: Mapping[str, float]) -> bool:
        """Whether a trial lies inside, the ends included."""
        return all(axis.low <= trial[name] <= axis.high for name, axis in self.axes.items())

    def narrowed(
        self,
        trials: Sequence[Trial],
        scores: Sequence[float],
        *,
        keep: int = 1,
        direction: str = "higher",
    ) -> Space:
        """Return the box of the best trials, with a margin up to their neighbors.

        On each axis the new range goes from the nearest value that was tried below the best ones to
        the nearest above; where none was tried, to the end of this space. So the new box lies in this
        one, and of one axis with one valley it holds the bottom.

        Args:
            trials: those outside of this space do not count.
            scores: one a trial; what is not finite counts as worst.
            keep: how many trials the box is put around.
            direction: whether `higher` or `lower` scores are better.

        Returns:
            This space where no trial inside of it has a finite score.
        """
        _count("keep", keep, minimum=1)
        pairs = [(t, s) for t, s in zip(trials, scores, strict=True) if self.holds(t)]
        inside = [trial for trial, _ in pairs]
        order = ranked([score for _, score in pairs], direction)[:keep]
        if not order:
            return self
        top = [inside[i] for i in order]
        return Space({name: _zoomed(axis, name, inside, top) for name, axis in self.axes.items()})


def ranked(scores: Sequence[float], direction: str = "higher") -> list[int]:
    """Return the places of the finite scores, the best first; of equals, the earlier.

    Example:
        >>> ranked([0.1, float("nan"), 0.3, 0.3])
        [2, 3, 0]
    """
    if direction not in DIRECTIONS:
        raise RequestError(unknown("direction", direction, DIRECTIONS))
    sign = -1.0 if direction == "higher" else 1.0
    return sorted((i for i, s in enumerate(scores) if math.isfinite(s)), key=lambda i: sign * scores[i])


def edges(trials: Iterable[Trial], best: Trial) -> dict[str, Literal["low", "high", "both"]]:
    """Return the axes on which no trial lies beyond the best one, so that its range may be too narrow.

    Args:
        trials: all that were evaluated, the best among them.
        best: the best of them.

    Returns:
        `low` or `high` for each such axis; `both` where a single value was tried.

    Example:
        >>> edges([{"lr": 0.1}, {"lr": 0.01}, {"lr": 0.001}], best={"lr": 0.1})
        {'lr': 'high'}
    """
    listed = list(trials)
    found: dict[str, Literal["low", "high", "both"]] = {}
    for name, value in best.items():
        below, above = (any(t[name] < value for t in listed), any(t[name] > value for t in listed))
        if not (below and above):
            found[name] = "high" if below else "low" if above else "both"
    return found


@dataclass(frozen=True)
class Round:
    """One round of a search: the box, its trials and their scores."""

    space: Space
    trials: tuple[Trial, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Search:
    """What a search found.

    Args:
        best: the best trial of all rounds; None where no score was finite.
        score: its score; NaN likewise.
        edges: where the best trial is the outermost, so that the range should be widened; see `edges`.
        rounds: in order.
    """

    best: Trial | None
    score: float
    edges: Mapping[str, Literal["low", "high", "both"]] = field(default_factory=dict)
    rounds: tuple[Round, ...] = ()


def coarse_to_fine(
    evaluate: Callable[[Sequence[Trial]], Sequence[float]],
    space: Space,
    *,
    rounds: int,
    trials: int,
    seed: int = 0,
    direction: str = "higher",
    keep: int | None = None,
    design: str = "random",
) -> Search:
    """Search in rounds, each in the box of the best trials so far.

    Args:
        evaluate: from the trials of a round to one score each, so that they can be trained together;
            by a validation metric, never by the test set. Not finite for a trial that diverged.
        space: where to search at first.
        rounds: how often, at least 1.
        trials: of every round. The number depends on nothing that is found: all recipes whose spaces
            are searched alike get equally many.
        seed: of the draws.
        direction: whether `higher` or `lower` scores are better.
        keep: the box is put around so many trials; by default a fifth of `trials`, at least 1.
        design: `random`, `latin`, or `grid` with the same number of points on every axis.

    Raises:
        RequestError: a value does not fit, or there is not one score a trial.

    Example:
        >>> found = coarse_to_fine(
        ...     lambda trials: [-abs(trial["lr"] - 0.03) for trial in trials],
        ...     Space({"lr": Axis(low=1e-4, high=1, scale="log")}),
        ...     rounds=3,
        ...     trials=5,
        ...     design="grid",
        ... )
        >>> found.best, found.edges
        ({'lr': 0.0316227766017}, {})

    References:
        Ng, Improving Deep Neural Networks, 3.1; Saito, Deep Learning from Scratch, hyper-parameters.
    """
    _count("rounds", rounds, minimum=1)
    _count("keep", 1 if keep is None else keep, minimum=1)
    ranked([], direction)  # refuse a wrong direction before anything is trained
    done: list[Round] = []
    for _ in range(rounds):
        box, chosen = next_round(
            space, done, trials=trials, seed=seed, direction=direction, keep=keep, design=design
        )
        scores = tuple(map(float, evaluate(chosen)))
        if len(scores) != len(chosen):
            raise RequestError(f"evaluate: expected {len(chosen)} scores, got {len(scores)}.")
        done.append(Round(box, chosen, scores))
    tried, scored = [t for one in done for t in one.trials], [s for one in done for s in one.scores]
    order = ranked(scored, direction)
    if not order:
        return Search(None, math.nan, {}, tuple(done))
    best = tried[order[0]]
    return Search(best, scored[order[0]], edges(tried, best), tuple(done))


def next_round(
    space: Space,
    done: Sequence[Round],
    *,
    trials: int,
    seed: int = 0,
    direction: str = "higher",
    keep: int | None = None,
    design: str = "random",
) -> tuple[Space, tuple[Trial, ...]]:
    """Return the box and the trials of a search's next round, as `coarse_to_fine` would have them.

    Args:
        space: where the search began.
        done: the rounds so far, with their scores.
        trials: of the round.
        seed: of the draws.
        direction: whether `higher` or `lower` scores are better.
        keep: the box is put around so many trials; by default a fifth of `trials`, at least 1.
        design: `random`, `latin`, or `grid` with the same number of points on every axis.
    """
    box = done[-1].space if done else space
    if done:
        tried, scores = [t for one in done for t in one.trials], [s for one in done for s in one.scores]
        kept = _count("keep", max(1, trials // 5) if keep is None else keep, minimum=1)
        box = box.narrowed(tried, scores, keep=kept, direction=direction)
    return box, _design(box, design, trials, seed, len(done))


def _design(space: Space, design: str, trials: int, seed: int, stage: int) -> tuple[Trial, ...]:
    if design == "random":
        return space.random(trials, seed=seed, stage=stage)
    if design == "latin":
        return space.latin(trials, seed=seed, stage=stage)
    if design != "grid":
        raise RequestError(unknown("design", design, ("grid", "latin", "random")))
    _count("trials", trials, minimum=1)
    points = round(trials ** (1 / len(space.axes)))
    if points ** len(space.axes) != trials:
        raise RequestError(
            f"trials: expected a whole number to the power of the {len(space.axes)} axes for a grid, "
            f"got {trials}."
        )
    return space.grid(points)


def _zoomed(axis: Axis, name: str, trials: Sequence[Trial], top: Sequence[Trial]) -> Axis:
    lowest, highest = min(t[name] for t in top), max(t[name] for t in top)
    below = [t[name] for t in trials if t[name] < lowest]
    above = [t[name] for t in trials if t[name] > highest]
    return replace(axis, low=max(below, default=axis.low), high=min(above, default=axis.high))


def _distinct(axis: Axis, trials: int, seed: int) -> tuple[float, ...]:
    """Draw on until there are so many different whole numbers."""
    _count("trials", trials, minimum=1)
    if trials > axis.high - axis.low + 1:
        raise RequestError(f"trials: expected at most {axis.high - axis.low + 1}, got {trials}.")
    stream, found = _stream(seed, "", 0), dict[float, None]()
    while len(found) < trials:
        found[axis.at(stream.random())] = None
    return tuple(found)


def _stream(seed: int, name: str, stage: int) -> Random:
    """Return a stream of Python's own generator, whose `random()` is promised never to change."""
    _whole("seed", seed, minimum=0)
    return Random(seed_for("search", name, seed, stage))


def _between(low: float, high: float, u: float, scale: str) -> float:
    if scale == "linear":
        return low + (high - low) * u
    return math.exp(math.log(low) + (math.log(high) - math.log(low)) * u)


def _tidy(axis: Axis, u: float) -> float:
    """Return the value at `u` in 12 significant digits of what is spread evenly, and inside the range."""
    if u in (0.0, 1.0):
        return axis.high if u else axis.low
    if axis.scale == "one_minus_log":
        gap = float(f"{_between(1 - axis.low, 1 - axis.high, u, 'log'):.12g}")
        value = float(f"{1 - gap:.15g}")
    else:
        value = float(f"{_between(axis.low, axis.high, u, axis.scale):.12g}")
    return min(max(value, axis.low), axis.high)


def _checked(name: str, value: object, whole: bool) -> float:
    if whole:
        return _whole(name, value)
    if type(value) not in (int, float) or not abs(value) <= _LARGEST:  # type: ignore[arg-type]
        raise RequestError(f"{name}: expected a number of at most {_LARGEST:g}, got {value!r:.80}.")
    return value  # type: ignore[return-value]


def _whole(name: str, value: object, minimum: int = -(2**53)) -> int:
    if type(value) is not int or not minimum <= value <= 2**53:
        wanted = "a whole number" + (f" of at least {minimum}" if minimum >= 0 else "")
        raise RequestError(f"{name}: expected {wanted}, got {value!r:.80}.")
    return value


def _count(name: str, value: object, minimum: int) -> int:
    if type(value) is not int or not minimum <= value <= LARGEST_COUNT:
        raise RequestError(
            f"{name}: expected a whole number from {minimum} to {LARGEST_COUNT:,}, got {value!r:.80}."
        )
    return value
