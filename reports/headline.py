"""The report in a few sentences, each written from the tables that stand below it."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any, NamedTuple

import pandas as pd

from recipebench.reports import verdict_words, wording
from recipebench.reports.frames import (
    ABSENT,
    STATUSES,
    compared,
    endpoint,
    levels,
    rates,
    untuned_optimizers,
)
from recipebench.reports.language import N_, gettext, say, together
from recipebench.reports.registered import Judged
from recipebench.reports.searches import Searches
from recipebench.reports.suite_info import SuiteInfo
from recipebench.reports.tables import UNRECORDED, ranked
from recipebench.reports.wording import factor_name, word


class Headline(NamedTuple):
    """The sentences on top of a report, not yet escaped.

    Args:
        opening: what was run, and how far to trust the choice of the best.
        won: for each data set, what won, by how much, and what mattered most.
        closing: what became of the registered claims.
    """

    opening: list[str]
    won: dict[str, list[str]]
    closing: list[str]

    @property
    def lines(self) -> list[str]:
        """All of it, a line for each data set."""
        return [*self.opening, *map(together, self.won.values()), *self.closing]


def sentences(
    cells: pd.DataFrame,
    counts: pd.DataFrame,
    recipes: pd.DataFrame,
    spreads: pd.DataFrame,
    suite: SuiteInfo,
    verdicts: Sequence[Judged],
    *,
    searches: Searches | None = None,
    shares: pd.DataFrame,
) -> Headline:
    """Say what was run, what won on each data set and by how much, what mattered most, and how sure it is.

    Args:
        cells: the reported cells.
        counts: `tables.status_counts`.
        recipes: `tables.recipes` with the columns of `choice`.
        spreads: `tables.spreads`.
        suite: what was planned.
        verdicts: of the registered claims.
        searches: what tuning gave; None of a suite that tunes nothing.
        shares: of variance, as `comparisons.shares` returns them.
    """
    opening, won = [what_was_run(counts, suite, searches)], {}
    plain = untuned_optimizers(cells, suite)
    ordered = ranked(recipes, suite)
    if (ordered["place"] == 1).any() and not ordered["fresh"].all():
        opening.append(_optimistic(ordered))
    widest = {row["data"]: row for _, row in spreads.drop_duplicates("data").iterrows()}
    for label in levels(cells, "data"):
        if not (cells["data"] == label).any():
            continue
        mine = ordered[ordered["data"] == label]
        recipe = compared(cells[cells["data"] == label])
        told = what_won(mine, recipe, suite, plain) if len(mine) else [_nothing_chosen(label)]
        told += left_out(recipes[recipes["data"] == label])
        most = mattered_most(shares[shares["data"] == label], rates(cells, suite))
        if not most and label in widest and widest[label]["spread"] > 0:
            most = widest_factor(widest[label], suite, plain)
        won[label] = [*told, most] if most else told
    return Headline(opening, won, verdict_words.in_brief(verdicts))


def what_won(
    ranked: pd.DataFrame, recipe: list[str], suite: SuiteInfo, plain: Set[str] | None = None
) -> list[str]:
    """Say which recipe validation chose on a data set, what it scores, and how far it is ahead of the next.

    Args:
        ranked: the rows of `tables.ranked` of one data set, at least one.
        recipe: the factors that are told.
        suite: what was planned.
        plain: the optimizers whose rate was not tuned.
    """
    first = ranked.iloc[0]
    told = [best_recipe(first, recipe, suite, plain)]
    if first["diverged"]:
        runs = wording.count_of(int(first["diverged"]), "run")
        told.append(say("{runs} of it diverged and count at chance level.", runs=runs))
    alike = int((ranked["validation"] == first["validation"]).sum())
    if alike > 1:
        recipes = wording.count_of(alike, "recipe")
        told.append(
            say(
                "{recipes} share the best validation score; this is the first of them as declared.",
                recipes=recipes,
            )
        )
    if len(ranked) > 1:
        told.append(_runner_up(ranked.iloc[1], recipe, suite))
    return told


def left_out(recipes: pd.DataFrame) -> list[str]:
    """Say how many recipes of a data set could not be chosen because they have fewer seeds; or nothing."""
    fewer = int((recipes["n"] < recipes["n"].max()).sum())
    if not fewer:
        return []
    told = wording.count_of(fewer, "recipe")
    return [say("{recipes} with fewer seeds could not be chosen.", recipes=told)]


def lead(row: pd.Series[Any], suite: SuiteInfo) -> tuple[float, float, float]:
    """Return by how much the first recipe of a data set is better than this one, with its interval.

    Args:
        row: of `tables.ranked`.
        suite: tells which way is better.
    """
    found = (float(row["behind"]), float(row["behind_low"]), float(row["behind_high"]))
    if endpoint(str(row["data"]), suite).direction == "higher":
        return found
    return -found[0], -found[2], -found[1]


def mattered_most(shares: pd.DataFrame, rates: str = "tuned") -> str:
    """Say which factor explains most of the variance on a data set; nothing where it is not known.

    Args:
        shares: columns `term, omega2` of one data set; terms that are no factor alone may stand among them.
        rates: of the optimizers: `tuned`, `untuned` or `mixed`.
    """
    known = shares[shares["omega2"].notna() & ~shares["term"].isin([*_NO_FACTOR, ""])]
    ordered = known.sort_values("omega2", ascending=False, kind="stable")
    joint = ordered["term"].astype(str).str.contains("\N{MULTIPLICATION SIGN}", regex=False)
    single, pairs = ordered[~joint], ordered[joint & (ordered["omega2"] > _WORTH_TELLING)]
    if single.empty or not single["omega2"].iloc[0] > 0:
        return ""
    if single["omega2"].iloc[0] < _LEAST_TOLD:
        return gettext("No factor alone explains as much as 1 % of the variance (ω²).")
    optimizer = gettext(_OPTIMIZER[rates])
    terms = [optimizer if term == "optimizer" else factor_name(term) for term in single["term"].head(3)]
    first, *rest = [f"{term} {_percent(share)}" for term, share in zip(terms, single["omega2"], strict=False)]
    most = say("{first}, then {rest}", first=first, rest=gettext(" and ").join(rest)) if rest else first
    for _, row in pairs.head(1).iterrows():
        pair = {"pair": factor_name(row["term"]), "share": _percent(row["omega2"])}
        most = say("{most}; {pair} add {share} together", most=most, **pair)
    return say("What mattered most, by the share of variance that it explains (ω²): {most}.", most=most)


_OPTIMIZER = {
    "tuned": N_("optimizer"),
    "untuned": N_("optimizer with its untuned rate"),
    "mixed": N_("optimizer with its rate, tuned or not,"),
}
_NO_FACTOR = ("seed", "residual")
_LEAST_TOLD = 0.01
"""The least share of variance of a factor that is told."""

_WORTH_TELLING = 0.05
"""The least share of variance of a pair of factors that is told."""


def _optimistic(ranked: pd.DataFrame) -> str:
    some = ranked.groupby("data", observed=True)["fresh"].all()
    if not some.any():
        return gettext(
            "Recipes were not tuned: the best is chosen by its validation score and reported on the same "
            "seeds, which is optimistic."
        )
    return say(
        "Recipes were not tuned on {data}: the best is chosen by its validation score and reported on the "
        "same seeds, which is optimistic.",
        data=gettext(" and ").join(map(str, some.index[~some])),
    )


def _nothing_chosen(label: str) -> str:
    return say(
        "On {data} no recipe can be chosen: no validation score of a finished recipe is known.", data=label
    )


def _runner_up(row: pd.Series[Any], recipe: list[str], suite: SuiteInfo) -> str:
    goal = endpoint(str(row["data"]), suite)
    names = _names(row, recipe)
    if pd.isna(row["behind"]):
        return say("The runner-up is {recipe}.", recipe=names)
    ahead, low, high = lead(row, suite)
    told = wording.difference(ahead, goal.measure)
    if not pd.isna(low):
        ends = wording.interval(low, high, goal.measure)
        told = say(
            "{difference} (95\N{NO-BREAK SPACE}% interval over seeds {interval})",
            difference=told,
            interval=ends,
        )
    return say(
        "Its lead over the runner-up, {recipe}, is {difference}; that lead was put to no registered test.",
        recipe=names,
        difference=told,
    )


def _percent(share: float) -> str:
    return f"{max(100 * share, 0.0):.0f}\N{NO-BREAK SPACE}%"


def what_was_run(counts: pd.DataFrame, suite: SuiteInfo, searches: Searches | None = None) -> str:
    """Say how many cells were planned, how many of them to tune, and how they ended."""
    total = counts.iloc[-1]
    ended = " + ".join(f"{wording.count(total[status])} {word(status)}" for status in STATUSES)
    sets = wording.count_of(len(counts[~counts["data"].isin(["all", UNRECORDED])]), "data set")
    seeds = wording.count_of(len(suite.seeds), "seed")
    planned = wording.count_of(int(total["planned"]), "training run")
    told = {"runs": planned, "sets": sets, "seeds": seeds, "ended": ended}
    if searches is None or suite.tuning is None:
        return say("{runs} (cells) planned on {sets} with {seeds}: {ended}.", **told)
    return say(
        "{runs} (cells) planned on {sets} with {seeds}, {cells} of them trials of {searches} on "
        "{tuning_seeds} of their own: {ended}.",
        **told,
        cells=wording.count(int((searches.trials["n"] + searches.trials["gaps"]).sum())),
        searches=wording.count_of(searches.trials["search"].nunique(), "search", "searches"),
        tuning_seeds=wording.count_of(len(suite.tuning.seeds), "seed"),
    )


def best_recipe(
    row: pd.Series[Any],
    recipe: list[str],
    suite: SuiteInfo,
    plain: Set[str] | None = None,
) -> str:
    """Say which recipe validation chooses on a data set, and its mean with interval and n.

    Args:
        row: of `tables.ranked`.
        recipe: the factors that are told.
        suite: what was planned.
        plain: the optimizers whose rate was not tuned; all or none, as the suite says, by default.
    """
    goal = endpoint(str(row["data"]), suite)
    mean = wording.with_unit(row["mean"], goal.measure)
    names = _names(row, recipe) or gettext("the one recipe")
    values = {
        "data": row["data"],
        "recipe": _with_rates(names, row, recipe, suite, plain),
        "endpoint": wording.endpoint_name(goal),
        "mean": mean,
        "interval": _interval(row, goal.measure),
    }
    if row["fresh"]:
        return say(
            "On {data} validation chooses {recipe}: its {endpoint} is {mean} ({interval}), on seeds that "
            "chose nothing.",
            **values,
        )
    return say(
        "On {data} validation chooses {recipe}: its {endpoint} is {mean} ({interval}).",
        **values,
    )


def widest_factor(row: pd.Series[Any], suite: SuiteInfo, plain: Set[str] | None = None) -> str:
    """Say which factor's level means lie furthest apart on a data set, as a description."""
    goal = endpoint(str(row["data"]), suite)
    apart = wording.difference(row["spread"], goal.measure)
    values = {"factor": factor_name(row["factor"]), "apart": apart}
    if row["factor"] == "optimizer" and _is_plain({row["lowest"], row["highest"]}, suite, plain):
        return say(
            "Averaged over all else, the levels of {factor} lie furthest apart there: {apart}, which "
            "describes the optimizers and their {rates} together.",
            **values,
            rates=suite.rates if suite.tuning is None else _mixed_rates(suite),
        )
    return say(
        "Averaged over all else, the levels of {factor} lie furthest apart there: {apart} between {lowest} "
        "(lowest) and {highest} (highest).",
        **values,
        lowest=row["lowest"],
        highest=row["highest"],
    )


