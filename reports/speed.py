"""Saved runs of the speed suite as frames: times, ratios inside a run, and two runs against each other.

Times are compared inside a pass over all cases, a few minutes at most, and the passes are what intervals
are computed from: the rounds of one case in one pass follow each other within a moment, so that their
scatter says nothing of what the machine does a minute later. A time is the median of such rounds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from recipebench.errors import RequestError

Floats = NDArray[np.float64]

KEY = ["factor", "level", "phase", "setting", "device"]
"""What tells a case from all others."""

PEERS = ["factor", "phase", "setting", "device"]
"""What cases have in common that are compared inside a run."""

CONFIDENCE = 0.95

FOLDER = "speed"
"""The folder of a store that holds saved runs."""

_KINDS: dict[str, type] = {
    **dict.fromkeys([*KEY, "baseline"], str),
    **{"members": int, "control": bool, "place": int, "pass": int, "occupied": float},
}
"""What is saved beside the times of a case, and its type."""


class Ratio(NamedTuple):
    """A ratio of times with its interval.

    Args:
        ratio: the estimate.
        low: lower end of the interval of at least 95 %; NaN where there are too few passes for one.
        high: upper end.
    """

    ratio: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class SpeedRun:
    """A saved run of the suite.

    Args:
        started: when it was saved, in UTC.
        machine: versions, processor and settings, as they were saved.
        passes: one row a case and pass: what it is (`KEY`, `baseline`, `members`, `control`, `group`),
            `pass`, `occupied` (the share of the time in which the process had a core), `median` (seconds of
            a call), `each` (seconds of a call and member), `rounds`, and `times`, the seconds of all rounds.
    """

    started: str
    machine: Mapping[str, Any]
    passes: pd.DataFrame

    @cached_property
    def cases(self) -> pd.DataFrame:
        """One row a case: `median` over passes and `iqr` over all rounds in seconds a call, `per_second`.

        Also `each` (seconds a call and member), `rounds`, `passes`, and `machine`, the class of processor.
        """
        found = [_case(part) for _, part in self.passes.groupby("place", sort=True)]
        return pd.DataFrame(found).assign(machine=str(self.machine.get("cpu_class", "")))


def load(path: Path) -> SpeedRun:
    """Read a saved run.

    Raises:
        RequestError: the file cannot be read, or the suite has not written it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"speed: {path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise RequestError(f"speed: {path}: expected JSON, got what cannot be parsed: {error}.") from error
    try:
        machine = content["machine_info"]["recipebench"]
        rows = [_row(benchmark) for benchmark in content["benchmarks"]]
        started = str(content["datetime"])
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(
            f"speed: {path}: expected a run that `python -m recipebench.benchmarks.speed` saved, got other "
            f"content ({type(error).__name__}: {error})."
        ) from error
    if not rows or not isinstance(machine, dict):
        raise RequestError(f"speed: {path}: expected at least one case and a machine, got none.")
    return SpeedRun(started=started, machine=machine, passes=pd.DataFrame(rows))


def _row(benchmark: Mapping[str, Any]) -> dict[str, Any]:
    facts = {name: benchmark["extra_info"][name] for name in _KINDS}
    for name, kind in _KINDS.items():
        if type(facts[name]) is not kind:
            raise ValueError(f"{name}: expected {kind.__name__}, got {facts[name]!r:.80}")
    times = np.asarray(benchmark["stats"]["data"], dtype=np.float64)
    if times.ndim != 1 or not len(times) or not (np.isfinite(times) & (times > 0)).all():
        raise ValueError("expected times above 0")
    if facts["members"] < 1:
        raise ValueError(f"expected at least 1 member, got {facts['members']}")
    median = float(np.median(times))
    more = {"median": median, "each": median / facts["members"], "rounds": len(times), "times": times}
    return {"group": str(benchmark["group"]), **facts, **more}


def _case(part: pd.DataFrame) -> dict[str, Any]:
    first = part.iloc[0]
    quartiles = np.quantile(np.concatenate(part["times"].tolist()), [0.25, 0.75])
    median = float(part["median"].median())
    return {
        **{name: first[name] for name in ["group", *KEY, "baseline", "members", "control"]},
        "median": median,
        "iqr": float(quartiles[1] - quartiles[0]),
        "each": median / first["members"],
        "per_second": 1 / median,
        "rounds": int(part["rounds"].sum()),
        "passes": len(part),
    }


def newest(folder: Path) -> Path | None:
    """Return the file of the latest run in a folder, None without one; names begin with the time."""
    return max(folder.glob("*.json"), key=lambda path: path.name, default=None)


