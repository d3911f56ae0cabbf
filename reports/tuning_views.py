"""What tuning gave as people read it: sentences and tables, for page, Markdown and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from recipebench.reports import rates, wording
from recipebench.reports.contents import Contents
from recipebench.reports.frames import data_name, endpoint
from recipebench.reports.language import N_, gettext, listed, ngettext, parts, say, together
from recipebench.reports.searches import FALLBACK, REPORTED, SEARCHED, Searches
from recipebench.reports.suite_info import Endpoint, Targets, Tuning
from recipebench.reports.views import (
    MOST_ROWS,
    Group,
    Row,
    View,
    endpoint_in_unit,
    first_of,
    mean_interval,
    sortable,
    view,
)
from recipebench.reports.wording import count, count_of, factor_name, interval, number, word

TANG = N_("Tang et al., ACL 2020")
CROWDED = N_("Sivaprasad et al., ICML 2020")
MOST_NAMED = 6
"""The most optima at an edge that a sentence names."""

_OPEN = "\N{GREATER-THAN OR EQUAL TO}\N{NO-BREAK SPACE}"


def plan(contents: Contents) -> tuple[Tuning, Searches]:
    """Return how the searches were planned and what they gave; of a suite that tunes."""
    if contents.suite.tuning is None or contents.searches is None:
        raise ValueError(f"{contents.suite.name} tunes nothing.")
    return contents.suite.tuning, contents.searches


def criterion(contents: Contents, label: str) -> Endpoint:
    """Return the validation metric by which trials are chosen on a data set, by its label."""
    return plan(contents)[0].criterion[data_name(label, contents.suite)]


def searched_data(contents: Contents) -> list[str]:
    """Return the data sets that have searches, in declared order."""
    present = set(plan(contents)[1].trials["data"].astype(str))
    return [label for label in contents.data if label in present]


def levels(contents: Contents) -> list[str]:
    """Return the tuned levels in declared order."""
    return list(dict.fromkeys(plan(contents)[1].trials["level"]))


def compared_data(contents: Contents) -> list[str]:
    """Return the data sets on which a level was run tuned and at its default."""
    present = set(plan(contents)[1].against_default["data"])
    return [label for label in contents.data if label in present]


def sentences(contents: Contents) -> list[str]:
    """Say what was tuned, by what and on which seeds, and how many optima lie at an edge."""
    how, found = plan(contents)
    return [
        _what_was_tuned(contents, how, found),
        _how_it_was_chosen(contents, how),
        *_unfinished(found),
        _edges(found),
        *filter(None, (_against(contents, label) for label in compared_data(contents))),
    ]


def against_default(contents: Contents, label: str) -> View:
    """Show each level of one data set at its default and tuned, and the paired difference."""
    goal, found = endpoint(label, contents.suite), plan(contents)[1].against_default
    groups = []
    for factor, part in found[found["data"] == label].groupby("factor", sort=False):
        groups.append(Group(factor_name(str(factor)), [_against_row(r, goal) for _, r in part.iterrows()]))
    caption = say(
        "{data}: mean {endpoint} of each level at its default (as the suite gives it, not tuned) and tuned, "
        "{better}. Pairs are cells of one seed with the same levels of all other factors; averaged inside "
        "each seed first, then mean and {interval}, n seeds. The difference is tuned \N{MINUS SIGN} "
        "default, pair by pair; reporting seeds only.",
        data=label,
        endpoint=endpoint_in_unit(goal),
        better=wording.better(goal),
        interval=mean_interval(),
    )
    ends = gettext("95 % interval")
    columns = [gettext("default"), ends, gettext("tuned"), ends]
    columns += [gettext("tuned \N{MINUS SIGN} default"), ends, "n", gettext("pairs"), gettext("lacking")]
    name = f"tuned_against_default-{wording.slug(label)}"
    return view(name, caption, [gettext("tuned level"), gettext("default level")], columns, groups)


def chosen(contents: Contents) -> View:
    """Show what each search chose, and how wide its near-optimum is."""
    how, searched = plan(contents)
    found = searched.chosen
    recipe = [f for f in contents.compared if f in found]
    rows = []
    for _, r in found.head(MOST_ROWS).iterrows():
        measure = criterion(contents, str(r["data"])).measure
        texts = [str(r["data"]), *(str(r[f]) for f in recipe), str(r["hyper_parameter"])]
        cells = [
            (
                gettext("not finished") if math.isnan(r["value"]) else f"{r['value']:.4g}",
                sortable(r["value"]),
            ),
            (wording.with_unit(r["score"], measure), sortable(r["score"])),
            (word(str(r["edge"])), None),
            (_width(r), sortable(r["width"])),
            (wording.difference(r["tolerance"], measure), sortable(r["tolerance"])),
            (wording.with_unit(r["diverged"], "accuracy"), sortable(r["diverged"])),
        ]
        rows.append(_row(texts, cells))
    told = say(
        "What validation chose; score: mean over n = {seeds} of the validation metric. Edge: the end at "
        "which no value beyond the chosen one was tried. Near-optimum: how much of the range scores within "
        "the tolerance of the best, linear between trials ({open}: it reaches an end of the range), of "
        "searches of one hyper-parameter; {tolerance}",
        seeds=count_of(len(how.seeds), "tuning seed"),
        open=_OPEN.strip(),
        tolerance=_tolerance(contents),
    )
    columns = [gettext("value"), gettext("score"), gettext("edge"), gettext("near-optimum")]
    columns += [gettext("tolerance"), gettext("trials diverged")]
    texts = [gettext("data"), *map(factor_name, recipe), gettext("hyper-parameter")]
    caption = together([told, _source(CROWDED), first_of(len(found), "tables/chosen_values.csv")])
    return view("chosen_values", caption, texts, columns, [Group("", rows)])


def _source(paper: str) -> str:
    return say("Source: {paper}; from the records.", paper=gettext(paper))


def sensitivity(contents: Contents) -> View:
    """Show every value that was tried, or the first of them when they are too many for a page."""
    found = plan(contents)[1].sensitivity
    rows = []
    for _, r in found.head(MOST_ROWS).iterrows():
        measure = criterion(contents, str(r["data"])).measure
        cells = [
            (f"{r['value']:.6g}", sortable(r["value"])),
            (wording.with_unit(r["score"], measure), sortable(r["score"])),
            *((count(r[c]), sortable(r[c])) for c in ("n", "diverged")),
        ]
        rows.append(_row([str(r["data"]), r["search"], r["level"], r["hyper_parameter"]], cells))
    told = gettext(
        "Every value that was tried: mean validation score over the tuning seeds, n seeds, and how many of "
        "them diverged (they count at chance level); from the records."
    )
    caption = together([told, first_of(len(found), "tables/sensitivity.csv")])
    texts = [gettext("data"), gettext("search"), gettext("level"), gettext("hyper-parameter")]
    columns = [gettext("value"), gettext("score"), "n", gettext("diverged")]
    return view("sensitivity", caption, texts, columns, [Group("", rows)])


def best_of_k(contents: Contents) -> View:
    """Show the expected best of k trials at a few budgets."""
    best = plan(contents)[1].best_of_k
    budgets = _budgets(best)
    groups = []
    for label, part in best.groupby("data", observed=True, sort=False):
        measure = criterion(contents, str(label)).measure
        rows = []
        for level, row in part.groupby("level", sort=False):
            by_k = row.set_index("k")["expected_best"]
            cells = [(_at(by_k, k, measure), sortable(by_k.get(k))) for k in budgets]
            rows.append(_row([str(level)], [*cells, _counted(row["searches"].iloc[0])]))
        heading = say("{data}, %", data=label) if wording.is_share(measure) else str(label)
        groups.append(Group(heading, rows))
    caption = together([budget_caption(contents), gettext("n = searches.")])
    columns = [*(f"k = {k}" for k in budgets), "n"]
    return view("best_of_k", caption, [gettext("level")], columns, groups)


def budget_caption(contents: Contents) -> str:
    """Say what the expected best of k trials is."""
    how = plan(contents)[0]
    order = gettext(
        "Later rounds of these searches depend on the earlier, so that this describes the trials that were "
        "made, not a search of k."
    )
    told = say(
        "Expected best validation score when k of the trials are tried in random order: the mean of the best "
        "over all subsets of k, without bias ({source}); per search, then averaged over the searches of a "
        "level. It is the score by which trials are chosen, so it is optimistic.",
        source=gettext(TANG),
    )
    return together([told, order if how.rounds > 1 else ""])


def ranks(contents: Contents) -> View:
    """Show the mean rank of the tuned levels at a few budgets."""
    found = plan(contents)[1].ranks
    budgets = _budgets(found)
    groups = []
    for factor, part in found.groupby("factor", sort=False):
        rows = []
        for level, row in part.groupby("level", sort=False):
            by_k = row.set_index("k")["mean_rank"]
            cells = [
                (f"{by_k[k]:.2f}" if k in by_k else wording.NO_VALUE, sortable(by_k.get(k))) for k in budgets
            ]
            rows.append(_row([str(level)], [*cells, _counted(row["data_sets"].iloc[0])]))
        groups.append(Group(factor_name(str(factor)), rows))
    caption = together([rank_caption(), gettext("n = data sets.")])
    columns = [*(f"k = {k}" for k in budgets), "n"]
    return view("rank_by_budget", caption, [gettext("level")], columns, groups)


def rank_caption() -> str:
    """Say what the rank by budget is."""
    told = gettext(
        "Rank of each tuned level by the expected best validation score of k trials, 1 is best, inside each "
        "data set on which all of them have as many finished searches, then averaged over these data "
        "sets; equal scores share a rank."
    )
    return together([told, _source(CROWDED)])


def cost(contents: Contents) -> View:
    """Show what the searches cost."""
    rows = []
    for _, r in plan(contents)[1].cost.iterrows():
        seconds = (wording.duration(r["seconds"]), sortable(r["seconds"]))
        share = (wording.with_unit(r["share"], "accuracy"), sortable(r["share"]))
        none = (wording.NO_VALUE, None)
        tried = [none if r["level"] == REPORTED else _counted(r[c]) for c in ("searches", "trials")]
        rows.append(_row([word(str(r["level"]))], [*tried, _counted(r["cells"]), seconds, share]))
    caption = say(
        "What tuning cost on this machine, beside the cells that are reported; n = cells that ran. Seconds "
        "are a pack's training time over its members: a cost, never a speed. A cell that two searches share "
        "counts for both levels, but once in the row '{row}'; from the records.",
        row=word(SEARCHED),
    )
    columns = [gettext("searches"), gettext("trials"), gettext("cells"), gettext("pack seconds, sum")]
    columns += [gettext("of all seconds")]
    return view("tuning_cost", caption, [gettext("level")], columns, [Group("", rows)])


def time_to_target(contents: Contents) -> View:
    """Show how many cells of each level reached the target, and when half of them had."""
    targets, found = contents.suite.targets, contents.reached
    if targets is None or found is None:
        raise ValueError(f"{contents.suite.name} declares no targets.")
    groups = []
    for (label, factor), part in found.groupby(["data", "factor"], sort=False):
        goal = targets.criterion[data_name(str(label), contents.suite)]
        heading = say(
            "{data}, target {target}: {factor}",
            data=label,
            target=wording.with_unit(part["target"].iloc[0], goal.measure),
            factor=rates.heading(str(factor), contents),
        )
        groups.append(Group(heading, [_reached_row(r) for _, r in part.iterrows()]))
    caption = together(
        [
            gettext("Epochs until the validation metric reaches the target."),
            target_rule(contents, targets),
            gettext(
                "n = cells that ended ok or diverged. Median: the first epoch by which at least half of "
                "them had reached it; a cell that did not, or diverged, is a miss, and its time is beyond "
                "the last planned epoch. All misses are censored there, so the median needs no estimate of "
                "survival."
            ),
            _unequal(found),
            gettext("From records and history."),
        ]
    )
    columns = ["n", gettext("reached"), gettext("share"), gettext("median epochs"), gettext("gaps")]
    return view("time_to_target", caption, [gettext("level")], columns, groups)


def target_rule(contents: Contents, targets: Targets) -> str:
    """Say by which declared rule the targets are set."""
    rule = ""
    if targets.share is not None:
        rule = say(
            "Target by the declared rule chance + {share} (best \N{MINUS SIGN} chance), best being the best "
            "mean validation score of a recipe over the reporting seeds.",
            share=f"{targets.share:g}",
        )
    fixed = [label for label in contents.data if data_name(label, contents.suite) in targets.values]
    declared = say("Declared as numbers before the run: {data}.", data=listed(fixed)) if fixed else ""
    known = set(contents.reached["data"]) if contents.reached is not None else set()
    lacking = [label for label in contents.data if label not in known]
    without = say("No target on {data}.", data=listed(lacking)) if lacking else ""
    return together([rule, declared, without])


def _what_was_tuned(contents: Contents, how: Tuning, found: Searches) -> str:
    trials = found.trials
    by_factor = trials.groupby("factor", sort=False)["level"].unique()
    told = parts(
        say("{factor}: {levels}", factor=factor_name(str(factor)), levels=listed(names))
        for factor, names in by_factor.items()
    )
    values = {
        "searches": count_of(trials["search"].nunique(), "search", "searches"),
        "sets": count_of(len(searched_data(contents)), "data set"),
        "trials": count_of(how.trials, "trial"),
        "method": how.method,
        "tuning_seeds": count_of(len(how.seeds), "tuning seed"),
        "seeds": listed(map(str, how.seeds)),
        "tuned": told,
    }
    if how.rounds == 1:
        return say(
            "{searches} on {sets}, each of {trials} ({method}) on {tuning_seeds} ({seeds}). Tuned were "
            "{tuned}.",
            **values,
        )
    return say(
        "{searches} on {sets}, each of {trials} ({method}) in {rounds} on {tuning_seeds} ({seeds}). Tuned "
        "were {tuned}.",
        **values,
        rounds=count_of(how.rounds, "round"),
    )


def _how_it_was_chosen(contents: Contents, how: Tuning) -> str:
    by_name: dict[str, list[str]] = {}
    for label in searched_data(contents):
        by_name.setdefault(wording.endpoint_name(criterion(contents, label)), []).append(label)
    told = parts(_with_data(name, labels) for name, labels in by_name.items())
    return say(
        "In each search the trial with the best mean over the tuning seeds was chosen, by the {criteria}. "
        "The chosen values were then trained on the reporting seeds ({seeds}), none of which is a tuning "
        "seed. Test data chose nothing.",
        criteria=told,
        seeds=listed(map(str, contents.suite.seeds)),
    )


def _with_data(what: str, data: Iterable[str]) -> str:
    return say("{what} ({data})", what=what, data=listed(data))


def _unfinished(found: Searches) -> list[str]:
    lacking = found.trials.loc[~found.trials["finished"], "search"].nunique()
    if not lacking:
        return []
    told = count_of(lacking, "search is", "searches are")
    return [
        say(
            "{searches} not finished and chose nothing yet; the reported cells that wait for that are "
            "missing.",
            searches=told,
        )
    ]


def _edges(found: Searches) -> str:
    done = found.chosen[found.chosen["value"].notna()]
    at = done[done["edge"].isin(("low", "high", "both"))]
    total = count_of(len(done), "optimum", "optima")
    if at.empty:
        return say("None of {optima} lies at an edge of what was tried.", optima=total)
    named = list(dict.fromkeys(_edge(r) for _, r in at.iterrows()))
    told = parts(named[:MOST_NAMED])
    if len(named) > MOST_NAMED:
        told = say("{optima} and {count} more", optima=told, count=len(named) - MOST_NAMED)
    return ngettext(
        "{count} of {optima} lies at an edge of what was tried, so that a wider range may hold a better "
        "value: {named}.",
        "{count} of {optima} lie at an edge of what was tried, so that a wider range may hold a better "
        "value: {named}.",
        len(at),
    ).format(count=f"{len(at):,}", optima=total, named=told)


def _edge(r: pd.Series[Any]) -> str:
    return say(
        "{level} on {data} ({hyper_parameter} {edge})",
        level=r["level"],
        data=r["data"],
        hyper_parameter=r["hyper_parameter"],
        edge=word(r["edge"]),
    )


def _against(contents: Contents, label: str) -> str:
    """Say between which levels' gains those of a data set lie."""
    found = plan(contents)[1].against_default
    here = found[(found["data"] == label) & found["difference_mean"].notna()]
    if here.empty:
        return ""
    goal = endpoint(label, contents.suite)
    ordered = here.sort_values("difference_mean", kind="stable")
    ends = [
        say(
            "{difference} for {level}",
            difference=wording.signed_difference(row["difference_mean"], goal.measure),
            level=row["level"],
        )
        for row in (ordered.iloc[0], ordered.iloc[-1])
    ]
    return say(
        "On {data} tuned \N{MINUS SIGN} default is {difference} in the mean {endpoint}; {better}.",
        data=label,
        difference=ends[0] if len(here) == 1 else say("from {low} to {high}", low=ends[0], high=ends[1]),
        endpoint=wording.endpoint_name(goal),
        better=wording.better(goal),
    )