def _mixed_rates(suite: SuiteInfo) -> str:
    if suite.rates_default:
        return gettext("rates, tuned or default,")
    return gettext("rates, tuned or untuned,")


def _names(row: pd.Series[Any], recipe: list[str]) -> str:
    present = [(factor, str(row[factor])) for factor in recipe if row[factor] != ABSENT]
    return " + ".join(wording.level_name(factor, label) for factor, label in present)


def _with_rates(
    names: str, row: pd.Series[Any], recipe: list[str], suite: SuiteInfo, plain: Set[str] | None
) -> str:
    """Say of a recipe that its learning rate was not tuned."""
    if "optimizer" not in recipe or not _is_plain({row["optimizer"]}, suite, plain):
        return names
    return say(_NOT_TUNED[suite.tuning is not None, suite.rates_default], recipe=names)


_NOT_TUNED = {
    (True, True): N_("{recipe} (at its default rate)"),
    (True, False): N_("{recipe} (its rate not tuned)"),
    (False, True): N_("{recipe} (each optimizer at its default rate)"),
    (False, False): N_("{recipe} (no rate tuned)"),
}


def _is_plain(levels: set[str], suite: SuiteInfo, plain: Set[str] | None) -> bool:
    """Whether the rate of one of these optimizers was not tuned."""
    return not suite.rates_tuned if plain is None else bool(levels & plain)


def _interval(row: pd.Series[Any], measure: str) -> str:
    seeds = wording.count_of(int(row["n"]), "seed")
    ends = wording.interval(row["low"], row["high"], measure)
    if ends == wording.NO_VALUE:
        return say("no interval, {seeds}", seeds=seeds)
    return say("95\N{NO-BREAK SPACE}% interval {interval}, {seeds}", interval=ends, seeds=seeds)
