"""Comparisons of levels as people read them: captions and tables of effects, ranks, variance, profiles."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from recipebench.reports import rates, wording
from recipebench.reports.comparisons import Profile, Ranking
from recipebench.reports.contents import Contents
from recipebench.reports.frames import endpoint
from recipebench.reports.language import N_, gettext, say, together
from recipebench.reports.suite_info import Endpoint
from recipebench.reports.views import Group, Row, View, sortable, view
from recipebench.reports.wording import NO_VALUE, count, count_of, factor_name, interval

FEW = 10
"""Up to so many blocks Friedman's approximations are rough (Demšar 2006)."""

_TERMS = {"seed": N_("seeds"), "residual": N_("residual")}


def exploratory() -> str:
    """Say what comparisons are worth."""
    return gettext("Exploratory: described after the run, not declared before it.")


def _block_interval() -> str:
    return gettext(
        "95\N{NO-BREAK SPACE}% t interval over the (data set, seed) blocks (Student 1908, quantiles by "
        "SciPy), not adjusted for their number"
    )


def effects(contents: Contents, label: str) -> View:
    """Show the difference of every level from its factor's first on one data set."""
    goal, found = endpoint(label, contents.suite), contents.comparisons.effects
    groups = []
    for (factor, reference), part in found[found["data"] == label].groupby(
        ["factor", "reference"], sort=False
    ):
        heading = say(
            "{factor}: difference from {reference}",
            factor=rates.heading(str(factor), contents),
            reference=reference,
        )
        groups.append(Group(heading, [_effect_row(r, goal) for _, r in part.iterrows()]))
    share = wording.is_share(goal.measure)
    columns = [gettext("difference, points") if share else gettext("difference"), gettext("95 % interval")]
    columns += [gettext("P(better)"), gettext("p, adjusted"), "n", gettext("pairs")]
    columns += [gettext("diverged"), gettext("gaps")]
    name = f"paired_effects-{wording.slug(label)}"
    return view(name, effects_caption(label, goal), [gettext("level")], columns, groups)


def effects_caption(label: str, goal: Endpoint) -> str:
    """Say what paired effects are, with n, method and source."""
    told = say(
        "{data}: level \N{MINUS SIGN} reference, the first declared level, in the mean {endpoint}; "
        "{better}. Pairs are cells of one seed with the same levels of all other factors; they are averaged "
        "inside each block, then over n blocks. {interval}. P(better): share of blocks in which the level "
        "is the better one, ties by half (McGraw and Wong 1992). p: of no difference, adjusted over all "
        "rows of all data sets (Benjamini and Hochberg 1995).",
        data=label,
        endpoint=wording.endpoint_name(goal),
        better=wording.better(goal),
        interval=_block_interval(),
    )
    return together([told, exploratory()])


def effect_figure_caption(found: pd.DataFrame) -> str:
    """Say what the forest of paired effects shows."""
    blocks = wording.count_range(int(found["n"].min()), int(found["n"].max()))
    told = say(
        "Mean over n = {blocks} blocks; line: {interval}, cut at the frame.",
        blocks=blocks,
        interval=_block_interval(),
    )
    return together([told, exploratory()])


def ranks(contents: Contents) -> View:
    """Show the mean rank of every level of the factors that are ranked."""
    groups = []
    for found in ranked(contents):
        rows = [
            Row([level, f"{rank:.2f}", count(found.blocks)], [None, rank, float(found.blocks)])
            for level, rank in zip(found.levels, found.ranks, strict=True)
        ]
        heading = say("{factor}: {test}", factor=rates.heading(found.factor, contents), test=_friedman(found))
        groups.append(Group(heading, rows))
    told = gettext("Mean rank inside the blocks, 1 is best, n blocks.")
    caption = together([told, ranks_caption()])
    return view("mean_ranks", caption, [gettext("level")], [gettext("mean rank"), "n"], groups)


