"""A hyper-parameter that is to be chosen: the range that a suite gives it, and how the range is searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recipebench.benchmarks.search import Axis, Space, next_round
from recipebench.errors import RequestError, unknown
from recipebench.levels import Catalog, Choice, Parameter, Tuned, Value

METHODS = {
    "latin_hypercube": "latin",
    "log_random": "random",
    "log_grid": "grid",
    "random": "random",
    "grid": "grid",
    "coarse_to_fine": "latin",
}
"""How a range can be searched, each with the design of its rounds; the first is the default."""

_SCALED = ("latin_hypercube", "coarse_to_fine")
"""Those that take a scale; of the others the name says it."""

MAX_TRIALS = 10_000

_KEYS = ("low", "high", "trials", "search", "rounds", "scale")
_REQUIRED = ("low", "high", "trials")
_ROUNDS = 2


@dataclass(frozen=True, kw_only=True)
class Tune:
    """The range of a hyper-parameter, and how it is searched.

    Args:
        axis: the range, with the scale on which its values are spread evenly.
        trials: how many values are tried in all; of a level with several ranges, how many points.
        method: one of `METHODS`.
        rounds: how often the range is narrowed and searched again; `trials` are shared equally.
    """

    axis: Axis
    trials: int
    method: str = "latin_hypercube"
    rounds: int = 1

    @property
    def effort(self) -> tuple[int, str, int]:
        """What has to be equal for all that is compared: trials, method and rounds."""
        return self.trials, self.method, self.rounds

    def to_json(self) -> dict[str, object]:
        """Return it in plain JSON types."""
        return {
            "low": self.axis.low,
            "high": self.axis.high,
            "scale": self.axis.scale,
            "trials": self.trials,
            "search": self.method,
            "rounds": self.rounds,
        }


def parse(parameter: Parameter, value: object, owner: str) -> Tune:
    """Check what a suite says of a range.

    Args:
        parameter: the hyper-parameter.
        value: `{tune: {low, high, trials, search, rounds, scale}}`, the last three optional.
        owner: whose hyper-parameter it is, for the message.

    Raises:
        RequestError: a key or value is not known, is lacking or does not fit; the range leaves what the
            hyper-parameter can be; the hyper-parameter is no number.

    Example:
        >>> rate = Parameter(name="lr", type=float, default=0.1, summary="", minimum=0, exclusive=True)
        >>> parse(rate, {"tune": {"low": 1e-4, "high": 1, "trials": 16}}, "optimizer sgd").effort
        (16, 'latin_hypercube', 1)
    """
    where = f"{owner}: {parameter.name}"
    if not isinstance(value, Mapping) or set(value) != {"tune"} or not isinstance(value["tune"], Mapping):
        raise RequestError(
            f"{where}: expected a value, or {{tune: {{low: …, high: …, trials: …}}}}, got {value!r:.80}."
        )
    given = value["tune"]
    if parameter.type not in (int, float):
        raise RequestError(f"{where}: expected a number to tune, but it is none.")
    for key in given:
        if key not in _KEYS:
            raise RequestError(f"{where}: tune: {unknown('key', key, _KEYS)}")
    for key in _REQUIRED:
        if key not in given:
            raise RequestError(f"{where}: tune: expected {', '.join(_REQUIRED)}, got no {key}.")
    method = given.get("search", next(iter(METHODS)))
    if method not in METHODS:
        raise RequestError(f"{where}: tune: search: {unknown('search', method, METHODS)}")
    ends = {end: parameter.check(given[end], f"{owner}, tune {end}") for end in ("low", "high")}
    try:
        axis = Axis(**ends, scale=_scale(parameter, method, given), whole=parameter.type is int)  # type: ignore[arg-type]
        trials, rounds = _effort(given, method)
    except RequestError as error:
        raise RequestError(f"{where}: tune: {error}") from None
    return Tune(axis=axis, trials=trials, method=method, rounds=rounds)


def _scale(parameter: Parameter, method: str, given: Mapping[str, object]) -> str:
    """Return the scale: of decay rates log (1 - x), else log x; linear for `random` and `grid`."""
    log = "one_minus_log" if parameter.decay else "log"
    if "scale" not in given:
        return "linear" if method in ("random", "grid") else log
    if method not in _SCALED:
        raise RequestError(f"expected scale with {' or '.join(_SCALED)} only: the other names say it.")
    scale = given["scale"]
    if scale not in ("linear", "log"):
        raise RequestError(f"scale: {unknown('scale', scale, ('linear', 'log'))}")
    return log if scale == "log" else "linear"


def _effort(given: Mapping[str, object], method: str) -> tuple[int, int]:
    """Check how many trials there are, in how many rounds."""
    trials, rounds = given["trials"], given.get("rounds", _ROUNDS if method == "coarse_to_fine" else 1)
    if type(trials) is not int or not 2 <= trials <= MAX_TRIALS:
        raise RequestError(f"trials: expected a whole number from 2 to {MAX_TRIALS:,}, got {trials!r:.80}.")
    if "rounds" in given and method != "coarse_to_fine":
        raise RequestError(f"expected rounds with the search coarse_to_fine only, got them with {method}.")
    if type(rounds) is not int or rounds < 1 or trials % rounds:
        raise RequestError(
            f"rounds: expected a whole number that divides the {trials} trials, got {rounds!r:.80}."
        )
    return trials, rounds


def choose(catalog: Catalog, name: str, given: Mapping[str, Value | Tune]) -> Choice:
    """Return a level with its hyper-parameters; a `Tuned` one where some are ranges.

    Raises:
        RequestError: the level, a hyper-parameter or a value is not known or of the wrong type.
    """
    ranges = {key: value for key, value in given.items() if isinstance(value, Tune)}
    choice = catalog.choose({name: {key: value for key, value in given.items() if key not in ranges}})
    if not ranges:
        return choice
    fixed = {key: value for key, value in choice.parameters.items() if key not in ranges}
    return Tuned(name, fixed, ranges)


def value_of(choice: Choice, name: str) -> Value | Tune | None:
    """Return a level's value or range of a hyper-parameter; None where it has no such one."""
    if isinstance(choice, Tuned) and name in choice.ranges:
        tune: Tune = choice.ranges[name]
        return tune
    return choice.parameters.get(name)


def check_design(ranges: Mapping[str, Tune]) -> None:
    """Make sure that ranges that are searched together can be.

    Raises:
        RequestError: their efforts differ, or so many trials make no grid of so many axes.
    """
    efforts = {tune.effort for tune in ranges.values()}
    if len(efforts) > 1:
        told = " and ".join(f"{n} of {name}" for name, (n, _, _) in _efforts(ranges))
        raise RequestError(
            f"expected the same trials, search and rounds for all that is tuned together, got {told}."
        )
    first = next(iter(ranges.values()))
    space = Space({name: tune.axis for name, tune in ranges.items()})
    next_round(space, (), trials=first.trials // first.rounds, design=METHODS[first.method])


def _efforts(ranges: Mapping[str, Tune]) -> list[tuple[str, tuple[int, str, int]]]:
    return [(name, tune.effort) for name, tune in ranges.items()]
