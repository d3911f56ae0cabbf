"""Two levels of one factor: who is better, by how much, and what the numbers do not say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from recipebench.reports import telling, wording
from recipebench.reports.cellwise import blocks, scores
from recipebench.reports.claims import INCONCLUSIVE, REFUTED, Claim, Verdict, judge
from recipebench.reports.frames import labels
from recipebench.reports.statistics import inference
from recipebench.reports.statistics.effects import accuracy_error, pairing_gain, superiority
from recipebench.reports.statistics.inference import Blocks, Floats
from recipebench.reports.statistics.scales import back, transform
from recipebench.reports.suite_info import Endpoint

COMPARED, BESIDE = "compared", "default rate"
"""What a row of the table is there for: the verdict, or to stand beside it."""


@dataclass(frozen=True)
class Arm:
    """One of the two levels.

    Args:
        name: as it is told, hyper-parameters in parentheses.
        records: its rows that are compared, one a data set and seed, missing ones among them.
        beside: the same recipe at default learning rates; empty where nothing is tuned.
    """

    name: str
    records: pd.DataFrame
    beside: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is known of a comparison before it is run.

    Args:
        factor: whose levels the two are.
        endpoints: for each data set.
        smallest: the smallest effect of each data set, in the unit of its endpoint.
        protocol: model, recipe, epochs, seeds and whether rates are tuned, in a sentence.
        test_items: samples of the test set, by data set.
        held_out: data sets without an official test set.
        tuned: whether rates were chosen for this comparison.
        doubts: reasons, in sentences, for which nothing can be concluded, such as a rate at the edge.
    """

    factor: str
    endpoints: Mapping[str, Endpoint]
    smallest: Mapping[str, float]
    protocol: str
    test_items: Mapping[str, int] = field(default_factory=dict)
    held_out: frozenset[str] = frozenset()
    tuned: bool = False
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How two levels compare.

    Args:
        first: name of the level that the claim is about.
        second: name of the other.
        setting: what was known before the run.
        verdict: of the claim that `first` is better by more than the smallest effect.
        records: the rows of both, with the columns `level` and `rates`.
        choices: the values that were chosen: `level, data, hyper-parameter, value, edge`.
        table: one row a data set, of the tuned recipes and of those at default rates; see `table`.
        pairing: correlation of the two over seeds; NaN where one has no spread.
        suite: the same comparison as a suite, for `rb.run`, `rb.report` and a YAML file.
    """

    first: str
    second: str
    setting: Setting
    verdict: Verdict
    records: pd.DataFrame
    choices: pd.DataFrame
    table: pd.DataFrame
    pairing: float
    suite: Mapping[str, Any]

    @cached_property
    def sentences(self) -> list[str]:
        """Verdict, numbers, and what they do not say."""
        return [*_verdict(self), *_effects(self), self.setting.protocol, *_choices(self), *_limits(self)]

    @cached_property
    def shown(self) -> pd.DataFrame:
        """The table as it is printed."""
        return _shown(self)

    def __str__(self) -> str:
        return telling.as_text([*self.sentences, CAPTION], [self.shown])

    def __repr__(self) -> str:
        return f"<{self.first} against {self.second}: {self.verdict.word}>"

    def _repr_html_(self) -> str:
        return telling.as_html([*self.sentences, CAPTION], [self.shown])


CAPTION = (
    "Table: differences first \N{MINUS SIGN} second, positive where the first is better, with "
    "95\N{NO-BREAK SPACE}% t intervals over seeds, of each data set by itself; errors: ratio of the error "
    "rates, first over second. Only the claim above is judged."
)
"""What stands below the table."""


def versus(
    first: Arm, second: Arm, setting: Setting, choices: pd.DataFrame, suite: Mapping[str, Any]
) -> Comparison:
    """Judge one claim: that the first level is better than the second by more than the smallest effect.

    The differences of one data set stay in the unit of its endpoint; those of several are divided by
    their smallest effects, so that one claim spans all. Doubts make any verdict inconclusive.

    Args:
        first: the level that the claim is about.
        second: the other, with the same data sets and seeds.
        setting: what was known before the run.
        choices: the values that were chosen.
        suite: the comparison as a suite.
    """
    pairs = paired(first.records, second.records, setting.endpoints)
    verdict = _with_doubts(judge([_claim(first.name, second.name, pairs, setting)])[0], setting.doubts)
    rows = table(pairs, setting, COMPARED)
    if len(first.beside) and len(second.beside):
        default = paired(first.beside, second.beside, setting.endpoints)
        rows = pd.concat([rows, table(default, setting, BESIDE)], ignore_index=True)
    return Comparison(
        first=first.name,
        second=second.name,
        setting=setting,
        verdict=verdict,
        records=_records(first, second),
        choices=choices,
        table=rows,
        pairing=_pairing(pairs),
        suite=suite,
    )


def paired(first: pd.DataFrame, second: pd.DataFrame, endpoints: Mapping[str, Endpoint]) -> pd.DataFrame:
    """Pair the rows of two levels by data set and seed.

    Returns:
        Columns `name` (of the data set), `data` (its label), `seed`, the scores `first` and `second`,
        chance level where a cell diverged, and `first_status`, `second_status`.
    """
    both = pd.concat([first, second], ignore_index=True)
    data = labels(both, "data", ()).astype(str).to_numpy()
    plain = both["data"].astype(object).to_numpy()
    frame = pd.DataFrame({"name": plain, "data": data, "seed": both["seed"].astype("int64")})
    frame["score"], frame["status"] = scores(both, plain, endpoints), both["status"].astype(object)
    key = ["name", "data", "seed"]
    one, two = (part.set_index(key) for part in (frame[: len(first)], frame[len(first) :]))
    return (
        one.rename(columns={"score": "first", "status": "first_status"})
        .join(two.rename(columns={"score": "second", "status": "second_status"}), how="outer")
        .reset_index()
    )


def _each(pairs: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Return name, label and rows of each data set, in the order in which they stand."""
    grouped = pairs.groupby(["name", "data"], sort=False)
    return [(str(name), str(label), rows) for (name, label), rows in grouped]


