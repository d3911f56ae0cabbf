"""Registered claims and their verdicts: supported, refuted or inconclusive, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recipebench.errors import RequestError, unknown
from recipebench.reports.language import N_, gettext, say
from recipebench.reports.statistics import families, inference
from recipebench.reports.statistics.effects import Effects, effects
from recipebench.reports.statistics.inference import Blocks, Estimate, Floats
from recipebench.reports.suite_info import KINDS, SCOPES
from recipebench.reports.wording import word

SUPPORTED, REFUTED, INCONCLUSIVE = "supported", "refuted", "inconclusive"
WORDS = {1: SUPPORTED, -1: REFUTED, 0: INCONCLUSIVE}

FEWEST_DATA_SETS = 6
"""With fewer, a claim about new data sets is inconclusive by rule."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim fixed before the run, and the blocks that decide it.

    Args:
        name: as it is told, for example `adam > sgd`.
        blocks: differences, positive where the claim's first level is better.
        smallest: the smallest effect that matters, at least 0, in the unit of the differences; above 0
            for `equivalent`.
        kind: of `suite_info.KINDS`.
        scope: of `suite_info.SCOPES`.

    Raises:
        RequestError: kind or scope is not known, or `smallest` is out of range.
    """

    name: str
    blocks: Blocks
    smallest: float
    kind: str = "greater"
    scope: str = "these"

    def __post_init__(self) -> None:
        for what, got, known in (("kind", self.kind, KINDS), ("scope", self.scope, SCOPES)):
            if got not in known:
                raise RequestError(unknown(what, got, known))
        if self.smallest < 0 or (self.kind == "equivalent" and not self.smallest > 0):
            raise RequestError(
                f"{self.name}: expected a smallest effect of at least 0, above 0 for equivalence,"
                f" got {self.smallest}."
            )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a run says of a claim.

    Args:
        claim: that is judged.
        word: `supported`, `refuted` or `inconclusive`.
        reasons: why it is inconclusive, in sentences; empty for the other two.
        blocked: whether gaps, diverged cells or a flip of the sign make it so: more seeds alone do not help.
        mean: mean difference.
        low: lower end of the adjusted interval.
        high: upper end of the adjusted interval.
        level: of the interval, 1 - alpha / claims.
        freedom: degrees of freedom of the interval.
        p: raw p-value: two-sided of difference = smallest, or of the two one-sided tests.
        p_holm: Holm's, at the freedom of the adjusted interval.
        detectable: minimum detectable effect, above `smallest`, or for `equivalent` the smallest margin
            that could be shown if there were no difference; infinite where no error is known.
        to_settle: seeds a data set (data sets, for the scope `new`) with which the observed difference
            would settle the claim in four of five runs; infinite above 10,000; NaN where unknown.
        power: probability to tell a true difference of `smallest` from 0, with the spread of this run.
        effects: effect sizes.
        note: method and family.
    """

    claim: Claim
    word: str
    reasons: tuple[str, ...]
    blocked: bool
    mean: float
    low: float
    high: float
    level: float
    freedom: float
    p: float
    p_holm: float
    detectable: float
    to_settle: float
    power: float
    effects: Effects
    note: str = f"{inference.METHOD}; {families.REGISTERED}"


def decide(low: ArrayLike, high: ArrayLike, smallest: float, kind: str = "greater") -> NDArray[np.int8]:
    """Return 1 for supported, -1 for refuted, 0 for inconclusive; NaN ends are inconclusive.

    greater: 1 if low > smallest, -1 if high < smallest. equivalent: 1 if -smallest < low and
    high < smallest, -1 if the interval lies outside of ±smallest.

    Args:
        low: lower ends of the adjusted intervals, any shape; of the narrower interval for `equivalent`
            and 1, see `judge`.
        high: upper ends.
        smallest: smallest effect that matters.
        kind: of `suite_info.KINDS`.

    Example:
        >>> decide([0.3, -0.1, 0.1], [0.5, 0.1, 0.3], 0.2).tolist()
        [1, -1, 0]
    """
    below, above = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    if kind == "equivalent":
        yes, no = (below > -smallest) & (above < smallest), (below > smallest) | (above < -smallest)
    else:
        yes, no = below > smallest, above < smallest
    return (yes.astype(np.int8) - no.astype(np.int8)).astype(np.int8)


