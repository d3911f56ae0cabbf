"""Which charts a report has: the definitions that the page embeds, and the figures as SVG files."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from recipebench.reports import (
    charts,
    comparison_figures,
    comparison_views,
    rates,
    tuning_figures,
    verdict_charts,
    wording,
)
from recipebench.reports.charts import Part, Slots, titled
from recipebench.reports.contents import CURVE_SPLITS, Contents, measures
from recipebench.reports.frames import endpoint
from recipebench.reports.language import gettext, say
from recipebench.reports.vega_lite import ROWS, SCHEMA, Spec, definition

APART = "-apart"
"""What ends the choice of a pair's interaction."""

_CURVE_HEIGHT = 230


def parts(contents: Contents) -> Iterator[Part]:
    """Return all charts of a report, part by part.

    Places and choices of the page are numbered, so that no name becomes part of its structure:
    `pairs-<data>` with `<first>-<second>` and, for the interaction, `<first>-<second>-apart`;
    `curves-<data>-<split>` with `<factor>-<measure>`; those of comparisons and tuning.
    """
    for make in (_means, _pairs, _curves, _verdicts, comparison_figures.part, tuning_figures.part):
        slots, files = make(contents)
        yield Part(slots, {name: charts.for_file(spec) for name, spec in files.items()})


def slots(contents: Contents) -> Slots:
    """Return the page's charts of all parts."""
    return {place: choices for part in parts(contents) for place, choices in part.slots.items()}


def drawn_epochs(contents: Contents) -> tuple[list[int], int]:
    """Return the epochs that the page draws, and the last epoch."""
    last = max((int(curve["epoch"].max()) for curve in contents.curves.values() if len(curve)), default=0)
    lines = sum(curve[["data", "level"]].drop_duplicates().shape[0] for curve in contents.curves.values())
    return charts.thinned(last, lines), last


def _means(contents: Contents) -> Part:
    named = {f"factor_means-{wording.slug(label)}.svg": label for label in contents.data}
    return Part({}, {name: _forest(contents, label) for name, label in named.items()})


def _verdicts(contents: Contents) -> Part:
    if not verdict_charts.drawn(contents.verdicts):
        return Part({}, {})
    spec = verdict_charts.forest(contents.verdicts)
    return Part({verdict_charts.PLACE: {"": spec}}, {"verdicts.svg": spec | {"width": 380}})


def _pairs(contents: Contents) -> Part:
    slots: Slots = {}
    files: dict[str, Spec] = {}
    for position, label in enumerate(contents.data if contents.pairs else ()):
        choices = slots[f"pairs-{position}"] = {}
        for pair, means in contents.pairs.items():
            choice, names = _pair_choice(contents, pair), "-".join(map(wording.slug, pair))
            choices[choice] = grid = _heatmap(contents, pair, means[means["data"] == label])
            choices[choice + APART] = apart = comparison_figures.departures(contents, label, pair)
            for kind, spec in {"pairs": grid, "interaction": apart}.items():
                if not isinstance(spec, str):
                    file = f"{kind}-{wording.slug(label)}-{names}.svg"
                    files[file] = _heatmap_figure(contents, spec, label, pair, kind)
    return Part(slots, files)


def _pair_choice(contents: Contents, pair: tuple[str, str]) -> str:
    compared = contents.compared
    return "-".join(str(compared.index(factor)) for factor in pair)


def _curves(contents: Contents) -> Part:
    slots: Slots = {}
    files: dict[str, Spec] = {}
    if not contents.curves:
        return Part(slots, files)
    epochs, _ = drawn_epochs(contents)
    for position, label in enumerate(contents.data):
        for choice, split, spec in _curve_choices(contents, label, epochs):
            slots.setdefault(f"curves-{position}-{split}", {})[choice] = spec
        for place, factor in enumerate(contents.compared):
            drawn = {split: slots[f"curves-{position}-{split}"][f"{place}-0"] for split in CURVE_SPLITS}
            both = {split: spec for split, spec in drawn.items() if not isinstance(spec, str)}
            title = titled(label, rates.heading(factor, contents))
            if both:
                files[f"curves-{wording.slug(label)}-{wording.slug(factor)}.svg"] = _curve_figure(both, title)
    return Part(slots, files)


def _curve_choices(
    contents: Contents, label: str, epochs: list[int]
) -> Iterator[tuple[str, str, Spec | str]]:
    """The curves of every factor, measure and split, or why there are none; both splits have one frame."""
    for place, factor in enumerate(contents.compared):
        for rank, measure in enumerate(measures(label, contents.suite)):
            panels = _panels(contents, label, factor, measure)
            both = pd.concat(panels.values())
            if both.empty:
                told = gettext("No run ended ok here, so there is no curve.")
                yield from ((f"{place}-{rank}", split, told) for split in panels)
                continue
            frame, there = charts.frame_of(both, measure), set(both["level"].astype(str))
            last = int(both["epoch"].max())
            chart = charts.curve_panel(contents.levels(factor), measure, frame, last, there)
            blank = charts.told_apart(definition(chart, [], width="container", height=_CURVE_HEIGHT))
            for split, rows in panels.items():
                values = charts.curve_rows(rows[rows["epoch"].isin(epochs)], measure, frame)
                yield f"{place}-{rank}", split, blank | {"datasets": {ROWS: values}}


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
    return definition(chart, rows, width="container", height=charts.GRID_ROW * len(first))


def _heatmap_figure(contents: Contents, spec: Spec, label: str, pair: tuple[str, str], kind: str) -> Spec:
    goal = endpoint(label, contents.suite)
    told = say("mean {endpoint}, {better}", endpoint=wording.endpoint_name(goal), better=wording.better(goal))
    if kind == "interaction":
        told = comparison_views.share_of_pair(contents, label, pair) or gettext("interaction")
    title = {"text": label, "subtitle": told}
    columns = {row["second"] for row in spec["datasets"][ROWS]}
    return spec | {"width": 90 * len(columns), "title": title}


def _forest(contents: Contents, label: str) -> Spec:
    here = contents.means[contents.means["data"] == label]
    here = here[here["factor"].isin(contents.compared)]
    frame = charts.forest_frame(here)
    groups = {
        rates.heading(str(factor), contents): [str(level) for level in part["level"]]
        for factor, part in here.groupby("factor", sort=False)
    }
    chart = charts.forest(groups, endpoint(label, contents.suite), frame)
    return definition(chart, charts.forest_rows(here, frame), title=label)


def _curve_figure(both: dict[str, Spec], title: str) -> Spec:
    """Both splits beside each other under one legend."""
    panels: list[Spec] = []
    rows, params = {}, []
    for split, spec in both.items():
        panels.append(
            spec
            | {
                "width": 300,
                "height": 200,
                "title": {"text": wording.split_name(split), "fontWeight": "normal"},
                "data": {"name": split},
            }
        )
        rows[split], params = panels[-1].pop("datasets")[ROWS], panels[-1].pop("params")
        del panels[-1]["$schema"]
    shared = {"scale": {"color": "shared", "strokeDash": "shared"}}
    whole = {"$schema": SCHEMA, "hconcat": panels, "datasets": rows}
    return whole | {"title": title, "resolve": shared, "params": params}
