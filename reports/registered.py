"""The registered claims of a suite on its cells: blocks and scales, verdicts, and what stands beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from recipebench.levels import Choice, Tuned, Value
from recipebench.reports.choice import best_within
from recipebench.reports.claims import Claim, Verdict, judge
from recipebench.reports.frames import Levels, Named, factors, reported, text_of
from recipebench.reports.pairs import Pairs, pairs
from recipebench.reports.statistics import effects, inference, scales
from recipebench.reports.statistics.inference import Blocks, Floats
from recipebench.reports.suite_info import RegisteredClaim, SuiteInfo

FIRST, SECOND = "first", "second"

_PARTNER = "what is paired"
"""The column that pairs levels that differ in one hyper-parameter."""


class OnData(NamedTuple):
    """What a claim's blocks say on one data set.

    Args:
        data: its label.
        name: its name in the suite.
        measure: what its endpoint measures.
        items: number of its test samples; infinite where it has none.
        scale: on which the levels are compared (`scales.SCALES`).
        smallest: the smallest effect, in the endpoint's unit.
        unit: the same on the scale; 1 where it is 0.
        mean: difference in the endpoint's unit, positive where the first side is better.
        low: lower end of its interval, at the level of the verdict.
        high: upper end.
        ratio: the difference on the scale as it is told, an error or loss ratio; NaN without such a scale.
        ratio_low: the end of its interval that is better for the first side.
        ratio_high: the other end.
        superiority: P(first > second) over its blocks.
        correlation: of the two sides over seeds, the gain of pairing.
        blocks: number of blocks.
        test_error: standard error of the second side's accuracy by the test samples; NaN for other scores.
        first: the recipe that stands for the first side, where the best one does.
        second: likewise.
    """

    data: str
    name: str
    measure: str
    items: float
    scale: str
    smallest: float
    unit: float
    mean: float = np.nan
    low: float = np.nan
    high: float = np.nan
    ratio: float = np.nan
    ratio_low: float = np.nan
    ratio_high: float = np.nan
    superiority: float = np.nan
    correlation: float = np.nan
    blocks: int = 0
    test_error: float = np.nan
    first: str = ""
    second: str = ""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A registered claim with its verdict.

    Args:
        claim: as the suite registered it.
        verdict: whose differences are in smallest effects, or on the scale where these are 0.
        relative: whether they are in smallest effects.
        on: one entry a data set.
        unpaired: cells of either side that have no counterpart, and are left out.
    """

    claim: RegisteredClaim
    verdict: Verdict
    relative: bool
    on: tuple[OnData, ...]
    unpaired: int


class Material(NamedTuple):
    """What a claim is judged by.

    Args:
        data: labels of its data sets.
        pairs: scores of the two sides; None where no cell has a counterpart.
        blocks: differences in smallest effects (or on the scale, where they are 0).
        on: what is known of each data set before its blocks are looked at.
        relative: whether differences are in smallest effects.
    """

    data: tuple[str, ...]
    pairs: Pairs | None
    blocks: Blocks
    on: tuple[OnData, ...]
    relative: bool


def judged(cells: pd.DataFrame, suite: SuiteInfo, levels: Levels) -> list[Judged]:
    """Judge all registered claims of a suite as one family.

    Args:
        cells: all cells, trials among them.
        suite: its claims, smallest effects, references and endpoints.
        levels: what labels stand for, by column: those that claims name, and `data`.

    Returns:
        One entry a claim, in order.
    """
    known = [material(cells, suite, claim, levels) for claim in suite.claims]
    smallest = [1.0 if each.relative else 0.0 for each in known]
    verdicts = judge(
        [
            Claim(name=c.name, blocks=m.blocks, smallest=s, kind=c.kind, scope=c.scope)
            for c, m, s in zip(suite.claims, known, smallest, strict=True)
        ]
    )
    return [
        Judged(
            claim=claim,
            verdict=verdict,
            relative=each.relative,
            on=tuple(_on_data(each, i, suite, verdict.level) for i in range(len(each.data))),
            unpaired=each.pairs.unpaired if each.pairs else 0,
        )
        for claim, each, verdict in zip(suite.claims, known, verdicts, strict=True)
    ]


