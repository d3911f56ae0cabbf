"""What a verdict says, in sentences with numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from recipebench.reports import wording
from recipebench.reports.claims import INCONCLUSIVE, REFUTED, SUPPORTED
from recipebench.reports.registered import Judged, OnData
from recipebench.reports.statistics.inference import MOST_SEEDS, POWER

NONE_REGISTERED = (
    "The suite registered no claim: nothing here was put to a registered test, and comparisons of levels "
    "are exploratory."
)
"""What stands in place of verdicts."""

RATIOS = {"log_error": "errors", "log_loss": "losses"}
"""Of what a difference on a scale is the ratio."""

_EFFECT = "smallest effect"


def sentences(verdicts: Sequence[Judged]) -> list[str]:
    """Return one sentence that counts the verdicts, then one for each claim; or that there is none."""
    if not verdicts:
        return [NONE_REGISTERED]
    return [counted(verdicts), *(sentence(each) for each in verdicts)]


def in_brief(verdicts: Sequence[Judged]) -> list[str]:
    """Return a line that counts the verdicts, and one for each word with its claims."""
    if not verdicts:
        return [NONE_REGISTERED]
    found = [counted(verdicts)]
    for word in (SUPPORTED, REFUTED, INCONCLUSIVE):
        mine = [_brief(each) for each in verdicts if each.verdict.word == word]
        found += [f"{word.capitalize()}: {'; '.join(mine)}."] if mine else []
    return found


def _brief(judged: Judged) -> str:
    known = "" if math.isnan(judged.verdict.mean) else f" ({difference(judged)}, {ends(judged)})"
    return f"{judged.claim.name}{known}"


def counted(verdicts: Sequence[Judged]) -> str:
    """Count the verdicts of a family."""
    words = [each.verdict.word for each in verdicts]
    parts = [f"{words.count(word)} {word}" for word in (SUPPORTED, REFUTED, INCONCLUSIVE)]
    claims = wording.count_of(len(words), "claim was", "claims were")
    return f"{claims} registered in the suite: {', '.join(parts)}."


def sentence(judged: Judged) -> str:
    """Tell a verdict: the word, the difference with its adjusted interval, and why it is inconclusive."""
    verdict, claim = judged.verdict, judged.claim
    start = f"{verdict.word.capitalize()}: {claim.name}.{_MEANS.get((verdict.word, claim.kind), '')}"
    if math.isnan(verdict.mean):
        return " ".join([start, *verdict.reasons])
    told = f"{difference(judged)} ({level(judged)} interval {ends(judged)})"
    told = f"The difference is {told} on {places(judged)}"
    each = [_on(one) for one in judged.on if not math.isnan(one.mean)]
    parts = [start, f"{told}: {'; '.join(each)}." if each else f"{told}."]
    if verdict.word == INCONCLUSIVE:
        parts += [*verdict.reasons, unsettled(judged)]
    return " ".join(parts)


_MEANS = {
    (REFUTED, "greater"): " It is not better by more than the smallest effect.",
    (REFUTED, "equivalent"): " They differ by more than the smallest effect.",
    (SUPPORTED, "equivalent"): " They differ by less than the smallest effect.",
}


def unsettled(judged: Judged) -> str:
    """Say what the run could have found, and how many seeds would settle the claim."""
    of = "data set" if judged.claim.scope == "new" else "seed"
    often = f"{100 * POWER:.0f}\N{NO-BREAK SPACE}%"
    found = f"In {often} of such runs {detectable(judged)} would be found"
    seeds = judged.verdict.to_settle
    if math.isnan(seeds):
        return f"{found}; how many {of}s would settle it is not known."
    each = "" if of == "data set" else " a data set"
    many = (
        f"about {wording.count_of(int(seeds), of)}"
        if math.isfinite(seeds)
        else f"more than {MOST_SEEDS:,} {of}s"
    )
    return f"{found}; were the true difference the one seen, {many}{each} would settle it."


def detectable(judged: Judged) -> str:
    """Say how large a difference, or how narrow an equivalence, such a run finds."""
    value = judged.verdict.detectable
    if judged.claim.kind == "equivalent":
        return f"equivalence within {amount(value, judged)}"
    above = f" above the {_EFFECT}" if judged.relative else ""
    return f"a difference of {amount(value, judged)}{above}"


def difference(judged: Judged) -> str:
    """Tell the mean difference."""
    return amount(judged.verdict.mean, judged)


def amount(value: float, judged: Judged) -> str:
    """Tell a difference in smallest effects, or on the scale where these are 0."""
    if math.isinf(value):
        return "no known size"
    if not judged.relative:
        scale = judged.on[0].scale
        return f"{number(value)} on the scale {scale}" if scale in RATIOS else number(value)
    return f"{number(value)} smallest effect{'' if abs(value) == 1 else 's'}"


def ends(judged: Judged) -> str:
    """Tell the adjusted interval."""
    low, high = judged.verdict.low, judged.verdict.high
    return "not known" if math.isnan(low) else f"{number(low)} to {number(high)}"


def level(judged: Judged) -> str:
    """Tell the level of the adjusted interval."""
    return f"adjusted {100 * judged.verdict.level:.4g}\N{NO-BREAK SPACE}%"


def number(value: float) -> str:
    """Show a number of smallest effects.

    Example:
        >>> number(3.14159), number(-0.04), number(123.4)
        ('3.14', '-0.04', '123')
    """
    if math.isnan(value):
        return wording.NO_VALUE
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"


def places(judged: Judged) -> str:
    """Name the data sets of a claim."""
    names = [each.data for each in judged.on]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def ratio(each: OnData) -> str:
    """Tell the ratio of errors or losses, or nothing."""
    if each.scale not in RATIOS or math.isnan(each.ratio):
        return ""
    return f"{RATIOS[each.scale]} × {each.ratio:.3g}"


def _on(each: OnData) -> str:
    better = "better" if each.mean >= 0 else "worse"
    size = wording.difference(abs(each.mean), each.measure)
    small = wording.difference(each.smallest, each.measure)
    told = [part for part in (ratio(each), f"{_EFFECT} {small}") if part]
    return f"{each.data} {size} {better} ({', '.join(told)})"