def _blocks(rows: pd.DataFrame, endpoint: Endpoint) -> Blocks:
    return blocks(rows, endpoint, of="first", over="second")


def _claim(first: str, second: str, pairs: pd.DataFrame, setting: Setting) -> Claim:
    found = [(name, _blocks(rows, setting.endpoints[name])) for name, _, rows in _each(pairs)]
    whole = Blocks(
        differences=np.vstack([b.differences for _, b in found]),
        without_diverged=np.vstack([b.without_diverged for _, b in found]),
        pairs=sum(b.pairs for _, b in found),
        gaps=sum(b.gaps for _, b in found),
        diverged=sum(b.diverged for _, b in found),
    )
    sizes = [setting.smallest[name] for name, _ in found]
    claim = f"{first} is better than {second}"
    if len(found) == 1:
        return Claim(name=claim, blocks=whole, smallest=sizes[0])
    return Claim(name=claim, blocks=inference.relative(whole, sizes), smallest=1.0)


def _with_doubts(verdict: Verdict, doubts: Sequence[str]) -> Verdict:
    if not doubts:
        return verdict
    return dataclasses.replace(verdict, word=INCONCLUSIVE, reasons=(*verdict.reasons, *doubts))


def table(pairs: pd.DataFrame, setting: Setting, rates: str) -> pd.DataFrame:
    """Return one row a data set, each judged by itself and for description only.

    Args:
        pairs: from `paired`.
        setting: what was known before the run.
        rates: `compared` or `default rate`.

    Returns:
        Columns `rates, data, first, second` (means over seeds), `difference, low, high` (positive where
        the first is better), `n` (seeds with both), `better` (share of seeds on which the first is,
        ties by half), `diverged, gaps`, and for accuracies `errors, errors_low, errors_high`, the ratio of
        the error rates.
    """
    return pd.DataFrame([_row(name, label, rows, setting, rates) for name, label, rows in _each(pairs)])


