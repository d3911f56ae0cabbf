"""Tables as people read them: captions, headings and worded numbers, for page, Markdown and LaTeX."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from recipebench.reports import charts, rates, wording
from recipebench.reports.contents import Contents
from recipebench.reports.frames import ABSENT, STATUSES, data_name, endpoint
from recipebench.reports.headline import lead, left_out
from recipebench.reports.language import comma, gettext, say, together
from recipebench.reports.suite_info import Endpoint
from recipebench.reports.wording import NO_VALUE, count, factor_name, interval, number, word

MOST_ROWS = 1_500
_COST = ("cells", "seconds", "median_seconds", "parameters_max", "steps_max")


@dataclass(frozen=True)
class Plot:
    """A mean with its interval as places along a line, in percent of its length.

    Args:
        low: left end of the interval; the mean where there is none.
        mean: the dot.
        high: right end.
    """

    low: float
    mean: float
    high: float


@dataclass(frozen=True)
class Row:
    """One row: its texts, what they sort by, and perhaps a drawing.

    Args:
        texts: one a column.
        values: what a column sorts by; None: its text.
        plot: drawn in the column `plot`.
    """

    texts: list[str]
    values: list[float | None]
    plot: Plot | None = None


@dataclass(frozen=True)
class Group:
    """Rows under a common heading; the heading may be empty."""

    heading: str
    rows: list[Row]


@dataclass(frozen=True, kw_only=True)
class View:
    """A table as it is read.

    Args:
        name: of its files.
        caption: what it shows, with n, method and source.
        columns: headings.
        numeric: which columns hold numbers and stand to the right.
        groups: its rows.
        plot: the ends of the frame of the drawings, in words; empty without drawings.
    """

    name: str
    caption: str
    columns: list[str]
    numeric: list[bool]
    groups: list[Group]
    plot: tuple[str, ...] = ()

    @property
    def rows(self) -> list[Row]:
        """All rows, whatever their heading."""
        return [row for group in self.groups for row in group.rows]


def mean_interval() -> str:
    """Say how the interval of a mean is made, and its source."""
    return gettext(
        "95\N{NO-BREAK SPACE}% t interval over seeds, of shares on the logit scale and of losses on the log "
        "scale (Student 1908, quantiles by SciPy)"
    )


def status(contents: Contents) -> View:
    """Show how the planned cells ended."""
    columns = ["planned", *STATUSES]
    rows = [plain_row([word(r["data"])], [r[c] for c in columns]) for _, r in contents.counts.iterrows()]
    told = [gettext("How the planned cells ended: planned = ok + diverged + failed + missing.")]
    told += [gettext("Trials of searches are among them.")] if contents.searches is not None else []
    caption = together([*told, _no_estimate()])
    return view("status", caption, [gettext("data")], list(map(word, columns)), [Group("", rows)])


def _no_estimate() -> str:
    return gettext("Counts of records; no estimate.")


def reasons(contents: Contents) -> View:
    """Show why cells did not end ok."""
    rows = [
        plain_row([word(r["status"]), word(r["reason"])], [r["cells"]])
        for _, r in contents.reasons.iterrows()
    ]
    told = gettext("Why cells did not end ok; numbers inside a reason are left out.")
    texts, numbers = [gettext("status"), gettext("reason")], [gettext("cells")]
    return view("reasons", together([told, _no_estimate()]), texts, numbers, [Group("", rows)])


def factor_means(contents: Contents, label: str) -> View:
    """Show the mean of every level of every factor on one data set."""
    goal = endpoint(label, contents.suite)
    here = contents.means[contents.means["data"] == label]
    frame = charts.forest_frame(here)
    groups = []
    for factor in contents.compared_on(label):
        rows = [_mean_row(r, ["level"], goal, frame) for _, r in here[here["factor"] == factor].iterrows()]
        groups.append(Group(rates.heading(factor, contents), rows))
    told = say(
        "{data}: mean {endpoint} of each level, {better}. A seed's cells are averaged over all other factors "
        "first; then mean and {interval}, n seeds.",
        data=label,
        endpoint=endpoint_in_unit(goal),
        better=wording.better(goal),
        interval=mean_interval(),
    )
    caption, texts = together([told, chance(goal)]), [gettext("level")]
    return _mean_view(f"factor_means-{wording.slug(label)}", caption, texts, goal, frame, groups)


def best(contents: Contents, label: str) -> View:
    """Show the recipes that validation ranks first on one data set."""
    goal = endpoint(label, contents.suite)
    here = contents.best[contents.best["data"] == label]
    frame = charts.forest_frame(here)
    left = left_out(contents.recipes[contents.recipes["data"] == label])
    told = say(
        "{data}: the {recipes} with the best {criterion}; reported is the {endpoint}, {better}: mean and "
        "{interval}, n seeds.",
        data=label,
        recipes=wording.count_of(len(here), "recipe"),
        criterion=_criterion(contents, label),
        endpoint=endpoint_in_unit(goal),
        better=wording.better(goal),
        interval=mean_interval(),
    )
    caption = together([told, _lead(), rates.of_recipes(contents), _chosen_on(here), *left])
    rows = [_choice_row(contents, r, ["place", *contents.compared], frame) for _, r in here.iterrows()]
    texts = ["#", *map(factor_name, contents.compared)]
    return _choice_view(f"best-{wording.slug(label)}", caption, texts, goal, frame, [Group("", rows)])


def within(contents: Contents, label: str) -> View:
    """Show the best recipe within each level on one data set."""
    goal = endpoint(label, contents.suite)
    here = contents.within[contents.within["data"] == label]
    frame, names = charts.forest_frame(here), contents.compared_on(label)
    groups = []
    for factor in names:
        mine = here[here["factor"] == factor]
        rows = [_choice_row(contents, r, ["level", "with"], frame) for r in _with_rest(mine, names)]
        groups.append(Group(rates.heading(factor, contents), rows))
    told = say(
        "{data}: within each level the recipe with the best {criterion}; reported is the {endpoint}, "
        "{better}: mean and {interval}, n seeds.",
        data=label,
        criterion=_criterion(contents, label),
        endpoint=endpoint_in_unit(goal),
        better=wording.better(goal),
        interval=mean_interval(),
    )
    left = left_out(contents.recipes[contents.recipes["data"] == label])
    caption = together([told, _lead(), rates.of_recipes(contents), _chosen_on(here), *left])
    name, texts = f"within-{wording.slug(label)}", [gettext("level"), gettext("best with")]
    return _choice_view(name, caption, texts, goal, frame, groups)


def _lead() -> str:
    return gettext(
        "Lead: by how much the first recipe of the data set is better, seed by seed, with its "
        "95\N{NO-BREAK SPACE}% t interval; no verdict."
    )


def _with_rest(rows: pd.DataFrame, names: Sequence[str]) -> Iterable[pd.Series[Any]]:
    """Add to each row what its level stands together with, in words."""
    for _, row in rows.iterrows():
        rest = [(f, str(row[f])) for f in names if f != row["factor"] and row[f] != ABSENT]
        row["with"] = " + ".join(wording.level_name(f, level) for f, level in rest) or NO_VALUE
        yield row


def _criterion(contents: Contents, label: str) -> str:
    return wording.endpoint_name(contents.suite.criterion(data_name(label, contents.suite)))


def _chosen_on(rows: pd.DataFrame) -> str:
    if len(rows) and rows["fresh"].all():
        return gettext("Chosen by the tuning seeds' trials, on seeds that are not reported.")
    return gettext("Chosen and reported on the same seeds: the first means are optimistic.")


def _choice_view(
    name: str, caption: str, texts: list[str], goal: Endpoint, frame: tuple[float, float], groups: list[Group]
) -> View:
    share = wording.is_share(goal.measure)
    first = [
        gettext("validation, %") if share else gettext("validation"),
        gettext("mean, %") if share else gettext("mean"),
        gettext("95 % interval"),
        gettext("lead, points") if share else gettext("lead"),
        gettext("its interval"),
    ]
    ends = tuple(number(end, goal.measure) for end in frame)
    return view(name, caption, texts, [*first, *_counts()], groups, plot=ends)


def _counts() -> list[str]:
    return ["n", gettext("diverged"), gettext("gaps")]


def _choice_row(
    contents: Contents, r: pd.Series[Any], texts: Sequence[str], frame: tuple[float, float]
) -> Row:
    goal = endpoint(str(r["data"]), contents.suite)
    row = _mean_row(r, texts, goal, frame)
    ahead, low, high = lead(r, contents.suite)
    at = len(texts)
    shown = [number(ahead, goal.measure), interval(low, high, goal.measure)]
    told = [*row.texts[:at], number(r["validation"], goal.measure), *row.texts[at : at + 2], *shown]
    sorts = [*row.values[:at], sortable(r["validation"]), *row.values[at : at + 2]]
    return Row(
        [*told, *row.texts[at + 2 :]],
        [*sorts, sortable(ahead), sortable(low), *row.values[at + 2 :]],
        row.plot,
    )


def recipes(contents: Contents) -> View:
    """Show all recipes, or the first of them when they are too many for a page."""
    rows = []
    for _, r in contents.recipes.head(MOST_ROWS).iterrows():
        measure = endpoint(str(r["data"]), contents.suite).measure
        row = plain_row([r["data"], *(r[f] for f in contents.compared)], [r["n"], r["diverged"], r["gaps"]])
        mean, ends = wording.with_unit(r["mean"], measure), interval(r["low"], r["high"], measure)
        at = 1 + len(contents.compared)
        texts, values = list(row.texts), list(row.values)
        texts[at:at], values[at:at] = [mean, ends], [sortable(r["mean"]), sortable(r["low"])]
        rows.append(Row(texts, values))
    total = len(contents.recipes)
    part = first_of(total, "tables/recipes.csv")
    told = say(
        "Every recipe in declared order: mean endpoint and {interval}, n seeds.", interval=mean_interval()
    )
    caption = together([told, rates.of_list(contents), part])
    columns = [gettext("mean"), gettext("95 % interval"), *_counts()]
    texts = [gettext("data"), *map(factor_name, contents.compared)]
    return view("all_recipes", caption, texts, columns, [Group("", rows)])


def first_of(total: int, file: str) -> str:
    """Say that a table shows the first of so many rows, and where all are; nothing where it shows all."""
    if total <= MOST_ROWS:
        return ""
    return say(
        "The first {shown} of {total}; all in {file}.", shown=f"{MOST_ROWS:,}", total=f"{total:,}", file=file
    )


def outcomes(contents: Contents) -> View:
    """Show how many cells of each level diverged, failed or are missing."""
    groups = []
    for factor, part in contents.outcomes.groupby("factor", sort=False):
        if factor not in ("data", *contents.compared):
            continue
        rows = []
        for _, r in part.iterrows():
            row = plain_row([r["level"]], [r[c] for c in ("cells", *STATUSES)])
            share = wording.with_unit(r["diverged_share"], "accuracy")
            rows.append(Row([*row.texts, share], [*row.values, sortable(r["diverged_share"])]))
        groups.append(Group(rates.heading(str(factor), contents), rows))
    told = gettext("How the cells of each level ended; share diverged = diverged / (ok + diverged).")
    caption = together([told, _no_estimate()])
    columns = [gettext("cells"), *map(word, STATUSES), gettext("share diverged")]
    return view("outcomes", caption, [gettext("level")], columns, groups)


def cost(contents: Contents) -> View:
    """Show what the cells cost."""
    rows = [
        Row(
            [
                str(r["data"]),
                count(r["cells"]),
                wording.duration(r["seconds"]),
                wording.duration(r["median_seconds"]),
                wording.count_range(r["parameters_min"], r["parameters_max"]),
                wording.count_range(r["steps_min"], r["steps_max"]),
            ],
            [None, *(sortable(r[c]) for c in _COST)],
        )
        for _, r in contents.cost.iterrows()
    ]
    told = gettext(
        "Cost of the cells that ran (ok or diverged) on this machine. Seconds are a pack's training time "
        "over its members: a cost, never a speed. Sums and medians over n = cells; from the records."
    )
    trials = gettext("Without the trials of searches, which stand under Tuning.")
    caption = together([told, trials if contents.searches is not None else ""])
    columns = [gettext("cells"), gettext("pack seconds, sum"), gettext("per cell, median")]
    columns += [gettext("parameters"), gettext("steps")]
    return view("cost", caption, [gettext("data")], columns, [Group("", rows)])


def machines(contents: Contents) -> View:
    """Show on what the cells ran."""
    rows = [
        plain_row([r["torch"], r["cpu"], r["device"]], [r["cells"]]) for _, r in contents.machines.iterrows()
    ]
    caption = together([gettext("On what the cells ran, from the records."), _no_estimate()])
    texts = ["torch", gettext("CPU class"), gettext("device")]
    return view("machines", caption, texts, [gettext("cells")], [Group("", rows)])


def environments(contents: Contents) -> View:
    """Show each run's environment, one group a run."""
    groups = [
        Group(
            say("run {number}", number=position),
            [plain_row([name, value], []) for name, value in flat(environment)],
        )
        for position, environment in enumerate(contents.environments, start=1)
    ]
    caption = say(
        "The environment of each run, as it was recorded; n = {runs}.",
        runs=wording.count_of(len(groups), "run"),
    )
    return view("environments", caption, [gettext("entry"), gettext("value")], [], groups)