def ranked(contents: Contents) -> list[Ranking]:
    """Return the rankings that have ranks."""
    return [found for found in contents.comparisons.rankings if not found.reason]


def unranked(contents: Contents) -> list[str]:
    """Say which factors are not ranked, and why."""
    return [
        say("{factor} ({reason})", factor=factor_name(found.factor), reason=found.reason)
        for found in contents.comparisons.rankings
        if found.reason
    ]


def ranks_caption() -> str:
    """Say what ranks are worth."""
    told = gettext(
        "A block is a data set and a seed; a level's scores in it are averaged over the combinations of the "
        "other factors that all levels met. Overview only, depends on the pool: which levels lie closer than "
        "the critical difference changes with what else is compared (Benavoli, Corani and Mangili 2016). "
        "Friedman's test as by Iman and Davenport, adjusted over the factors (Benjamini and Hochberg 1995); "
        "critical difference at .05 by Nemenyi; source: Demšar 2006."
    )
    return together([told, exploratory()])


def ranking_caption(found: Ranking) -> str:
    """Say of one diagram how many blocks it is of."""
    told = say(
        "n = {blocks} of {sets}. Levels under one bar lie closer together than the critical difference "
        "(Nemenyi at .05; Demšar 2006).",
        blocks=count_of(found.blocks, "block"),
        sets=count_of(len(found.data), "data set"),
    )
    rough = gettext("Few blocks for these approximations.") if found.blocks <= FEW else ""
    return together([told, rough, gettext("Overview only, depends on the pool.")])


def shares(contents: Contents) -> View:
    """Show the share of variance of every term, one column a data set."""
    found = contents.comparisons.shares
    data = shared_data(contents)
    terms = list(dict.fromkeys(found.loc[found["reason"] == "", "term"]))
    by_place = found.set_index(["data", "term"])["omega2"].to_dict()
    rows = []
    for term in terms:
        values = [by_place.get((label, term), math.nan) for label in data]
        texts = [share(value) for value in values]
        rows.append(Row([term_name(term, contents), *texts], [None, *map(sortable, values)]))
    return view("variance_shares", shares_caption(contents), [gettext("term")], data, [Group("", rows)])


def shared_data(contents: Contents) -> list[str]:
    """Return the data sets whose variance is shared out, in declared order."""
    found = contents.comparisons.shares
    present = set(found.loc[found["reason"] == "", "data"])
    return [label for label in contents.data if label in present]


def unshared(contents: Contents) -> list[str]:
    """Say on which data sets the variance is not shared out, and why."""
    found = contents.comparisons.shares
    return [
        say("{data}: {reason}.", data=r["data"], reason=r["reason"])
        for _, r in found[found["reason"] != ""].iterrows()
    ]


def term_name(term: str, contents: Contents) -> str:
    """Name a term as people say it; factors and pairs carry their own labels."""
    if term in _TERMS and term not in contents.factors:
        return gettext(_TERMS[term])
    return rates.marked(term, contents)


def shares_caption(contents: Contents) -> str:
    """Say what ω² is, with n, method and source."""
    cells = contents.cells.groupby("data", observed=True).size()
    known = [int(cells[label]) for label in shared_data(contents)] or [0]
    told = say(
        "Share of the variance of the endpoint that a factor, a pair of factors (beyond the two alone) or "
        "the seeds (by the draws that all cells of a seed share) explain, the residual being noise and "
        "interactions of three and more; as ω² of a balanced analysis of variance (Hays 1994; Olejnik and "
        "Algina 2003): near 0 on average for what does nothing, so it may lie a little below 0. It depends "
        "on which levels were compared. n = {cells} cells a data set.",
        cells=wording.count_range(min(known), max(known)),
    )
    return together([told, exploratory()])