def _against_row(r: pd.Series[Any], goal: Endpoint) -> Row:
    cells: list[tuple[str, float | None]] = []
    for what in ("default", "tuned", "difference"):
        mean, low, high = r[f"{what}_mean"], r[f"{what}_low"], r[f"{what}_high"]
        shown = wording.signed(mean, goal.measure) if what == "difference" else number(mean, goal.measure)
        cells += [(shown, sortable(mean)), (interval(low, high, goal.measure), sortable(low))]
    cells += [_counted(r[c]) for c in ("n", "pairs", "lacking")]
    return _row([r["level"], r["default"]], cells)


def _reached_row(r: pd.Series[Any]) -> Row:
    half, last = float(r["median_epochs"]), int(r["last_epoch"])
    if math.isnan(half):
        median: tuple[str, float | None] = (wording.NO_VALUE, None)
    else:
        median = (f"> {last}", last + 1.0) if math.isinf(half) else (f"{half:.0f}", half)
    share = r["reached"] / r["cells"] if r["cells"] else math.nan
    shared = (wording.with_unit(share, "accuracy"), sortable(share))
    return _row(
        [str(r["level"])], [_counted(r["cells"]), _counted(r["reached"]), shared, median, _counted(r["gaps"])]
    )


def _unequal(found: pd.DataFrame) -> str:
    several = found.groupby("data", sort=False)["last_epoch"].nunique().gt(1).any() if len(found) else False
    if not several:
        return ""
    return gettext("Planned epochs differ between levels: a miss is beyond the lowest of its level's.")


