"""Charts as Vega-Lite definitions, one for the interactive page and for the figure files alike."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from recipebench.reports import fonts, wording
from recipebench.reports.language import N_, gettext, say
from recipebench.reports.suite_info import Endpoint
from recipebench.reports.vega_lite import Spec, either, field, layered, mark

Slots = dict[str, dict[str, Spec | str]]
"""Charts of the page by place and choice; a text says why there is no chart."""


class Frame(NamedTuple):
    """The vertical frame of learning curves.

    Args:
        low: lowest value shown.
        high: highest value shown.
        log: whether the axis is logarithmic.
    """

    low: float
    high: float
    log: bool


# Okabe and Ito (2008), Color universal design: told apart with any color vision; dashes repeat the message.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ((), (6, 2), (2, 2), (8, 2, 2, 2))
CELL_COLORS = ("#dce9f5", "#9cc3e4", "#4a8fc7", "#1a5a96", "#0b3360")

GRID_ROW = 38
"""Height of a row of a grid, in pixels."""

_LEGEND = {"orient": "bottom", "title": None, "columns": 6, "symbolType": "stroke", "symbolOpacity": 1}
_LEGEND |= {"symbolStrokeWidth": 3, "symbolFillColor": "transparent"}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_FILE_FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
"""Of the widths that figures are laid out by; see `fonts`."""

_MOST_EPOCHS, _MOST_POINTS = 60, 9_000
_FEW_TICKS = 6


class Drawn(NamedTuple):
    """A chart that has a place on the page for itself, and a file.

    Args:
        place: its slot on the page: numbered, so that no name becomes part of the page's structure.
        file: the name of its SVG file, without the ending.
        title: of the figure.
        caption: what it shows, with n, method and source.
        spec: its definition.
    """

    place: str
    file: str
    title: str
    caption: str
    spec: Spec

    @property
    def file_name(self) -> str:
        """The name of its SVG file."""
        return f"{self.file}.svg"

    def for_file(self) -> Spec:
        """Return its definition for that file."""
        return sized(self.spec, self.title)


class Part(NamedTuple):
    """The charts of a part of a report.

    Args:
        slots: those of the page.
        files: those that are drawn as files, by file name: the same definitions at a fixed size.
    """

    slots: Slots
    files: dict[str, Spec]


def config(ink: str, *, legends: bool) -> dict[str, Any]:
    """Return the look of all charts.

    Args:
        ink: color of text and lines; `currentColor` on the page, which has a light and a dark form.
        legends: whether charts tell their colors themselves; the page has legends of its own.
    """
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 11, "titleFontSize": 11}
    calm = {"titleFontWeight": "normal", "labelOpacity": 0.8, "titleOpacity": 0.8, "labelLimit": 180}
    lines = {"gridColor": ink, "gridOpacity": 0.12, "domain": False, "tickColor": ink, "tickOpacity": 0.3}
    return {
        "background": None,
        "font": fonts.families(_FONT),
        "view": {"stroke": None},
        "axis": text | calm | lines,
        "legend": text | calm | _LEGEND | {"disable": not legends},
        "title": {"color": ink, "subtitleColor": ink, "fontSize": 12, "fontWeight": 600, "anchor": "start"},
        "text": {"color": ink},
        "concat": {"spacing": 24},
        "aria": False,
    }


def by_level(order: Sequence[str], drawn: Collection[str] | None = None) -> dict[str, Any]:
    """Return how lines tell their levels: by color, by dashes, and faint while another one is looked at.

    Which one is looked at, and which are hidden, stands in the parameters `focus` and `hidden` of the
    definition (see `told_apart`), which the page sets.

    Args:
        order: all levels in declared order, which fixes colors and dashes.
        drawn: those that the chart has; all by default.
    """
    known = [(i, level) for i, level in enumerate(order) if drawn is None or level in drawn]
    names = [level for _, level in known]
    colors = {"domain": names, "range": [color(i) for i, _ in known]}
    dashes = {"domain": names, "range": [list(dash(i)) or [1, 0] for i, _ in known]}
    return {
        "color": field("level", "nominal", scale=colors, sort=None),
        "strokeDash": field("level", "nominal", scale=dashes, sort=None),
        "opacity": either(_LOOKED_AT, 1, 0.15),
    }


_LOOKED_AT = "focus === null || datum.level === focus"
_SHOWN = "indexof(hidden, datum.level) < 0"


def told_apart(spec: Spec) -> Spec:
    """Give a definition the parameters by which its levels are looked at and hidden; see `by_level`."""
    transforms = [*spec.get("transform", []), {"filter": _SHOWN}]
    params = [{"name": "focus", "value": None}, {"name": "hidden", "value": []}]
    return spec | {"transform": transforms, "params": params}


def shown(tips: Mapping[str, str]) -> list[Spec]:
    """Return what pointing at a mark shows: its fields under these names."""
    return [field(of, "nominal", title=gettext(name)) for of, name in tips.items()]


def titled(data: str, what: str) -> str:
    """Return the title of a chart of one data set."""
    return say("{data}: {what}", data=data, what=what)


def curve_panel(
    order: Sequence[str], measure: str, frame: Frame, last: int, drawn: Collection[str] | None = None
) -> Spec:
    """Draw the learning curves of one data set and split: a line and a band for each level.

    Args:
        order: all levels in declared order, which fixes colors and dashes.
        measure: `accuracy`, `loss`, `mse` …
        frame: lowest and highest value shown; bands are cut there.
        last: the last epoch; where it is the first, points stand for lines.
        drawn: the levels that have a curve; all by default.
    """
    looks = by_level(order, drawn)
    hue = looks["color"]
    x = field("epoch", title=gettext("epoch"), axis={"grid": False, **whole_ticks(1, last)})
    upward = {"title": wording.measure_name(measure), **in_frame(measure, frame)}
    y, low = field("mean", **upward), field("low", **upward)
    ends = {
        "x": x,
        "y": low,
        "y2": {"field": "high"},
        "color": hue,
        "opacity": either(_LOOKED_AT, 0.14, 0.03),
    }
    band = mark("area", ends, clip=True)
    line = mark("line", {"x": x, "y": y, **looks}, strokeWidth=2, clip=True)
    told = {"x": x, "y": y, "color": hue, "tooltip": shown(_TIPS)}
    seen: Spec = {"opacity": 1, "size": 50} if last <= 1 else {"opacity": 0, "size": 160}
    return layered(band, line, mark("point", told, filled=True, clip=True, **seen))


_TIPS = {
    "level": N_("level"),
    "epoch": N_("epoch"),
    "text": N_("mean"),
    "ends": N_("95 % interval"),
    "n": N_("seeds"),
}


def curve_rows(curves: pd.DataFrame, measure: str, frame: Frame) -> list[dict[str, Any]]:
    """Return the points of one panel as plain values, rounded, their bands cut at the frame."""
    low, high = curves["low"].clip(frame.low, frame.high), curves["high"].clip(frame.low, frame.high)
    return [
        {
            "level": row["level"],
            "epoch": int(row["epoch"]),
            "mean": rounded(row["mean"]),
            "low": rounded(bottom),
            "high": rounded(top),
            "text": wording.with_unit(row["mean"], measure),
            "ends": wording.interval(row["low"], row["high"], measure),
            "n": int(row["n"]),
        }
        for row, bottom, top in zip(curves.to_dict("records"), low, high, strict=True)
    ]


def frame_of(curves: pd.DataFrame, measure: str) -> Frame:
    """Return the range of all means with a small margin; logarithmic where they span more than fourfold."""
    means = curves["mean"].to_numpy(dtype=float)
    finite = means[np.isfinite(means)]
    if not len(finite):
        return Frame(0.0, 1.0, log=False)
    low, high = float(finite.min()), float(finite.max())
    if not wording.is_share(measure) and low > 0 and 4 * low < high:
        return Frame(low / 1.15, high * 1.15, log=True)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    return Frame(low - margin, high + margin, log=False)


def thinned(epochs: int, series: int) -> list[int]:
    """Choose the epochs that are drawn: all if they fit, else evenly spread ones with the last.

    Args:
        epochs: the last epoch.
        series: number of lines on the page; it bounds the points of each.

    Example:
        >>> thinned(5, 10), len(thinned(1000, 10)), thinned(1000, 10)[-1]
        ([1, 2, 3, 4, 5], 60, 1000)
    """
    most = max(8, min(_MOST_EPOCHS, _MOST_POINTS // max(series, 1)))
    if epochs <= most:
        return list(range(1, epochs + 1))
    return sorted({int(e) for e in np.linspace(1, epochs, most).round()})


def heatmap(first: Sequence[str], second: Sequence[str], titles: tuple[str, str]) -> Spec:
    """Draw the means of two factors' combinations as a grid of colored, numbered cells.

    Args:
        first: levels of the rows of the grid, in declared order.
        second: levels of its columns.
        titles: names of the two factors.
    """
    return grid(first, second, titles, CELL_COLORS, shown(_HEAT_TIPS), "datum.shade > 0.45")


def grid(
    first: Sequence[str],
    second: Sequence[str],
    titles: tuple[str, str],
    colors: Sequence[str],
    tips: Sequence[Spec],
    strong: str,
) -> Spec:
    """Draw a grid of colored, numbered cells from rows with `shade` in [0, 1] and `text`.

    Args:
        first: levels of the rows, in declared order.
        second: levels of the columns.
        titles: names of the two factors.
        colors: of shades from 0 to 1, evenly spaced.
        tips: what pointing shows.
        strong: the condition, in Vega's expressions, on which a number stands on a dark color.
    """
    x, y = grid_axes(first, second, titles)
    steps = [i / (len(colors) - 1) for i in range(len(colors))]
    shade = field("shade", legend=None, scale={"domain": steps, "range": list(colors)})
    at = {"x": x, "y": y, "tooltip": list(tips)}
    cells = mark("rect", {**at, "color": shade}, cornerRadius=3)
    ink = either(strong, "#ffffff", "#10202f")
    text = {**at, "text": field("text", "nominal"), "color": ink}
    return layered(cells, mark("text", text, fontSize=text_size(len(second))))


def text_size(columns: int) -> int:
    """Return the size of the numbers in a grid of so many columns."""
    return 12 if columns <= 6 else 10 if columns <= 8 else 8


def upright(first: Sequence[str], second: Sequence[str]) -> bool:
    """Return whether a grid is better read with its factors changed over: numbers need narrow columns few.

    Example:
        >>> upright(["a", "b"], ["x", "y", "z"]), upright(["a", "b"], ["x", "y"])
        (True, False)
    """
    return len(second) > len(first)


def grid_axes(first: Sequence[str], second: Sequence[str], titles: tuple[str, str]) -> tuple[Spec, Spec]:
    """Return the axes of a grid of two factors; see `heatmap`."""
    x = field(
        "second",
        "nominal",
        sort=list(second),
        title=titles[1],
        scale={"domain": list(second), "paddingInner": 0.04},
        axis={"orient": "top", "labelAngle": 0 if _short(second) else -35, "ticks": False},
    )
    y = field(
        "first",
        "nominal",
        sort=list(first),
        title=titles[0],
        scale={"domain": list(first), "paddingInner": 0.06},
        axis={"ticks": False},
    )
    return x, y


_HEAT_TIPS = {
    "first": N_("row"),
    "second": N_("column"),
    "text": N_("mean"),
    "ends": N_("95 % interval"),
    "n": N_("seeds"),
}


def heatmap_rows(pairs: pd.DataFrame, endpoint: Endpoint) -> list[dict[str, Any]]:
    """Return the cells of one grid as plain values; darker is better."""
    known = pairs[pairs["mean"].notna()]
    low, high = known["mean"].min(), known["mean"].max()
    share = (known["mean"] - low) / (high - low) if high > low else known["mean"] * 0 + 0.3
    shade = share if endpoint.direction == "higher" or not high > low else 1 - share
    return [
        {
            "first": str(row["first"]),
            "second": str(row["second"]),
            "shade": round(float(dark), 3),
            "text": wording.number(row["mean"], endpoint.measure),
            "ends": wording.interval(row["low"], row["high"], endpoint.measure),
            "n": int(row["n"]),
        }
        for row, dark in zip(known.to_dict("records"), shade, strict=True)
    ]


def forest(groups: Mapping[str, Sequence[str]], endpoint: Endpoint, frame: tuple[float, float]) -> Spec:
    """Draw the level means of all factors of a data set with their intervals, one block a factor.

    Args:
        groups: levels of each factor, in declared order.
        endpoint: of the data set.
        frame: lowest and highest value shown; intervals are cut there.
    """
    along: Spec = {
        "scale": {"domain": list(frame), "nice": False},
        "axis": {"format": number_format(endpoint.measure), "tickCount": 6},
    }
    blocks = []
    for position, (factor, names) in enumerate(groups.items()):
        along["title"] = wording.endpoint_name(endpoint) if position == len(groups) - 1 else None
        y = field("level", "nominal", sort=list(names), title=None, axis={"ticks": False, "minExtent": 110})
        # A factor is found by its place: no name enters an expression.
        here = [f"datum.block === {position}"]
        ends = {"x": field("low", **along), "x2": {"field": "high"}, "y": y}
        line = mark("rule", ends, where=here, strokeWidth=2, color=COLORS[0], opacity=0.45)
        mean = {"x": field("mean", **along), "y": y}
        dot = mark("point", mean, where=here, filled=True, size=60, color=COLORS[0], opacity=1)
        blocks.append(layered(line, dot) | {"title": factor, "width": 380, "height": 22 * len(names)})
    return {"vconcat": blocks, "spacing": 14}


def forest_rows(means: pd.DataFrame, frame: tuple[float, float]) -> list[dict[str, Any]]:
    """Return the dots of a forest as plain values, their intervals cut at the frame."""
    place = {factor: position for position, factor in enumerate(dict.fromkeys(means["factor"]))}
    known = means[means["mean"].notna()]
    low, high = known["low"].fillna(known["mean"]), known["high"].fillna(known["mean"])
    return [
        {
            "block": place[row["factor"]],
            "level": str(row["level"]),
            "mean": rounded(row["mean"]),
            "low": rounded(bottom),
            "high": rounded(top),
        }
        for row, bottom, top in zip(
            known.to_dict("records"), low.clip(*frame), high.clip(*frame), strict=True
        )
    ]


def forest_frame(means: pd.DataFrame) -> tuple[float, float]:
    """Return the range of the intervals, no wider than the means' own range on either side."""
    known = means[means["mean"].notna()]
    if known.empty:
        return (0.0, 1.0)
    low, high = float(known["mean"].min()), float(known["mean"].max())
    reach = max(high - low, 1e-3 * abs(high), 1e-9)
    bottom = max(float(np.nanmin([low, known["low"].min()])), low - 0.6 * reach)
    top = min(float(np.nanmax([high, known["high"].max()])), high + 0.6 * reach)
    return (bottom - 0.04 * reach, top + 0.04 * reach)