def relative(run: SpeedRun) -> pd.DataFrame:
    """Return each case's time over that of its factor's baseline, pass by pass, on the same device.

    The estimate is the median of the ratios of the passes, the interval the widest pair of order
    statistics that covers the median of their distribution with at least 95 %.

    Returns:
        The rows of `run.cases` that have a baseline, with `ratio`, `low` and `high`, per call and member.
    """
    return _over(run, PEERS, lambda part: part["level"] == part["baseline"])


def across_devices(run: SpeedRun) -> pd.DataFrame:
    """Return each case's time over that of the same case on the processor, pass by pass.

    Returns:
        The rows of `run.cases` of other devices, with `ratio`, `low` and `high`.
    """
    peers = [name for name in KEY if name != "device"]
    found = _over(run, peers, lambda part: part["device"] == "cpu")
    return found[found["device"] != "cpu"].reset_index(drop=True)


def noise(ratios: pd.DataFrame) -> tuple[int, float]:
    """Return how many controls there are and by what factor they differ at most; 1 where there are none.

    Args:
        ratios: of `relative`; a control does what its baseline does.
    """
    controls = ratios[ratios["control"] & (ratios["level"] != ratios["baseline"])]["ratio"]
    return len(controls), float(np.exp(np.abs(np.log(controls)).max())) if len(controls) else 1.0


def _over(run: SpeedRun, peers: list[str], is_base: Any) -> pd.DataFrame:
    bases = {
        key: part.set_index("pass")["each"]
        for key, part in run.passes[is_base(run.passes)].groupby(peers, sort=False)
    }
    rows = []
    for _, case in run.cases.iterrows():
        base = bases.get(tuple(case[peers]))
        if base is not None:
            rows.append({**case, **median_interval(_ratios(run, case, base))._asdict()})
    return pd.DataFrame(rows, columns=[*run.cases.columns, *Ratio._fields])


def _ratios(run: SpeedRun, case: pd.Series[Any], base: pd.Series[Any]) -> Floats:
    mine = _passes_of(run, case)["each"]
    both = mine.index.intersection(base.index)
    return np.asarray(mine[both].to_numpy() / base[both].to_numpy(), dtype=np.float64)


def _passes_of(run: SpeedRun, case: pd.Series[Any]) -> pd.DataFrame:
    same = (run.passes[KEY] == case[KEY].to_numpy()).all(axis=1)
    return run.passes[same].set_index("pass")


def median_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> Ratio:
    """Return the median of some values and the sign test's interval for the median behind them.

    Args:
        values: independent draws, at least six for an interval of 95 %.
        confidence: that the interval has at least.

    Example:
        >>> median_interval([1.0, 1.2, 1.1, 1.3, 0.9, 1.0])
        Ratio(ratio=1.05, low=0.9, high=1.3)

    References:
        Conover, Practical Nonparametric Statistics, 3.2.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    if not n:
        return Ratio(math.nan, math.nan, math.nan)
    cut = _cut([math.comb(n, k) for k in range(n + 1)], confidence)
    ends = (ordered[cut - 1], ordered[n - cut]) if cut else (math.nan, math.nan)
    return Ratio(round(float(np.median(ordered)), 12), *map(float, ends))


def ratio_interval(a: ArrayLike, b: ArrayLike, confidence: float = CONFIDENCE) -> Ratio:
    """Return how many times as large `b` is as `a`, with the rank-sum test's interval.

    Hodges and Lehmann's estimate on logarithms: the median of all ratios b_j / a_i, and those of them that
    the exact test of Mann and Whitney does not refuse.

    Args:
        a: independent positive draws, at least four of each for an interval of 95 %.
        b: as `a`, of another number if need be.
        confidence: that the interval has at least.

    Example:
        >>> ratio_interval([1.0, 1.1, 0.9, 1.05], [2.0, 2.2, 1.8, 2.1])
        Ratio(ratio=2.0, low=1.636363636364, high=2.444444444444)

    References:
        Hodges and Lehmann 1963; Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 4.3.
    """
    ratios = np.sort(
        np.divide.outer(np.asarray(b, dtype=np.float64), np.asarray(a, dtype=np.float64)).ravel()
    )
    if not len(ratios):
        return Ratio(math.nan, math.nan, math.nan)
    cut = _cut(_rank_sums(np.size(a), np.size(b)), confidence)
    ends = (ratios[cut - 1], ratios[len(ratios) - cut]) if cut else (math.nan, math.nan)
    middle = math.exp(float(np.median(np.log(ratios))))
    return Ratio(round(middle, 12), *(round(float(end), 12) for end in ends))


def _cut(counts: Sequence[int], confidence: float) -> int:
    """Return how many of a symmetric distribution's lowest outcomes have at most half of the rest."""
    left, total, cut = 0, sum(counts), 0
    while cut < len(counts) and 2 * (left + counts[cut]) <= (1 - confidence) * total + 1e-9 * total:
        left, cut = left + counts[cut], cut + 1
    return cut


