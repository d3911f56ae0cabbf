"""The picture on top of a report: for each factor of a data set, where its levels lie and which is best."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from recipebench.reports import rates, wording
from recipebench.reports.contents import Contents
from recipebench.reports.frames import endpoint
from recipebench.reports.language import listed, say, together
from recipebench.reports.suite_info import Endpoint


class Dot(NamedTuple):
    """A level.

    Args:
        place: of its mean along the line, in percent of the line's length.
        told: its name and mean.
        best: whether it is the best of its factor, and that may be said.
    """

    place: float
    told: str
    best: bool


class Strip(NamedTuple):
    """A factor.

    Args:
        heading: its name.
        label: the strip in words.
        dots: its levels that have a mean; the best comes last, so that it is drawn on top.
        best: the best level and its mean, or why none is told.
    """

    heading: str
    label: str
    dots: list[Dot]
    best: str


class Glance(NamedTuple):
    """The strips of a data set on one scale.

    Args:
        strips: one a factor, the one whose levels lie furthest apart first.
        ends: of the scale, in words.
        caption: what they show.
    """

    strips: list[Strip]
    ends: tuple[str, str]
    caption: str


def glance(contents: Contents, label: str) -> Glance:
    """Return the picture of a data set; without strips where no level has a mean."""
    goal = endpoint(label, contents.suite)
    here = contents.means[(contents.means["data"] == label) & contents.means["mean"].notna()]
    here = here[here["factor"].isin(contents.compared_on(label))]
    low, high = (float(here["mean"].min()), float(here["mean"].max())) if len(here) else (0.0, 1.0)
    parts = [part for _, part in here.groupby("factor", sort=False)]
    parts.sort(key=lambda part: float(part["mean"].min() - part["mean"].max()))
    caption = together(
        [
            say(
                "{data}: every dot is the mean {endpoint} of a level over all that it was combined with; "
                "{better}.",
                data=label,
                endpoint=wording.endpoint_name(goal),
                better=wording.better(goal),
            ),
            say(
                "n = {seeds}, from the records; the intervals are under Level means.",
                seeds=wording.range_of(int(here["n"].min()), int(here["n"].max()), "seed"),
            )
            if len(here)
            else "",
        ]
    )
    ends = (wording.with_unit(low, goal.measure), wording.with_unit(high, goal.measure))
    return Glance([_strip(part, contents, goal, (low, high)) for part in parts], ends, caption)


def _strip(part: pd.DataFrame, contents: Contents, goal: Endpoint, frame: tuple[float, float]) -> Strip:
    factor = str(part["factor"].iloc[0])
    ranked = rates.ranked(factor, contents)
    ordered = part.sort_values("mean", ascending=goal.direction == "higher", kind="stable")
    told = [f"{r['level']} {wording.with_unit(r['mean'], goal.measure)}" for _, r in ordered.iterrows()]
    width = frame[1] - frame[0] or 1.0
    dots = [
        Dot(round(100 * (mean - frame[0]) / width, 2), text, ranked and position == len(told) - 1)
        for position, (mean, text) in enumerate(zip(ordered["mean"], told, strict=True))
    ]
    best, heading = told[-1] if ranked else rates.in_place_of_best(contents), wording.factor_name(factor)
    label = say("{factor}: {levels}", factor=heading, levels=listed(reversed(told)))
    return Strip(heading, label, dots, best)