def share(value: float) -> str:
    r"""Show a share of variance in percent; what rounds to nothing has no sign.

    Example:
        >>> share(0.1234), share(-1e-9)
        ('12.34\xa0%', '0.00\xa0%')
    """
    return wording.with_unit(0.0 if abs(value) < 5e-5 else value, "accuracy")


def share_of_pair(contents: Contents, label: str, pair: tuple[str, str]) -> str:
    """Tell the share of variance that is the interaction of two factors; empty where it is not known."""
    found = contents.comparisons.shares
    here = found[(found["data"] == label) & (found["term"] == " × ".join(pair))]
    if here.empty:
        return ""
    return say("interaction: ω² = {share} of the variance", share=share(float(here["omega2"].iloc[0])))


def profiles(contents: Contents) -> View:
    """Show the area under every level's performance profile."""
    groups = []
    for found in contents.comparisons.profiles:
        solved = (found.costs < math.inf).sum(axis=1)
        rows = [
            Row([level, f"{area:.3f}", count(hits), count(found.costs.shape[1])], [None, area, hits, None])
            for level, area, hits in zip(found.levels, found.areas.tolist(), solved.tolist(), strict=True)
        ]
        heading = say(
            "{factor}: τ up to {last}",
            factor=rates.heading(found.factor, contents),
            last=f"{found.last:.3g}",
        )
        groups.append(Group(heading, rows))
    columns = [gettext("area"), gettext("solved"), "n"]
    return view("performance_profiles", profiles_caption(), [gettext("level")], columns, groups)


def profiles_caption() -> str:
    """Say what a performance profile is."""
    told = gettext(
        "Performance profiles (Dolan and Moré 2002). A problem is a data set, a seed and a level of every "
        "other factor; its cost is the number of epochs to the target, infinite for a miss. Height at τ: "
        "share of the n problems that a level solves within τ times the fewest epochs of any level. Area: "
        "mean height up to the largest τ. A picture that depends on the pool; from records and history."
    )
    return together([told, exploratory()])


def profile_caption(found: Profile) -> str:
    """Say of one factor's profiles how many problems they are of."""
    whys = {
        N_("{count} that no level solved"): found.unsolved,
        N_("{count} of which a level was not run or has a gap"): found.incomplete,
    }
    left = [say(why, count=count(n)) for why, n in whys.items() if n]
    told = say(
        "{factor}: n = {problems}.",
        factor=factor_name(found.factor),
        problems=count_of(found.costs.shape[1], "problem"),
    )
    out = say("Left out: {problems}.", problems=gettext(" and ").join(left)) if left else ""
    return together([told, out])


def _effect_row(r: pd.Series[Any], goal: Endpoint) -> Row:
    known = not math.isnan(r["mean"])
    cells: list[tuple[str, float | None]] = [
        (wording.signed(r["mean"], goal.measure), sortable(r["mean"])),
        (interval(r["low"], r["high"], goal.measure), sortable(r["low"])),
        (f"{r['better']:.2f}" if known else NO_VALUE, sortable(r["better"])),
        (probability(r["p_adjusted"]), sortable(r["p_adjusted"])),
        *((count(r[c]), sortable(r[c])) for c in ("n", "pairs", "diverged", "gaps")),
    ]
    return Row([str(r["level"]), *(text for text, _ in cells)], [None, *(value for _, value in cells)])


def probability(value: float) -> str:
    """Show a probability with two significant digits.

    Example:
        >>> probability(0.0312), probability(0.0000312)
        ('0.031', 'below 0.001')
    """
    if math.isnan(value):
        return NO_VALUE
    return gettext("below 0.001") if value < 0.001 else f"{value:.2g}"


def _friedman(found: Ranking) -> str:
    f = "\N{INFINITY}" if math.isinf(found.f) else f"{found.f:.3g}"
    return say(
        "Friedman F = {f}, adjusted p {p}, critical difference {difference}",
        f=f,
        p=probability(found.p_adjusted),
        difference=f"{found.difference:.2f}",
    )