def _row(name: str, label: str, rows: pd.DataFrame, setting: Setting, rates: str) -> dict[str, Any]:
    endpoint = setting.endpoints[name]
    found = _blocks(rows, endpoint)
    estimate = inference.over_seeds(found.differences)
    low, high = inference.interval(estimate)
    return {
        **{"rates": rates, "name": name, "data": label},
        **{"first": float(rows["first"].mean()), "second": float(rows["second"].mean())},
        **{"difference": float(estimate.mean), "low": float(low), "high": float(high)},
        "n": int((~np.isnan(found.differences)).sum()),
        "better": superiority(found.differences),
        **{"diverged": found.diverged, "gaps": found.gaps},
        **_errors(rows, endpoint, setting.test_items.get(name)),
    }


def _errors(rows: pd.DataFrame, endpoint: Endpoint, items: int | None) -> dict[str, float]:
    """Return the ratio of the error rates with its interval, by way of their logarithms."""
    names = ("errors", "errors_low", "errors_high")
    if endpoint.measure != "accuracy" or not items:
        return dict.fromkeys(names, np.nan)
    one, two = (transform(rows[side].to_numpy(dtype="float64"), "log_error", items=items) for side in SIDES)
    estimate = inference.over_seeds((one - two)[None, :])
    low, high = inference.interval(estimate)
    ratios = back([estimate.mean, high, low], "log_error")  # larger is better, a ratio of errors smaller
    return dict(zip(names, ratios.tolist(), strict=True))


SIDES = ("first", "second")


def _pairing(pairs: pd.DataFrame) -> float:
    """Return the correlation of the two over seeds, over the data sets on which neither has gaps."""
    parts: list[tuple[Floats, Floats]] = []
    for _, _, rows in _each(pairs):
        one, two = (rows[side].to_numpy(dtype="float64") for side in SIDES)
        spread = np.nanstd(np.concatenate([one, two]))
        if not np.isnan(one - two).any() and spread > 0:
            parts.append((one / spread, two / spread))
    if not parts:
        return np.nan
    first, second = (np.stack([part[i] for part in parts]) for i in (0, 1))
    return pairing_gain(first, second)


def _records(first: Arm, second: Arm) -> pd.DataFrame:
    parts = []
    for arm in (first, second):
        for rates, rows in ((COMPARED, arm.records), (BESIDE, arm.beside)):
            if len(rows):
                parts.append(rows.assign(level=arm.name, rates=rates))
    return pd.concat(parts, ignore_index=True)


# What is said


def _show(found: Comparison) -> telling.Show:
    """Show differences in the unit of the one data set, or in smallest effects of several."""
    sets = list(found.setting.smallest)
    whole = len(found.verdict.claim.blocks.differences) > 1
    return telling.in_effects if whole else telling.in_unit(found.setting.endpoints[sets[0]].measure)


def _verdict(found: Comparison) -> list[str]:
    verdict, show = found.verdict, _show(found)
    sets = [_size(name, found.setting) for name in found.setting.smallest]
    said = [
        f"{verdict.word.capitalize()}: {verdict.claim.name} by more than the smallest effect that matters, "
        f"{', '.join(sets)}.",
        telling.numbers(verdict, show),
    ]
    if verdict.word == REFUTED:
        said.append(_other_way(found))
    why = telling.reasons(verdict, show)
    return [*said, why] if why else said


def _size(name: str, setting: Setting) -> str:
    endpoint = setting.endpoints[name]
    size = wording.difference(setting.smallest[name], endpoint.measure)
    return f"{size} of {wording.endpoint_name(endpoint)} on {name} ({wording.better(endpoint)})"


def _other_way(found: Comparison) -> str:
    """Say what else the interval of a refuted claim says; one interval, so no further claim."""
    verdict, size = found.verdict, found.verdict.claim.smallest
    if verdict.high < -size:
        return (
            f"The same interval lies beyond the smallest effect on the other side: {found.second} is better."
        )
    if verdict.low > -size:
        return "The same interval lies within the smallest effect on both sides: no difference that matters."
    return f"Whether {found.second} is better by as much, the interval leaves open."