def material(cells: pd.DataFrame, suite: SuiteInfo, claim: RegisteredClaim, levels: Levels) -> Material:
    """Pair the cells of the two sides of a claim and take their differences, one a block.

    Every data set has its own scale and smallest effect; differences are divided by the latter, so that 1
    is the smallest effect that matters everywhere. A data set without a pair has no block.

    Args:
        cells: all cells, trials among them.
        suite: as in `judged`.
        claim: of the suite.
        levels: as in `judged`.
    """
    data = _data_labels(claim, levels)
    on = [_known(label, choice.name, suite) for label, choice in data.items()]
    here = _sides(cells, claim, list(data), levels)
    chosen: dict[tuple[str, str], str] = {}
    if claim.of == "best":
        here, chosen = best_within(here, claim.factor, suite)
    told = {side: set(here.loc[here[claim.factor] == side, "data"]) for side in (FIRST, SECOND)}
    paired = _paired(here, claim, on) if told[FIRST] & told[SECOND] else None
    relative = all(each.smallest > 0 for each in on)
    blocks = _blocks(paired, on, len(suite.seeds))
    blocks = inference.relative(blocks, [each.unit for each in on]) if relative else blocks
    lost = max(suite.planned - len(cells), 0)  # planned, but not even a row says so: nobody knows whose
    on = [
        each._replace(first=chosen.get((each.data, FIRST), ""), second=chosen.get((each.data, SECOND), ""))
        for each in on
    ]
    return Material(
        data=tuple(data),
        pairs=paired,
        blocks=blocks._replace(gaps=blocks.gaps + lost, pairs=blocks.pairs + lost),
        on=tuple(on),
        relative=relative,
    )


def table(verdicts: Sequence[Judged]) -> pd.DataFrame:
    """Return all numbers of the verdicts, one row a claim and data set."""
    rows = []
    for judged in verdicts:
        claim, found = judged.claim, judged.verdict
        told: dict[str, object] = {
            "claim": claim.name,
            "kind": claim.kind,
            "scope": claim.scope,
            "of": claim.of,
        }
        told |= {"verdict": found.word, "reasons": " ".join(found.reasons), "relative": judged.relative}
        names = ("mean", "low", "high", "level", "freedom", "p", "p_holm", "detectable", "to_settle", "power")
        told |= {name: getattr(found, name) for name in names}
        sizes = found.effects._asdict()
        del sizes["correlation"]  # stands beside every data set
        told |= {f"effect_{name}": value for name, value in sizes.items()}
        told |= {name: getattr(found.claim.blocks, name) for name in ("pairs", "gaps", "diverged")}
        told["unpaired"] = judged.unpaired
        rows += [told | {f"on_{name}": value for name, value in on._asdict().items()} for on in judged.on]
    return pd.DataFrame(rows)


def _known(label: str, name: str, suite: SuiteInfo) -> OnData:
    """Put the smallest effect of a data set on its scale, at its reference."""
    smallest = suite.smallest_effect.get(name, 0.0)
    if name not in suite.endpoints:  # left out of the plan: it has no block
        return OnData(label, name, "", np.inf, "raw", smallest, smallest or 1.0)
    scale, measure = suite.scale(name), suite.endpoints[name].measure
    items = float(suite.items.get(name, np.inf))
    unit = smallest
    if scale not in ("raw", "lower"):
        unit = scales.on_scale(smallest, suite.reference[name], scale)
    return OnData(label, name, measure, items, scale, smallest, unit or 1.0)


def _data_labels(claim: RegisteredClaim, levels: Levels) -> dict[str, Choice]:
    """Return the labels of a claim's data sets; its name where the records lack one."""
    found: dict[str, Choice] = {}
    for choice in claim.data:
        labels = [label for label, level in levels["data"].items() if _is(level, choice)]
        found |= dict.fromkeys(labels or [choice.name], choice)
    return found


def _sides(cells: pd.DataFrame, claim: RegisteredClaim, data: list[str], levels: Levels) -> pd.DataFrame:
    """Return the cells of a claim; the level of each is its side, and `_PARTNER` what it is paired by."""
    here = cells["data"].isin(data)
    names = factors(cells)
    for axis, wanted in claim.where.items():
        column = axis.partition(".")[0]
        if column in names:  # a part of the protocol that is the same everywhere is no column
            here &= cells[column].isin(_labels(levels, column, wanted))
    kept = cells[here]
    side = pd.Series(None, index=kept.index, dtype=object)
    if claim.factor in names:
        for name, wanted in ((FIRST, claim.first), (SECOND, claim.second)):
            side[kept[claim.factor].isin(_labels(levels, claim.factor, wanted))] = name
    partner = kept[claim.factor].map(_partners(claim, levels)) if "." in claim.axis else None
    more = {} if partner is None else {_PARTNER: pd.Categorical(partner.astype(object), ordered=True)}
    sides = pd.Categorical(side, categories=[FIRST, SECOND], ordered=True)
    kept = kept.assign(**{claim.factor: sides, **more})
    return kept[kept[claim.factor].notna()]


def _partners(claim: RegisteredClaim, levels: Levels) -> dict[str, str]:
    """Tell, for each label of a factor, what else it is than its value of the claim's hyper-parameter."""
    factor, _, name = claim.axis.partition(".")
    found = {}
    for label, level in levels.get(factor, {}).items():
        rest = sorted((key, str(value)) for key, value in level.parameters.items() if key != name)
        found[label] = repr((level.name, level.tuned, rest))
    return found