def _width(r: pd.Series[Any]) -> str:
    if math.isnan(r["width"]):
        return wording.NO_VALUE
    return f"{_OPEN if r['open'] else ''}{r['width']:.2f} {word(r['unit'])}"


def _tolerance(contents: Contents) -> str:
    declared = [label for label in searched_data(contents) if _smallest(contents, label) > 0]
    others = [label for label in searched_data(contents) if label not in declared]
    effect = gettext("the smallest effect that the suite declares")
    way = say("{share} of the way from chance level to the best", share=f"{FALLBACK:.0%}")
    told = [_with_data(what, data) for what, data in ((effect, declared), (way, others)) if data]
    return say("tolerance: {rules}.", rules=parts(told))


def _smallest(contents: Contents, label: str) -> float:
    return contents.suite.smallest_effect.get(data_name(label, contents.suite), 0.0)


def _budgets(found: pd.DataFrame) -> list[int]:
    """Powers of two up to the number of trials, and this itself."""
    most = int(found["k"].max()) if len(found) else 0
    return sorted({2**i for i in range(most.bit_length())} | {most}) if most else []


def _at(by_k: pd.Series[Any], k: int, measure: str) -> str:
    return number(by_k[k], measure) if k in by_k else wording.NO_VALUE


def _row(texts: Iterable[str], cells: Iterable[tuple[str, float | None]]) -> Row:
    first, rest = list(texts), list(cells)
    return Row([*first, *(text for text, _ in rest)], [*(None for _ in first), *(value for _, value in rest)])


def _counted(value: Any) -> tuple[str, float | None]:
    return count(value), sortable(value)