def _effects(found: Comparison) -> list[str]:
    effects, verdict = found.verdict.effects, found.verdict
    share = f"P({found.first} better) over blocks {effects.superiority:.2f}"
    agree = (
        f"{effects.agreeing} of {wording.count_of(effects.data_sets, 'data set')} with the sign of the mean"
    )
    said = [f"{share}; {agree}."] if effects.superiority == effects.superiority else []
    if verdict.power == verdict.power and verdict.claim.smallest > 0:
        said.append(
            f"With this spread a true difference of the smallest effect is told from none in "
            f"{verdict.power:.0%} of such runs."
        )
    if found.pairing == found.pairing:
        said.append(
            f"Correlation of the two over seeds {found.pairing:z.2f}: pairing multiplies the variance of the "
            f"difference by about {1 - found.pairing:.2f}."
        )
    return [*said, *_ratio(found)]


def _ratio(found: Comparison) -> list[str]:
    rows = found.table[(found.table["rates"] == COMPARED) & found.table["errors_low"].notna()]
    return [
        f"On {row['data']} {found.first} makes {row['errors']:.2f} times the errors of {found.second} "
        f"({row['errors_low']:.2f} to {row['errors_high']:.2f}, 95\N{NO-BREAK SPACE}% t interval of the "
        f"logarithms, {wording.count_of(row['n'], 'seed')})."
        for row in rows.to_dict("records")
    ]


def _choices(found: Comparison) -> list[str]:
    if found.choices.empty:
        return []
    parts = [
        f"{row['hyper-parameter']} {row['value']:.3g} for {row['level']} on {row['data']}"
        for row in found.choices.to_dict("records")
    ]
    return [f"Validation chose {', '.join(parts)}."]


def _limits(found: Comparison) -> list[str]:
    """Say what the numbers hold for: seeds, test items, data sets."""
    setting = found.setting
    sets = "this data set" if len(setting.smallest) == 1 else "these data sets"
    said = [f"It holds for {sets}, this model and this protocol; random are the seeds."]
    for name in setting.smallest:
        said += [_held_out(name, setting)] if name in setting.held_out else _shared(name, found)
    return said


def _held_out(name: str, setting: Setting) -> str:
    text = f"{name} has no official test set: every seed holds out its own part of the samples"
    if not setting.tuned:
        return f"{text}, so that test sets overlap and seeds are less independent than they look."
    return (
        f"{text}, and what is a test sample under one seed helped, under another, to choose the rates. For a "
        "verdict to publish take data with an official test set."
    )


def _shared(name: str, found: Comparison) -> list[str]:
    items, endpoint = found.setting.test_items.get(name), found.setting.endpoints[name]
    rows = found.table[(found.table["name"] == name) & (found.table["rates"] == COMPARED)]
    if not items or endpoint.measure != "accuracy" or rows["second"].isna().all():
        return []
    error = float(accuracy_error(rows["second"].mean(), items))
    return [
        f"The {items:,} test samples of {name} are the same for all seeds: the error that they bring, "
        f"{wording.difference(error, 'accuracy')} of an accuracy, does not shrink with seeds."
    ]


def _shown(found: Comparison) -> pd.DataFrame:
    rows = found.table.to_dict("records")
    measures = [found.setting.endpoints[row["name"]].measure for row in rows]

    def worded(name: str, word: Any) -> list[str]:
        return [
            wording.NO_VALUE if row[name] != row[name] else word(row[name], measure)
            for row, measure in zip(rows, measures, strict=True)
        ]

    compared = "tuned" if found.setting.tuned else "as given"
    shown = pd.DataFrame({"rates": [compared if r["rates"] == COMPARED else r["rates"] for r in rows]})
    shown["data"] = found.table["data"]
    shown[found.first] = worded("first", wording.with_unit)
    shown[found.second] = worded("second", wording.with_unit)
    for name in ("difference", "low", "high"):
        shown[name] = worded(name, wording.difference)
    shown["seeds"] = found.table["n"]
    shown["errors"] = telling.column(found.table["errors"].tolist(), lambda ratio: f"{ratio:.2f}")
    shown["diverged"], shown["gaps"] = found.table["diverged"], found.table["gaps"]
    return shown