def data_facts(contents: Contents) -> View:
    """Show the facts about each data set."""
    groups = []
    for label in contents.data:
        name = data_name(label, contents.suite)
        goal = endpoint(label, contents.suite)
        facts = [
            (gettext("endpoint"), comma(goal.column, wording.better(goal))),
            (gettext("chance level"), f"{goal.chance:.4g}"),
        ]
        smallest = contents.suite.smallest_effect.get(name)
        if smallest is not None:
            declared = wording.difference(smallest, goal.measure)
            facts.append((gettext("smallest effect, declared"), declared))
        facts += flat(dict(contents.suite.data.get(name, {})))
        groups.append(Group(label, [plain_row([fact, value], []) for fact, value in facts]))
    caption = say(
        "The data sets as the suite declares them; n = {sets}.",
        sets=wording.count_of(len(groups), "data set"),
    )
    return view("data", caption, [gettext("fact"), gettext("value")], [], groups)


def chance(goal: Endpoint) -> str:
    """Say how diverged cells are counted, and gaps."""
    return say(
        "Diverged cells count at chance level, {level}; failed and missing cells are gaps.",
        level=wording.with_unit(goal.chance, goal.measure),
    )


def flat(entries: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten nested entries to names and texts.

    Example:
        >>> flat({"git": {"commit": "ab"}, "threads": 1, "command": ["recipebench", "run"]})
        [('git.commit', 'ab'), ('threads', '1'), ('command', 'recipebench run')]
    """
    found: list[tuple[str, str]] = []
    for key, value in entries.items():
        if isinstance(value, dict):
            found += flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            plain = all(isinstance(v, str | int | float) for v in value)
            found.append(
                (f"{prefix}{key}", " ".join(map(str, value)) if plain else json.dumps(value, default=str))
            )
        else:
            found.append((f"{prefix}{key}", str(value)))
    return found


def _mean_view(
    name: str, caption: str, texts: list[str], goal: Endpoint, frame: tuple[float, float], groups: list[Group]
) -> View:
    mean = gettext("mean, %") if wording.is_share(goal.measure) else gettext("mean")
    ends = tuple(number(end, goal.measure) for end in frame)
    return view(name, caption, texts, [mean, gettext("95 % interval"), *_counts()], groups, plot=ends)


def _mean_row(r: pd.Series[Any], texts: Sequence[str], goal: Endpoint, frame: tuple[float, float]) -> Row:
    row = plain_row([r[name] for name in texts], [r["n"], r["diverged"], r["gaps"]])
    shown = [number(r["mean"], goal.measure), interval(r["low"], r["high"], goal.measure)]
    at = len(texts)
    values = [*row.values[:at], sortable(r["mean"]), sortable(r["low"]), *row.values[at:]]
    return Row([*row.texts[:at], *shown, *row.texts[at:]], values, _plot(r, frame))


def _plot(r: pd.Series[Any], frame: tuple[float, float]) -> Plot | None:
    if pd.isna(r["mean"]):
        return None
    ends = [r["mean"] if pd.isna(end) else end for end in (r["low"], r["high"])]
    places = [100 * (end - frame[0]) / (frame[1] - frame[0]) for end in (ends[0], r["mean"], ends[1])]
    low, mean, high = (round(min(max(place, 0.0), 100.0), 2) for place in places)
    return Plot(low, mean, high)


def plain_row(texts: Iterable[Any], numbers: Iterable[Any]) -> Row:
    """Return a row of texts, then of counts."""
    worded, counted = [str(text) for text in texts], list(numbers)
    values: list[float | None] = [None] * len(worded)
    return Row([*worded, *map(count, counted)], [*values, *map(sortable, counted)])


def sortable(value: Any) -> float | None:
    """Return what a number sorts by; None for a gap."""
    return None if pd.isna(value) else float(value) + 0.0  # of no sign, where it is 0


def view(
    name: str,
    caption: str,
    texts: list[str],
    numbers: list[str],
    groups: list[Group],
    plot: tuple[str, ...] = (),
) -> View:
    """Return a table whose first columns hold texts and whose others hold numbers."""
    numeric = [False] * len(texts) + [True] * len(numbers)
    return View(
        name=name, caption=caption, columns=[*texts, *numbers], numeric=numeric, groups=groups, plot=plot
    )


def endpoint_in_unit(goal: Endpoint) -> str:
    """Say what an endpoint is, and the unit in which it is shown."""
    name = wording.endpoint_name(goal)
    return say("{endpoint} in %", endpoint=name) if wording.is_share(goal.measure) else name
