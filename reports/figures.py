"""Which charts a report has: the definitions that the page embeds, and the figures as SVG files."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from altair.utils.schemapi import debug_mode

from recipebench.reports import (
    charts,
    comparison_figures,
    comparison_views,
    tuning_figures,
    verdict_charts,
    wording,
)
from recipebench.reports.charts import Spec, titled
from recipebench.reports.contents import CURVE_SPLITS, Contents, measures
from recipebench.reports.frames import endpoint
from recipebench.reports.language import gettext, say
from recipebench.reports.views import factor_heading

Slots = dict[str, dict[str, Spec | str]]

APART = "-apart"
"""What ends the choice of a pair's interaction."""

_CURVE_HEIGHT = 230


def slots(contents: Contents) -> Slots:
    """Return the page's charts: for each place on the page, the definition of each choice.

    Places and choices are numbered, so that no name becomes part of the page's structure:
    `pairs-<data>` with `<first>-<second>` and, for the interaction, `<first>-<second>-apart`;
    `curves-<data>-<split>` with `<factor>-<measure>`; those of comparisons and tuning. A text in place of a
    definition says why there is no chart.
    """
    found: Slots = {}
    with debug_mode(False):  # altair would check every level name against its schema; tests check the schema
        for part in (_pair_slots(contents), _curve_slots(contents), _verdict_slots(contents)):
            found |= part
        for more in (comparison_figures.slots(contents), tuning_figures.slots(contents)):
            found |= {place: dict(choices) for place, choices in more.items()}
    return found


def files(contents: Contents, slots: Slots) -> Iterator[tuple[str, Spec]]:
    """Return what is drawn as files, by name: level means, comparisons, grids of pairs, curves, tuning.

    Args:
        contents: what the report says.
        slots: the page's charts; the files are the same definitions at a fixed size and with a look.
    """
    with debug_mode(False):
        for found in (
            _specs(contents, slots),
            comparison_figures.files(contents),
            tuning_figures.files(contents),
        ):
            for name, spec in found:
                yield name, charts.for_file(spec)


def _specs(contents: Contents, slots: Slots) -> Iterator[tuple[str, Spec]]:
    for position, label in enumerate(contents.data):
        name = wording.slug(label)
        yield f"factor_means-{name}.svg", _forest(contents, label)
        for pair in contents.pairs:
            names = "-".join(wording.slug(factor) for factor in pair)
            for kind, ending in {"pairs": "", "interaction": APART}.items():
                spec = slots[f"pairs-{position}"][_pair_choice(contents, pair) + ending]
                if not isinstance(spec, str):
                    yield f"{kind}-{name}-{names}.svg", _heatmap_figure(contents, spec, label, pair, kind)
        for place, factor in enumerate(contents.compared if contents.curves else ()):
            both = {split: slots[f"curves-{position}-{split}"][f"{place}-0"] for split in CURVE_SPLITS}
            title = titled(label, factor_heading(factor, contents))
            yield f"curves-{name}-{wording.slug(factor)}.svg", _curve_figure(both, title)
    if verdict_charts.drawn(contents.verdicts):
        yield "verdicts.svg", verdict_charts.forest(contents.verdicts) | {"width": 380}


def drawn_epochs(contents: Contents) -> tuple[list[int], int]:
    """Return the epochs that the page draws, and the last epoch."""
    last = max((int(curve["epoch"].max()) for curve in contents.curves.values() if len(curve)), default=0)
    lines = sum(curve[["data", "level"]].drop_duplicates().shape[0] for curve in contents.curves.values())
    return charts.thinned(last, lines), last


def _verdict_slots(contents: Contents) -> Slots:
    if not verdict_charts.drawn(contents.verdicts):
        return {}
    return {verdict_charts.PLACE: {"": verdict_charts.forest(contents.verdicts)}}


def _pair_slots(contents: Contents) -> Slots:
    found: Slots = {}
    for position, label in enumerate(contents.data if contents.pairs else ()):
        choices: dict[str, Spec | str] = {}
        for pair, means in contents.pairs.items():
            choice = _pair_choice(contents, pair)
            choices[choice] = _heatmap(contents, pair, means[means["data"] == label])
            choices[choice + APART] = comparison_figures.departures(contents, label, pair)
        found[f"pairs-{position}"] = choices
    return found


