"""What a verdict says, in sentences with numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from recipebench.reports import wording
from recipebench.reports.claims import INCONCLUSIVE, REFUTED, SUPPORTED
from recipebench.reports.language import N_, comma, gettext, listed, ngettext, parts, say, together
from recipebench.reports.registered import Judged, OnData
from recipebench.reports.statistics.inference import MOST_SEEDS, POWER

NONE_REGISTERED = N_(
    "The suite registered no claim: nothing here was put to a registered test, and comparisons of levels "
    "are exploratory."
)
"""What stands in place of verdicts."""

RATIOS = {"log_error": N_("errors × {ratio}"), "log_loss": N_("losses × {ratio}")}
"""Of what a difference on a scale is the ratio."""


def sentences(verdicts: Sequence[Judged]) -> list[str]:
    """Return one sentence that counts the verdicts, then one for each claim; or that there is none."""
    if not verdicts:
        return [gettext(NONE_REGISTERED)]
    return [counted(verdicts), *(sentence(each) for each in verdicts)]


def in_brief(verdicts: Sequence[Judged]) -> list[str]:
    """Return a line that counts the verdicts, and one for each word with its claims."""
    if not verdicts:
        return [gettext(NONE_REGISTERED)]
    found = [counted(verdicts)]
    for word in (SUPPORTED, REFUTED, INCONCLUSIVE):
        mine = [_brief(each) for each in verdicts if each.verdict.word == word]
        found += [say("{verdict}: {claims}.", verdict=_capital(word), claims=parts(mine))] if mine else []
    return found


def _capital(word: str) -> str:
    said = wording.word(word)
    return said[:1].upper() + said[1:]


def _brief(judged: Judged) -> str:
    if math.isnan(judged.verdict.mean):
        return judged.claim.name
    return say(
        "{claim} ({difference}, {interval})",
        claim=judged.claim.name,
        difference=difference(judged),
        interval=ends(judged),
    )


def counted(verdicts: Sequence[Judged]) -> str:
    """Count the verdicts of a family."""
    words = [each.verdict.word for each in verdicts]
    told = listed(
        say("{count} {verdict}", count=words.count(word), verdict=wording.word(word))
        for word in (SUPPORTED, REFUTED, INCONCLUSIVE)
    )
    claims = wording.count_of(len(words), "claim was", "claims were")
    return say("{claims} registered in the suite: {verdicts}.", claims=claims, verdicts=told)


def sentence(judged: Judged) -> str:
    """Tell a verdict: the word, the difference with its adjusted interval, and why it is inconclusive."""
    verdict, claim = judged.verdict, judged.claim
    start = [say("{verdict}: {claim}.", verdict=_capital(verdict.word), claim=claim.name)]
    if (verdict.word, claim.kind) in _MEANS:
        start.append(gettext(_MEANS[verdict.word, claim.kind]))
    if math.isnan(verdict.mean):
        return together([*start, *verdict.reasons])
    values = {
        "difference": difference(judged),
        "level": level(judged),
        "interval": ends(judged),
        "data": places(judged),
    }
    each = [_on(one) for one in judged.on if not math.isnan(one.mean)]
    if each:
        told = say(
            "The difference is {difference} ({level} interval {interval}) on {data}: {each}.",
            **values,
            each=parts(each),
        )
    else:
        told = say("The difference is {difference} ({level} interval {interval}) on {data}.", **values)
    open_still = [*verdict.reasons, unsettled(judged)] if verdict.word == INCONCLUSIVE else []
    return together([*start, told, *open_still])


_MEANS = {
    (REFUTED, "greater"): N_("It is not better by more than the smallest effect."),
    (REFUTED, "equivalent"): N_("They differ by more than the smallest effect."),
    (SUPPORTED, "equivalent"): N_("They differ by less than the smallest effect."),
}


def unsettled(judged: Judged) -> str:
    """Say what the run could have found, and how many seeds would settle the claim."""
    new = judged.claim.scope == "new"
    found = say(
        "In {often} of such runs {detectable} would be found",
        often=f"{100 * POWER:.0f}\N{NO-BREAK SPACE}%",
        detectable=detectable(judged),
    )
    seeds = judged.verdict.to_settle
    if judged.verdict.blocked:
        return say("{found}; more seeds alone would not settle it.", found=found)
    if math.isnan(seeds):
        unknown = (
            N_("{found}; how many data sets would settle it is not known."),
            N_("{found}; how many seeds would settle it is not known."),
        )
        return say(unknown[0] if new else unknown[1], found=found)
    if math.isfinite(seeds):
        of = wording.count_of(int(seeds), "data set") if new else wording.count_of(int(seeds), "seed")
        many = say("about {count}", count=of)
    else:
        of = wording.count_of(MOST_SEEDS, "data set") if new else wording.count_of(MOST_SEEDS, "seed")
        many = say("more than {count}", count=of)
    settled = (
        N_("{found}; were the true difference the one seen, {many} would settle it."),
        N_("{found}; were the true difference the one seen, {many} a data set would settle it."),
    )
    return say(settled[0] if new else settled[1], found=found, many=many)


def detectable(judged: Judged) -> str:
    """Say how large a difference, or how narrow an equivalence, such a run finds."""
    value = judged.verdict.detectable
    if judged.claim.kind == "equivalent":
        return say("equivalence within {amount}", amount=amount(value, judged))
    if judged.relative:
        return say("a difference of {amount} above the smallest effect", amount=amount(value, judged))
    return say("a difference of {amount}", amount=amount(value, judged))


def difference(judged: Judged) -> str:
    """Tell the mean difference."""
    return amount(judged.verdict.mean, judged)


def amount(value: float, judged: Judged) -> str:
    """Tell a difference in smallest effects, or on the scale where these are 0."""
    if math.isinf(value):
        return gettext("no known size")
    if not judged.relative:
        scale = judged.on[0].scale
        if scale not in RATIOS:
            return number(value)
        return say("{number} on the scale {scale}", number=number(value), scale=scale)
    one = ngettext("{count} smallest effect", "{count} smallest effects", 1 if abs(value) == 1 else 2)
    return one.format(count=number(value))


def ends(judged: Judged) -> str:
    """Tell the adjusted interval."""
    low, high = judged.verdict.low, judged.verdict.high
    if math.isnan(low):
        return gettext("not known")
    return say("{low} to {high}", low=number(low), high=number(high))


def level(judged: Judged) -> str:
    """Tell the level of the adjusted interval."""
    return say("adjusted {level}", level=f"{100 * judged.verdict.level:.4g}\N{NO-BREAK SPACE}%")


def number(value: float) -> str:
    """Show a number of smallest effects.

    Example:
        >>> number(3.14159), number(-0.001), number(123.4)
        ('3.14', '0.00', '123')
    """
    if math.isnan(value):
        return wording.NO_VALUE
    if abs(value) >= 1e6:
        return f"{value:.3g}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:z.2f}"


def places(judged: Judged) -> str:
    """Name the data sets of a claim."""
    names = [each.data for each in judged.on]
    return names[0] if len(names) == 1 else gettext(" and ").join([listed(names[:-1]), names[-1]])


def ratio(each: OnData) -> str:
    """Tell the ratio of errors or losses, or nothing."""
    if each.scale not in RATIOS or math.isnan(each.ratio):
        return ""
    return say(RATIOS[each.scale], ratio=f"{each.ratio:.3g}")


def _on(each: OnData) -> str:
    smallest = say("smallest effect {size}", size=wording.difference(each.smallest, each.measure))
    known = ratio(each)
    better, worse = N_("{data} {size} better ({notes})"), N_("{data} {size} worse ({notes})")
    return say(
        better if each.mean >= 0 else worse,
        data=each.data,
        size=wording.difference(abs(each.mean), each.measure),
        notes=comma(known, smallest) if known else smallest,
    )