def _rank_sums(n: int, m: int) -> list[int]:
    """Return in how many orders of n and m values Mann and Whitney's statistic is 0, 1 … n m.

    These are the coefficients of the Gaussian binomial: the product of (1 - q^(n + i)) / (1 - q^i).
    """
    counts = [1] + [0] * (n * m)
    for i in range(1, m + 1):
        for u in range(n * m, n + i - 1, -1):
            counts[u] -= counts[u - n - i]
        for u in range(i, n * m + 1):
            counts[u] += counts[u - i]
    return counts


_MACHINE = {"processor": "cpu_model", "class of processor": "cpu_class", "graphics processor": "gpu"}
_CONDITIONS = {
    "torch": "torch",
    "Python": "python",
    "system": "os",
    "threads": "threads",
    "vector instructions": "vector_instructions",
    "float32 products": "float32_products",
    "commit": "git_commit",
}


def differences(a: SpeedRun, b: SpeedRun) -> tuple[dict[str, tuple[str, str]], dict[str, tuple[str, str]]]:
    """Return in what the machines of two runs differ, and in what the conditions: name to both values."""
    variables = [dict(run.machine.get("variables") or {}) for run in (a, b)]
    packages = [dict(run.machine.get("packages") or {}) for run in (a, b)]
    machine = dict(_differing(_MACHINE, a.machine, b.machine))
    conditions = dict(_differing(_CONDITIONS, a.machine, b.machine))
    conditions |= dict(_differing({"MKL_CBWR": "MKL_CBWR"}, *variables))
    conditions |= dict(_differing({"recipebench": "recipebench"}, *packages))
    return machine, conditions


def _differing(
    names: Mapping[str, str], a: Mapping[str, Any], b: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[str, str]]]:
    for name, key in names.items():
        if a.get(key) != b.get(key):
            yield name, (_said(a.get(key)), _said(b.get(key)))


def _said(value: object) -> str:
    return "none" if value is None else str(value)


TIME = "time"
SHARE = "time over baseline"


def compare(a: SpeedRun, b: SpeedRun) -> pd.DataFrame:
    """Return how many times as long each case took in `b` as in `a`.

    On one machine times are compared. Between machines a time says nothing, so what is compared is each
    level's time over that of its baseline in the same run, pass and device; baselines have no row then.

    Args:
        a: the run that is divided by.
        b: the other one.

    Returns:
        One row for each case of both: `KEY`, `of` (`time` or `time over baseline`), `ratio`, `low`, `high`
        (see `ratio_interval`; what changed between the occasions of the two runs is not in the interval),
        `passes_a` and `passes_b`.
    """
    of = SHARE if differences(a, b)[0] else TIME
    draws = [_draws(run, of) for run in (a, b)]
    rows = []
    for key, mine in draws[0].items():
        if key in draws[1]:
            other = draws[1][key]
            found = {**dict(zip(KEY, key, strict=True)), "of": of, **ratio_interval(mine, other)._asdict()}
            rows.append({**found, "passes_a": len(mine), "passes_b": len(other)})
    return pd.DataFrame(rows, columns=[*KEY, "of", *Ratio._fields, "passes_a", "passes_b"])


def _draws(run: SpeedRun, of: str) -> dict[tuple[str, ...], Floats]:
    """Return what is compared between runs, one value a pass, by case."""
    passes = run.passes.sort_values(["place", "pass"])
    if of == TIME:
        return _by_case(passes["each"], passes)
    base = passes[passes["level"] == passes["baseline"]].set_index([*PEERS, "pass"])["each"]
    others = passes[passes["level"] != passes["baseline"]]
    found = others.join(base.rename("base"), on=[*PEERS, "pass"], how="inner")
    return _by_case(found["each"] / found["base"], found)


def _by_case(values: pd.Series[Any], passes: pd.DataFrame) -> dict[tuple[str, ...], Floats]:
    by_case = values.groupby([passes[name] for name in KEY], sort=False)
    return {tuple(map(str, key)): part.to_numpy(dtype=np.float64) for key, part in by_case}


def unmatched(a: SpeedRun, b: SpeedRun) -> tuple[int, int]:
    """Return how many cases only `a` has, and how many only `b`."""
    first, second = ({tuple(row) for row in run.cases[KEY].to_numpy()} for run in (a, b))
    return len(first - second), len(second - first)