def file_config(ink: str = "#1c2126") -> Spec:
    """Return the look of charts that are saved as files."""
    look = {"background": "#ffffff", "padding": 12, "font": fonts.families(_FILE_FONT)}
    return config(ink, legends=True) | look


def for_file(spec: Spec) -> Spec:
    """Return a definition with the look of charts that are saved as files, where no label is shortened."""
    whole: Spec = _unshortened(spec)
    return {**whole, "config": _unshortened(file_config())}


def _unshortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: 0 if key == "labelLimit" else _unshortened(inner) for key, inner in value.items()}
    return [_unshortened(inner) for inner in value] if isinstance(value, list) else value


def sized(spec: Spec, title: str) -> Spec:
    """Return a definition of the page at the size and with the title that it has in a file."""
    return {**spec, "width": 380, "title": title}


def color(position: int) -> str:
    """Return the color of the level at a position."""
    return COLORS[position % len(COLORS)]


def dash(position: int) -> tuple[int, ...]:
    """Return the dashes of the level at a position: plain for the first six, then one pattern a round."""
    return DASHES[position // len(COLORS) % len(DASHES)]


def in_frame(measure: str, frame: Frame) -> Spec:
    """Return scale and axis of the values of a measure."""
    ticks = {"values": log_ticks(frame)} if frame.log else {"tickCount": 5}
    kind = "log" if frame.log else "linear"
    return {
        "scale": {"domain": [frame.low, frame.high], "type": kind, "nice": False},
        "axis": {"format": number_format(measure), **ticks},
    }


def number_format(measure: str) -> str:
    """Return how Vega shows values of a measure: shares in percent."""
    return "%" if wording.is_share(measure) else "~g"


def whole_ticks(first: int, last: int) -> Spec:
    """Return the ticks of an axis of whole numbers; those of a short one are named, as Vega halves them."""
    few = list(range(first, last + 1)) if last - first < _FEW_TICKS else None
    return {"format": "d", **({"values": few} if few else {"tickMinStep": 1})}


def log_ticks(frame: Frame) -> list[float]:
    """Return the ticks of a logarithmic axis."""
    powers = range(math.floor(math.log10(frame.low)), math.ceil(math.log10(frame.high)) + 1)
    steps = (1, 2, 5) if len(powers) < 5 else (1,)
    ticks = [float(f"{step}e{power}") for power in powers for step in steps]
    return [tick for tick in ticks if frame.low <= tick <= frame.high]


def _short(names: Sequence[str]) -> bool:
    return len(names) <= 3 or max(map(len, names)) <= 9


def rounded(value: float) -> float | None:
    """Return a value as charts hold it: five significant digits, None where it is not finite."""
    if not math.isfinite(value):
        return None
    return float(f"{value:.5g}")