def judge(claims: Sequence[Claim], alpha: float = 0.05) -> list[Verdict]:
    """Judge all registered claims of a suite as one family.

    The adjusted interval decides (`decide`), then the rules of validity, each of which can only turn a
    verdict into `inconclusive`: gaps; fewer than six data sets for `new`; blocks that differ without any
    spread; another verdict once the pairs with a diverged cell are dropped; a sign that flips between
    data sets, where the mean of one of them speaks against the verdict: below 0 for a difference that is
    supported, beyond the smallest effect for the other verdicts.

    Equivalence is supported by two one-sided tests at alpha / claims, an interval of level
    1 - 2 alpha / claims.

    Args:
        claims: all that the suite registered, those with gaps too: each counts in the family.
        alpha: error of the family.

    Returns:
        One verdict a claim, in order.

    References:
        Demšar, JMLR 7 (2006), 3.2.2 (families); Schuirmann (1987).
    """
    if not claims:
        return []
    level = families.bonferroni(len(claims), alpha)
    raw = [_estimate(claim, claim.blocks.differences) for claim in claims]
    bounds = _freedoms(claims)
    adjusted = [inference.at_most(e, f) for e, f in zip(raw, bounds, strict=True)]
    p_holm = families.holm([_p(c, e) for c, e in zip(claims, adjusted, strict=True)])
    return [_verdict(*one, level) for one in zip(claims, raw, adjusted, bounds, p_holm.tolist(), strict=True)]


def _verdict(
    claim: Claim, raw: Estimate, adjusted: Estimate, bound: float, p_holm: float, level: float
) -> Verdict:
    code = _code(claim, adjusted, level)
    reasons, blocked = _reasons(claim, adjusted, bound, level, code)
    low, high = inference.interval(adjusted, level)
    found = 0 if reasons else code
    if found == 0 and not reasons:
        reasons = (gettext(_NOT_ON_ONE_SIDE[claim.kind]),)
    return Verdict(
        claim=claim,
        word=WORDS[found],
        reasons=reasons,
        blocked=blocked,
        mean=float(raw.mean),
        low=float(low),
        high=float(high),
        level=level,
        freedom=float(adjusted.freedom),
        p=float(_p(claim, raw)),
        p_holm=float(p_holm),
        detectable=_detectable(claim, adjusted, level),
        to_settle=_to_settle(claim, raw, level),
        power=float(inference.power(claim.smallest, adjusted, level)),
        effects=effects(claim.blocks.differences),
    )


_NOT_ON_ONE_SIDE = {
    "greater": N_("The interval reaches to both sides of the smallest effect."),
    "equivalent": N_("The interval lies neither inside nor outside of the smallest effect."),
}


def _estimate(claim: Claim, differences: Floats) -> Estimate:
    of = inference.over_seeds if claim.scope == "these" else inference.over_data_sets
    return of(differences)


def _p(claim: Claim, estimate: Estimate) -> float:
    if claim.kind == "equivalent":
        return float(inference.equivalence_p(estimate, claim.smallest))
    return float(inference.p_values(estimate, claim.smallest))


def _code(claim: Claim, estimate: Estimate, level: float) -> int:
    found = decide(*inference.interval(estimate, level), claim.smallest, claim.kind)
    if claim.kind == "equivalent" and found == 0:
        inside = decide(*inference.interval(estimate, 2 * level - 1), claim.smallest, claim.kind)
        found = np.maximum(inside, 0)
    return int(found)


