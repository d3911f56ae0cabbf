"""Which charts of tuning a report has, for the page and as SVG files."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from recipebench.reports import charts, searches, tuning_charts, tuning_views, wording
from recipebench.reports.charts import Drawn, Part, titled
from recipebench.reports.contents import Contents
from recipebench.reports.frames import endpoint
from recipebench.reports.language import gettext, say, together
from recipebench.reports.vega_lite import definition
from recipebench.reports.views import mean_interval

HEIGHT = 230


def against_default(contents: Contents) -> list[Drawn]:
    """Draw tuned beside default, one chart a data set."""
    found, drawn = tuning_views.plan(contents)[1].against_default, []
    for position, label in enumerate(tuning_views.compared_data(contents)):
        here, goal = found[found["data"] == label], endpoint(label, contents.suite)
        names = _names(here)
        frame = charts.forest_frame(tuning_charts.long_means(here))
        rows = tuning_charts.against_default_rows(here, names, goal.measure, frame)
        chart = tuning_charts.against_default(names, goal, frame)
        spec = definition(chart, rows, width="container", height=tuning_charts.ROW_HEIGHT * len(names))
        caption = say(
            "Mean at the default and tuned, n = {seeds}, the same pairs of cells in both; line: {interval}, "
            "cut at the frame; {better}.",
            seeds=wording.range_of(*_ends(here["n"]), "seed"),
            interval=mean_interval(),
            better=wording.better(goal),
        )
        drawn.append(
            Drawn(f"default-{position}", f"tuned_against_default-{wording.slug(label)}", label, caption, spec)
        )
    return drawn


def sensitivity(contents: Contents) -> list[Drawn]:
    """Draw the validation score over the values of each tuned hyper-parameter, one chart a data set."""
    how, found = tuning_views.plan(contents)
    curves = searches.sensitivity_curves(found.sensitivity)
    drawn = []
    for position, label in enumerate(tuning_views.searched_data(contents)):
        here, goal = curves[curves["data"] == label], tuning_views.criterion(contents, label)
        for rank, name in enumerate(dict.fromkeys(here["hyper_parameter"])):
            part = here[here["hyper_parameter"] == name]
            scale = _scale(contents, name)
            frame = charts.frame_of(part, goal.measure)
            rows = tuning_charts.sensitivity_rows(part, scale, goal.measure)
            across, axis = tuning_charts.value_frame(rows, scale), _axis(name, scale)
            chart = tuning_charts.sensitivity(tuning_views.levels(contents), axis, across, goal, frame)
            spec = charts.told_apart(definition(chart, rows, width="container", height=HEIGHT))
            file = f"sensitivity-{wording.slug(label)}-{wording.slug(name)}"
            caption = _sensitivity_caption(part, len(how.seeds), wording.endpoint_name(goal))
            drawn.append(Drawn(f"sensitivity-{position}-{rank}", file, titled(label, name), caption, spec))
    return drawn


def budgets(contents: Contents) -> list[Drawn]:
    """Draw the expected best of k trials, one chart a data set, and the rank by budget, one a factor."""
    return [*_best_of_k(contents), *_ranks(contents)]


def part(contents: Contents) -> Part:
    """Return all charts of tuning; none where nothing was tuned."""
    found = list(every(contents)) if contents.searches is not None else []
    return Part(
        {one.place: {"": one.spec} for one in found}, {one.file_name: one.for_file() for one in found}
    )


def every(contents: Contents) -> Iterator[Drawn]:
    """Return all charts of tuning."""
    yield from against_default(contents)
    yield from sensitivity(contents)
    yield from budgets(contents)


def _best_of_k(contents: Contents) -> list[Drawn]:
    best, drawn = tuning_views.plan(contents)[1].best_of_k, []
    for position, label in enumerate(tuning_views.searched_data(contents)):
        here, goal = best[best["data"] == label], tuning_views.criterion(contents, label)
        if here.empty:
            continue
        frame = charts.frame_of(here.rename(columns={"expected_best": "mean"}), goal.measure)
        chart = tuning_charts.best_of_k(tuning_views.levels(contents), goal, frame, _ends(here["k"])[1])
        rows = tuning_charts.best_of_k_rows(here, goal.measure)
        spec = charts.told_apart(definition(chart, rows, width="container", height=HEIGHT))
        n = wording.range_of(*_ends(here["searches"]), "search", "searches")
        caption = together(
            [tuning_views.budget_caption(contents), say("n = {searches} a level.", searches=n)]
        )
        title = titled(label, gettext("expected best of k trials"))
        drawn.append(Drawn(f"best-of-k-{position}", f"best_of_k-{wording.slug(label)}", title, caption, spec))
    return drawn


def _ranks(contents: Contents) -> list[Drawn]:
    found, drawn = tuning_views.plan(contents)[1].ranks, []
    for position, (factor, part) in enumerate(found.groupby("factor", sort=False)):
        levels = tuning_views.levels(contents)
        mine = [level for level in levels if level in set(part["level"])]
        chart = tuning_charts.ranks(levels, len(mine), _ends(part["k"])[1])
        rows = tuning_charts.rank_rows(part)
        spec = charts.told_apart(definition(chart, rows, width="container", height=HEIGHT))
        sets = wording.range_of(*_ends(part["data_sets"]), "data set")
        caption = together([tuning_views.rank_caption(), say("n = {sets}.", sets=sets)])
        file = f"rank_by_budget-{wording.slug(str(factor))}"
        title = titled(wording.factor_name(str(factor)), gettext("rank by budget"))
        drawn.append(Drawn(f"ranks-{position}", file, title, caption, spec))
    return drawn


def _names(found: pd.DataFrame) -> list[str]:
    """Call each row by its tuned level, and by the default too where that has several."""
    several = found["level"].duplicated(keep=False)
    names = zip(found["level"], found["default"], several, strict=True)
    return [f"{level} / {default}" if more else str(level) for level, default, more in names]


def _axis(name: str, scale: str) -> str:
    """Name the axis of a hyper-parameter: it shows 1 - x where the logarithm of this is spread evenly."""
    return f"1 \N{MINUS SIGN} {name}" if scale == "one_minus_log" else name


def _scale(contents: Contents, column: str) -> str:
    """The scale on which most spaces search a hyper-parameter."""
    known = [
        limits.scale
        for space in tuning_views.plan(contents)[0].spaces
        for name, limits in space.ranges.items()
        if f"{space.factor}.{name}" == column
    ]
    return max(dict.fromkeys(known), key=known.count, default="linear")


def _sensitivity_caption(part: pd.DataFrame, seeds: int, name: str) -> str:
    lines, points = part[part["line"]], part[~part["line"]]
    values = {"score": f"{name[:1].upper()}{name[1:]}", "seeds": wording.count_of(seeds, "tuning seed")}
    told = say("{score}, mean over n = {seeds}.", **values)
    if len(lines):
        searches = wording.range_of(*_ends(lines["searches"]), "search", "searches")
        told = say("{score}, mean over n = {seeds} and {searches} a level.", **values, searches=searches)
    single = say(
        "Points without a line are single trials, of searches of several hyper-parameters or of values that "
        "not every search of the level tried, at most {most} a level.",
        most=tuning_charts.MOST_POINTS,
    )
    cross = gettext("A cross marks a value at which a trial diverged; diverged trials count at chance level.")
    return together([told, single if len(points) else "", cross, gettext("From the records.")])


def _ends(counts: pd.Series[int]) -> tuple[int, int]:
    return int(counts.min()), int(counts.max())
