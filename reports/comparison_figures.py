"""Which charts of comparisons a report has, for the page and as SVG files."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from recipebench.reports import charts, comparison_charts, comparison_views, comparisons, rates, wording
from recipebench.reports.charts import Drawn, Part, Slots, titled
from recipebench.reports.contents import Contents
from recipebench.reports.frames import endpoint
from recipebench.reports.language import gettext, say, together
from recipebench.reports.suite_info import Endpoint
from recipebench.reports.vega_lite import Spec, definition

PROFILES = "profiles"
"""The place of the performance profiles on the page."""

PROFILE_HEIGHT = 260


def effects(contents: Contents) -> dict[str, dict[str, Spec]]:
    """Return the forests of paired effects: `effects-<data>` with a choice a factor."""
    found, compared = contents.comparisons.effects, contents.compared
    found = found[found["n"] > 0]
    slots: dict[str, dict[str, Spec]] = {}
    for position, label in enumerate(contents.data):
        here, goal = found[found["data"] == label], endpoint(label, contents.suite)
        for (factor, reference), part in here.groupby(["factor", "reference"], sort=False):
            frame = comparison_charts.effect_frame(part)
            title = _effect_title(str(reference), goal)
            unit = 100 if wording.is_share(goal.measure) else 1
            names, ends = list(part["level"]), (unit * frame[0], unit * frame[1])
            chart = comparison_charts.effects(names, title, ends)
            rows = comparison_charts.effect_rows(part, goal, frame)
            height = comparison_charts.ROW_HEIGHT * len(names)
            spec = definition(chart, rows, width="container", height=height)
            slots.setdefault(f"effects-{position}", {})[str(compared.index(str(factor)))] = spec
    return slots


def _effect_title(reference: str, goal: Endpoint) -> str:
    values = {"reference": reference, "better": wording.better(goal)}
    if wording.is_share(goal.measure):
        return say("difference from {reference}, points ({better})", **values)
    return say("difference from {reference} ({better})", **values)


def ranks(contents: Contents) -> list[Drawn]:
    """Draw a critical-difference diagram for every factor that is ranked."""
    drawn = []
    for position, found in enumerate(comparison_views.ranked(contents)):
        chart = comparison_charts.critical_difference(len(found.levels))
        rows, height = comparison_charts.critical_rows(found), comparison_charts.critical_height(found)
        spec = definition(chart, rows, width="container", height=height)
        caption, file = comparison_views.ranking_caption(found), f"ranks-{wording.slug(found.factor)}"
        title = rates.heading(found.factor, contents)
        drawn.append(Drawn(f"mean-ranks-{position}", file, title, caption, spec))
    return drawn


def variance(contents: Contents) -> list[Drawn]:
    """Draw the shares of variance, one chart a data set."""
    found, drawn = contents.comparisons.shares, []
    for position, label in enumerate(comparison_views.shared_data(contents)):
        here = found[found["data"] == label]
        names = [comparison_views.term_name(term, contents) for term in here["term"]]
        rows = comparison_charts.variance_rows(here, names, contents.compared)
        height = 20 * len(names)
        spec = definition(comparison_charts.variance(names), rows, width="container", height=height)
        cells = wording.count_of(int((contents.cells["data"] == label).sum()), "cell")
        told = say(
            "ω² of the factors, their pairs, the seeds and the rest (Hays 1994); n = {cells}.", cells=cells
        )
        caption = together([told, comparison_views.exploratory()])
        file = f"variance_shares-{wording.slug(label)}"
        drawn.append(Drawn(f"variance-{position}", file, label, caption, spec))
    return drawn


def profiles(contents: Contents) -> dict[str, dict[str, Spec]]:
    """Return the performance profiles: the slot `profiles` with a choice a factor."""
    slots = {}
    for found in contents.comparisons.profiles:
        chart = comparison_charts.profile(contents.levels(found.factor), found.last)
        rows = comparison_charts.profile_rows(found)
        spec = definition(chart, rows, width="container", height=PROFILE_HEIGHT)
        slots[str(contents.compared.index(found.factor))] = charts.told_apart(spec)
    return {PROFILES: slots} if slots else {}


def departures(contents: Contents, label: str, pair: tuple[str, str]) -> Spec | str:
    """Draw the interaction of two factors on a data set, or say why there is none."""
    means = contents.pairs[pair]
    found = comparisons.interaction(means[means["data"] == label])
    if found is None:
        return gettext("Not every combination has a mean here, so there is no interaction to show.")
    title = comparison_views.share_of_pair(contents, label, pair)
    pair, found, first, second = turned(contents, pair, found)
    rows = comparison_charts.departure_rows(found, endpoint(label, contents.suite))
    chart = comparison_charts.departures(first, second, titles(pair))
    more = {"title": {"text": title, "fontWeight": "normal"}} if title else {}
    return definition(chart, rows, width="container", height=charts.GRID_ROW * len(first), **more)


def titles(pair: tuple[str, str]) -> tuple[str, str]:
    """Return the titles of the axes of a grid of two factors."""
    return wording.factor_name(pair[0]), wording.factor_name(pair[1])


def turned(
    contents: Contents, pair: tuple[str, str], rows: pd.DataFrame
) -> tuple[tuple[str, str], pd.DataFrame, list[str], list[str]]:
    """Put the factor with more levels first, so that a grid has few columns.

    Args:
        contents: what the report says.
        pair: two factors.
        rows: their combinations, with the columns `first` and `second`.

    Returns:
        The pair, its rows, and the levels of each that stand in the rows, in declared order.
    """
    columns = ("first", "second")
    there = [set(rows[column].astype(str)) for column in columns]
    first, second = (
        [level for level in contents.levels(factor) if level in known]
        for factor, known in zip(pair, there, strict=True)
    )
    if not charts.upright(first, second):
        return pair, rows, first, second
    return pair[::-1], rows.rename(columns={"first": "second", "second": "first"}), second, first


def part(contents: Contents) -> Part:
    """Return the charts of effects, ranks, shares of variance and performance profiles."""
    single = [*ranks(contents), *variance(contents)]
    shaped = effects(contents) | profiles(contents)
    slots: Slots = {place: dict(choices) for place, choices in shaped.items()}
    files = dict(_files(contents, shaped)) | {one.file_name: one.for_file() for one in single}
    return Part(slots | {one.place: {"": one.spec} for one in single}, files)


def _files(contents: Contents, slots: dict[str, dict[str, Spec]]) -> Iterator[tuple[str, Spec]]:
    """Return the figures of effects and profiles by file name."""
    for place, choices in slots.items():
        for choice, spec in choices.items():
            factor = contents.compared[int(choice)]
            title, name = rates.heading(factor, contents), wording.slug(factor)
            if place == PROFILES:
                yield f"performance_profiles-{name}.svg", charts.sized(spec, title)
            else:
                label = contents.data[int(place.rpartition("-")[2])]
                file = f"paired_effects-{wording.slug(label)}-{name}.svg"
                yield file, charts.sized(spec, titled(label, title))
