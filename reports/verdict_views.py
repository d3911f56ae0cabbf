"""The tables of verdicts: one row a claim, and the effects behind it, one row a data set."""

from __future__ import annotations

import math

from recipebench.reports import verdict_words as words
from recipebench.reports import wording
from recipebench.reports.contents import Contents
from recipebench.reports.language import gettext, listed, parts, say
from recipebench.reports.registered import Judged, OnData
from recipebench.reports.statistics.inference import POWER
from recipebench.reports.suite_info import KINDS, OF, SCOPES
from recipebench.reports.views import Group, Row, View, sortable, view

SOURCE = "Welch 1947, Satterthwaite 1946; Holm 1979; Dunn 1961"


def verdicts(contents: Contents) -> View:
    """Show the verdict of every registered claim."""
    family = contents.verdicts
    rows = [_verdict_row(place, judged) for place, judged in enumerate(family, start=1)]
    count = wording.count_of(len(family), "claim")
    caption = say(
        "The {claims} that the suite registered, one family ({level} intervals, Bonferroni; p by Holm). "
        "Differences are in smallest effects (on the scale itself where these are 0), positive where the "
        "first level is better. Supported: the interval lies above 1 (equivalent: inside ±1); refuted: "
        "below it (outside). n blocks, one a data set and seed, averaged over all other factors first; data "
        "sets are strata ({source}). Power: to tell a true difference of one smallest effect from none, "
        "with the spread of this run. Detectable: what would be found, above the smallest effect, in "
        "{often} of such runs. Seeds: of each data set, with which the difference that was seen would "
        "settle the claim.",
        claims=count,
        level=words.level(family[0]),
        source=SOURCE,
        often=f"{100 * POWER:.0f}\N{NO-BREAK SPACE}%",
    )
    texts = ["#", gettext("claim"), gettext("verdict"), gettext("about")]
    numbers = [gettext("difference"), gettext("interval"), gettext("p, Holm"), "n", gettext("power")]
    numbers += [gettext("detectable"), gettext("seeds to settle")]
    return view("verdicts", caption, texts, numbers, [Group("", rows)])


def effects(contents: Contents) -> View:
    """Show the effect sizes of every claim on every data set."""
    groups = [
        Group(f"{place}. {judged.claim.name}", [_effect_row(each) for each in judged.on])
        for place, judged in enumerate(contents.verdicts, start=1)
    ]
    caption = say(
        "Effects behind the verdicts, one row a data set, in the unit of its endpoint and positive where the "
        "first level is better; intervals at the level of the verdicts. Ratio: errors or losses of the first "
        "level over those of the second, where the suite declares a reference; there the logarithm of the "
        "ratio is what is tested. P: share of blocks in which the first is better, ties by half. Pairing: "
        "correlation of the two levels over seeds; near 0 pairing gains nothing. Test set: standard error of "
        "an accuracy by its test samples alone, which more seeds do not shrink and no interval here holds. "
        "n blocks; {source}.",
        source=SOURCE,
    )
    numbers = [gettext("smallest effect"), gettext("difference"), gettext("interval"), gettext("ratio")]
    numbers += [gettext("its interval"), "P", gettext("pairing"), gettext("test set")]
    return view("effects", caption, [gettext("data"), gettext("compared")], [*numbers, "n"], groups)


def agreement(judged: Judged) -> str:
    """Tell on how many data sets the difference has one sign, and how much of it is a matter of the data."""
    found = judged.verdict.effects
    if found.data_sets < 2:
        return ""
    agree = say("{agreeing} of {sets} data sets agree in sign", agreeing=found.agreeing, sets=found.data_sets)
    if math.isnan(found.interaction):
        return agree
    return parts([agree, say("interaction share {share}", share=f"{found.interaction:.2f}")])


def _verdict_row(place: int, judged: Judged) -> Row:
    verdict, claim = judged.verdict, judged.claim
    blocks = sum(each.blocks for each in judged.on)
    texts = [str(place), claim.name, wording.word(verdict.word), _about(judged)]
    shown = [
        words.number(verdict.mean),
        words.ends(judged),
        _p(verdict.p_holm),
        str(blocks),
        wording.NO_VALUE if math.isnan(verdict.power) or not judged.relative else f"{verdict.power:.2f}",
        words.number(verdict.detectable) if math.isfinite(verdict.detectable) else wording.NO_VALUE,
        _seeds(verdict.to_settle),
    ]
    sorts = [verdict.mean, verdict.low, verdict.p_holm, blocks, verdict.power, verdict.detectable]
    values = [float(place), None, None, None, *map(sortable, sorts), sortable(verdict.to_settle)]
    return Row([*texts, *shown], [v if v is None or math.isfinite(v) else None for v in values])


def _about(judged: Judged) -> str:
    told = [words.places(judged)]
    if judged.claim.scope != "these":
        told.append(gettext(SCOPES[judged.claim.scope]))
    if judged.claim.kind != "greater":
        told.append(gettext(KINDS[judged.claim.kind]))
    if judged.claim.of != "average":
        told.append(gettext(OF[judged.claim.of]))
    return parts([*told, agreement(judged), _left_out(judged)])


def _left_out(judged: Judged) -> str:
    blocks = judged.verdict.claim.blocks
    told = []
    if blocks.diverged:
        told.append(say("{pairs} with a diverged cell", pairs=wording.count_of(blocks.diverged, "pair")))
    if judged.unpaired:
        told.append(say("{cells} without a counterpart", cells=wording.count_of(judged.unpaired, "cell")))
    return listed(told)


def _effect_row(each: OnData) -> Row:
    known = not math.isnan(each.mean)
    has_ratio = known and not math.isnan(each.ratio)
    sides = list(filter(None, (each.first, each.second)))
    compared = gettext(" against ").join(sides) if sides else gettext("averages")
    shown = [
        wording.difference(each.smallest, each.measure),
        wording.difference(each.mean, each.measure) if known else wording.NO_VALUE,
        wording.interval(each.low, each.high, each.measure),
        f"{each.ratio:.3g}" if has_ratio else wording.NO_VALUE,
        say("{low} to {high}", low=f"{each.ratio_low:.3g}", high=f"{each.ratio_high:.3g}")
        if has_ratio
        else wording.NO_VALUE,
        words.number(each.superiority),
        words.number(each.correlation),
        wording.NO_VALUE
        if math.isnan(each.test_error)
        else wording.difference(each.test_error, each.measure),
        str(each.blocks),
    ]
    sorts = [each.smallest, each.mean, each.low, each.ratio, each.ratio_low, each.superiority]
    values = [*sorts, each.correlation, each.test_error, each.blocks]
    return Row([each.data, compared, *shown], [None, None, *map(sortable, values)])


def _p(value: float) -> str:
    if math.isnan(value):
        return wording.NO_VALUE
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _seeds(value: float) -> str:
    if math.isnan(value):
        return wording.NO_VALUE
    return wording.count(value) if math.isfinite(value) else "> 10,000"