def _pair_choice(contents: Contents, pair: tuple[str, str]) -> str:
    compared = contents.compared
    return "-".join(str(compared.index(factor)) for factor in pair)


def _curve_slots(contents: Contents) -> Slots:
    if not contents.curves:
        return {}
    epochs, _ = drawn_epochs(contents)
    found: Slots = {}
    for position, label in enumerate(contents.data):
        for choice, split, spec in _curve_choices(contents, label, epochs):
            found.setdefault(f"curves-{position}-{split}", {})[choice] = spec
    return found


def _curve_choices(contents: Contents, label: str, epochs: list[int]) -> Iterator[tuple[str, str, Spec]]:
    """The curves of every factor, measure and split; both splits have one frame."""
    for place, factor in enumerate(contents.compared):
        for rank, measure in enumerate(measures(label, contents.suite)):
            panels = _panels(contents, label, factor, measure)
            both = pd.concat(panels.values())
            frame, there = charts.frame_of(both, measure), set(both["level"].astype(str))
            chart = charts.curve_panel(contents.levels(factor), measure, frame, there)
            blank = charts.told_apart(charts.finish(chart, [], width="container", height=_CURVE_HEIGHT))
            for split, rows in panels.items():
                values = charts.curve_rows(rows[rows["epoch"].isin(epochs)], measure, frame)
                yield f"{place}-{rank}", split, blank | {"datasets": {charts.ROWS: values}}


def _panels(contents: Contents, label: str, factor: str, measure: str) -> dict[str, pd.DataFrame]:
    found = {}
    for split in CURVE_SPLITS:
        curve = contents.curves[(factor, measure, split)]
        found[split] = curve[curve["data"] == label]
    return found


def _heatmap(contents: Contents, pair: tuple[str, str], means: pd.DataFrame) -> Spec:
    pair, means, first, second = comparison_figures.turned(contents, pair, means)
    rows = charts.heatmap_rows(means, endpoint(str(means["data"].iloc[0]), contents.suite))
    chart = charts.heatmap(first, second, comparison_figures.titles(pair))
    return charts.finish(chart, rows, width="container", height=charts.GRID_ROW * len(first))


def _heatmap_figure(contents: Contents, spec: Spec, label: str, pair: tuple[str, str], kind: str) -> Spec:
    goal = endpoint(label, contents.suite)
    told = say("mean {endpoint}, {better}", endpoint=wording.endpoint_name(goal), better=wording.better(goal))
    if kind == "interaction":
        told = comparison_views.share_of_pair(contents, label, pair) or gettext("interaction")
    title = {"text": label, "subtitle": told}
    columns = {row["second"] for row in spec["datasets"][charts.ROWS]}
    return spec | {"width": 90 * len(columns), "title": title}


def _forest(contents: Contents, label: str) -> Spec:
    here = contents.means[contents.means["data"] == label]
    here = here[here["factor"].isin(contents.compared)]
    frame = charts.forest_frame(here)
    groups = {
        factor_heading(str(factor), contents): [str(level) for level in part["level"]]
        for factor, part in here.groupby("factor", sort=False)
    }
    chart = charts.forest(groups, endpoint(label, contents.suite), frame)
    return charts.finish(chart, charts.forest_rows(here, frame), title=label)


def _curve_figure(both: dict[str, Spec | str], title: str) -> Spec:
    """Both splits beside each other under one legend."""
    panels: list[Spec] = []
    rows, params = {}, []
    for split, spec in both.items():
        if isinstance(spec, str):
            continue
        panels.append(
            spec
            | {
                "width": 300,
                "height": 200,
                "title": {"text": wording.split_name(split), "fontWeight": "normal"},
                "data": {"name": split},
            }
        )
        rows[split], params = panels[-1].pop("datasets")[charts.ROWS], panels[-1].pop("params")
    shared = {"scale": {"color": "shared", "strokeDash": "shared"}}
    return {"hconcat": panels, "datasets": rows, "title": title, "resolve": shared, "params": params}