def _labels(levels: Levels, column: str, wanted: Sequence[Choice | Value]) -> list[str]:
    """Return the labels of planned levels, or of values, in a column."""
    choices = [level for level in wanted if isinstance(level, Choice)]
    found = [
        label
        for label, level in levels.get(column, {}).items()
        if any(_is(level, choice) for choice in choices)
    ]
    return found + [text_of(value) for value in wanted if not isinstance(value, Choice)]


def _is(level: Named, choice: Choice) -> bool:
    """Whether a level of the records is a planned one; a hyper-parameter without a column tells nothing."""
    tuned = choice.tuned if isinstance(choice, Tuned) else ""
    if (level.name, level.tuned) != (choice.name, tuned):
        return False
    pairs = ((level.parameters[k], v) for k, v in choice.parameters.items() if k in level.parameters)
    return all(_plain(one) == _plain(two) for one, two in pairs)


def _plain(value: object) -> object:
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else value


def _paired(here: pd.DataFrame, claim: RegisteredClaim, on: Sequence[OnData]) -> Pairs | None:
    """Pair the sides; None where no cell has a counterpart. A loss of 0 has no logarithm, and is a gap."""
    rows = reported(here)
    log = [each.data for each in on if each.scale == "log_loss"]
    rows = rows.assign(score=rows["score"].mask(rows["data"].isin(log) & (rows["score"] <= 0)))
    keys = ["data", "seed", *(name for name in factors(rows) if name != claim.factor)]
    one, two = (rows.loc[rows[claim.factor] == side, keys] for side in (FIRST, SECOND))
    return pairs(rows, claim.factor, FIRST, SECOND) if len(one.merge(two, on=keys)) else None


def _blocks(paired: Pairs | None, on: Sequence[OnData], seeds: int) -> Blocks:
    """Return block differences on the scales, one row for each data set of the claim."""
    if paired is None:
        nothing = np.full((len(on), max(seeds, 1)), np.nan)
        return Blocks(nothing, nothing, 0, 0, 0)
    known = {each.data: each for each in on}
    found = _on_scale(paired, known)
    return found._replace(
        differences=_rows(found.differences, paired.data, on),
        without_diverged=_rows(found.without_diverged, paired.data, on),
    )


def _on_scale(paired: Pairs, known: Mapping[str, OnData]) -> Blocks:
    items = {label: known[label].items for label in paired.data}
    return paired.blocks({label: known[label].scale for label in paired.data}, items)


def _rows(values: Floats, data: Sequence[str], on: Sequence[OnData]) -> Floats:
    """Put the rows of the data sets that have pairs where the claim has these data sets."""
    found = np.full((len(on), values.shape[1]), np.nan)
    for i, each in enumerate(on):
        if each.data in data:
            found[i] = values[list(data).index(each.data)]
    return found


def _on_data(known: Material, place: int, suite: SuiteInfo, level: float) -> OnData:
    """Tell what the blocks of one data set say, in the endpoint's unit and as a ratio."""
    each = known.on[place]
    if known.pairs is None or each.data not in known.pairs.data:
        return each
    i = known.pairs.data.index(each.data)
    one, two = known.pairs.first[i], known.pairs.second[i]
    sign = 1.0 if suite.endpoints[each.name].direction == "higher" else -1.0
    raw = inference.block_differences(
        sign * one[None], sign * two[None], planned=known.pairs.planned[i][None]
    )
    mean, low, high = _interval(raw.differences, level)
    ratio = (np.nan, np.nan, np.nan)
    scaled = known.blocks.differences[place] * (each.unit if known.relative else 1.0)
    if each.scale in ("log_error", "log_loss"):
        ratio = tuple(scales.back(_interval(scaled[None], level), each.scale).tolist())
    means = [_block_means(side) for side in (one, two)]
    both = ~np.isnan(means[0] + means[1])
    share = each.measure == "accuracy" and np.isfinite(each.items) and both.any()
    return each._replace(
        mean=mean,
        low=low,
        high=high,
        ratio=ratio[0],
        ratio_low=ratio[2],
        ratio_high=ratio[1],
        superiority=effects.superiority(scaled),
        correlation=effects.pairing_gain(*(m[both][None] for m in means)) if both.any() else np.nan,
        blocks=int((~np.isnan(scaled)).sum()),
        test_error=float(effects.accuracy_error(means[1][both].mean(), int(each.items))) if share else np.nan,
    )


def _interval(differences: Floats, level: float) -> tuple[float, float, float]:
    """Return mean and ends over the blocks of one data set."""
    found = inference.over_seeds(differences)
    low, high = inference.interval(found, level)
    return float(found.mean), float(low), float(high)


def _block_means(scores: Floats) -> Floats:
    """Mean over the others (last axis) of what is known."""
    there = ~np.isnan(scores)
    n = there.sum(axis=-1)
    return np.asarray(np.where(there, scores, 0.0).sum(axis=-1) / np.where(n > 0, n, np.nan))