def _freedoms(claims: Sequence[Claim]) -> list[float]:
    """For each claim on its data sets, what the spreads of all claims of equal shape allow."""
    bounds = [np.nan] * len(claims)
    shapes = {claim.blocks.differences.shape for claim in claims}
    for shape in shapes:
        where = [
            i for i, c in enumerate(claims) if c.blocks.differences.shape == shape and c.scope == "these"
        ]
        if len(where) > 1 and shape[0] > 1:
            found = inference.family_freedom(np.stack([claims[i].blocks.differences for i in where]))
            for i, value in zip(where, found.tolist(), strict=True):
                bounds[i] = value
    return bounds


def _reasons(
    claim: Claim, estimate: Estimate, bound: float, level: float, code: int
) -> tuple[tuple[str, ...], bool]:
    """Say what bars a verdict, and whether that is something that more seeds alone do not help."""
    gaps, lacking = _gaps(claim), [_few_data_sets(claim), _no_error(claim, estimate)]
    taken = []
    if code != 0 and not any([gaps, *lacking]):
        taken = [_diverged(claim, bound, level, code), _flip(claim, code)]
    return tuple(filter(None, [gaps, *lacking, *taken])), any([gaps, *taken])


def _gaps(claim: Claim) -> str:
    gaps, pairs = claim.blocks.gaps, claim.blocks.pairs
    return say("Gaps: {gaps} of {pairs} pairs have no score.", gaps=gaps, pairs=pairs) if gaps else ""


def _few_data_sets(claim: Claim) -> str:
    n = len(claim.blocks.differences)
    if claim.scope != "new" or n >= FEWEST_DATA_SETS:
        return ""
    return say("New data sets: {count} data sets are fewer than {fewest}.", count=n, fewest=FEWEST_DATA_SETS)


def _no_error(claim: Claim, estimate: Estimate) -> str:
    if np.isnan(estimate.mean):
        return gettext("A data set has no block.")
    if np.isnan(estimate.error):
        told = gettext("One block a data set has no spread: at least 2 are needed.")
        return told if claim.scope == "these" else ""
    if estimate.error == 0 and estimate.mean != 0:
        return gettext("All blocks differ by the same amount: their spread is not known.")
    return ""


def _diverged(claim: Claim, bound: float, level: float, code: int) -> str:
    if not claim.blocks.diverged:
        return ""
    without = inference.at_most(_estimate(claim, claim.blocks.without_diverged), bound)
    other = _code(claim, without, level)
    if other == code:
        return ""
    return say(
        "Divergence: without the {pairs} pairs of which a cell diverged the verdict would be {verdict}.",
        pairs=claim.blocks.diverged,
        verdict=word(WORDS[other]),
    )


def _flip(claim: Claim, code: int) -> str:
    means = inference.strata(claim.blocks.differences)[0]
    if claim.kind == "equivalent":
        against = np.abs(means) > claim.smallest
    else:
        against = means < 0 if code == 1 else means > claim.smallest
    if not (effects(claim.blocks.differences).flips and against.any()):
        return ""
    return gettext("The sign of the difference flips between data sets: there is no global claim.")


def _detectable(claim: Claim, estimate: Estimate, level: float) -> float:
    if claim.kind == "equivalent":
        both = (1 + inference.POWER) / 2
        return float(inference.detectable(estimate, 2 * level - 1, both))
    return float(inference.detectable(estimate, level))


def _to_settle(claim: Claim, estimate: Estimate, level: float) -> float:
    means, variance, n = inference.strata(claim.blocks.differences)
    spreads = np.sqrt(variance * n)
    if claim.scope == "new":
        spreads = means.std(ddof=1, keepdims=True) if len(means) > 1 else np.array([np.nan])
    distance = abs(float(estimate.mean)) - claim.smallest
    if claim.kind == "equivalent" and distance < 0:
        found = inference.seeds_for_equivalence(-distance, spreads, level)
    elif claim.kind == "equivalent":
        found = inference.seeds_needed(distance, spreads, level)
    else:
        found = inference.seeds_needed(float(estimate.mean) - claim.smallest, spreads, level)
    return max(found, FEWEST_DATA_SETS) if claim.scope == "new" else found
