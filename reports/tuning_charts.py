"""The charts of tuning as Vega-Lite definitions: tuned beside default, sensitivity, budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from recipebench.reports import wording
from recipebench.reports.charts import (
    COLORS,
    ROWS,
    AnyChart,
    Frame,
    Spec,
    by_level,
    log_ticks,
    rounded,
    shown,
)
from recipebench.reports.language import N_, gettext, say
from recipebench.reports.suite_info import Endpoint

SERIES = ("default", "tuned")
SERIES_COLORS = (COLORS[4], COLORS[0])
ROW_HEIGHT = 44
MOST_POINTS = 200
"""The most single trials of a level that a chart draws."""

# Marks are drawn by their strokes: these have a lighter form on dark paper.
_HOLLOW: Spec = {"filled": False, "fill": "transparent", "strokeWidth": 2.5}


def against_default(levels: Sequence[str], goal: Endpoint, frame: tuple[float, float]) -> AnyChart:
    """Draw each level's mean at its default and tuned, one above the other, with their intervals.

    Args:
        levels: in declared order.
        goal: the data set's endpoint.
        frame: lowest and highest value shown; intervals are cut there.
    """
    spec = alt.Chart(alt.NamedData(name=ROWS))
    axis = alt.Axis(format="%" if wording.is_share(goal.measure) else "~g", tickCount=6)
    scale, title = alt.Scale(domain=list(frame), nice=False), wording.endpoint_name(goal)
    left = alt.Axis(ticks=False, minExtent=110, labelLimit=280)
    y = alt.Y("level", type="nominal", sort=list(levels), title=None, axis=left)
    series = list(map(wording.word, SERIES))
    offset = alt.YOffset("series", type="nominal", sort=series, scale=alt.Scale(paddingOuter=0.6))
    colors = alt.Scale(domain=series, range=list(SERIES_COLORS))
    hue = alt.Color("series", type="nominal", scale=colors, sort=None)
    tips = shown(_DEFAULT_TIPS)
    line = spec.mark_rule(strokeWidth=2, opacity=0.5).encode(
        alt.X("low", type="quantitative", scale=scale, axis=axis, title=title), alt.X2("high"), y, offset, hue
    )
    x = alt.X("mean", type="quantitative", scale=scale, axis=axis, title=title)
    shape = alt.Shape("series", type="nominal", scale=alt.Scale(domain=series, range=["circle", "diamond"]))
    dot = spec.mark_point(size=50, opacity=1, **_HOLLOW).encode(x, y, offset, hue, shape, tooltip=tips)
    return alt.layer(line, dot)


_DEFAULT_TIPS = {
    "level": N_("level"),
    "series": N_("rate"),
    "text": N_("mean"),
    "ends": N_("95 % interval"),
    "n": N_("seeds"),
}


def against_default_rows(
    found: pd.DataFrame, names: Sequence[str], measure: str, frame: tuple[float, float]
) -> list[dict[str, Any]]:
    """Return the dots of `against_default` as plain values, their intervals cut at the frame.

    Args:
        found: rows of one data set of `searches.tuned_against_default`.
        names: how each row's level is called.
        measure: of the endpoint.
        frame: lowest and highest value shown.
    """
    rows = []
    for name, row in zip(names, found.to_dict("records"), strict=True):
        for series in SERIES:
            mean, low, high = (float(row[f"{series}_{end}"]) for end in ("mean", "low", "high"))
            if not np.isnan(mean):
                ends = [mean if np.isnan(end) else min(max(end, frame[0]), frame[1]) for end in (low, high)]
                rows.append(
                    {
                        "level": name,
                        "series": wording.word(series),
                        "mean": rounded(mean),
                        "low": rounded(ends[0]),
                        "high": rounded(ends[1]),
                        "text": wording.with_unit(mean, measure),
                        "ends": wording.interval(low, high, measure),
                        "n": int(row["n"]),
                    }
                )
    return rows


def long_means(found: pd.DataFrame) -> pd.DataFrame:
    """Return both series of `searches.tuned_against_default` under one another: mean, low and high."""
    ends = ("mean", "low", "high")
    return pd.concat(
        [found[[f"{s}_{end}" for end in ends]].set_axis(list(ends), axis=1) for s in SERIES],
        ignore_index=True,
    )


def sensitivity(order: Sequence[str], name: str, across: Frame, goal: Endpoint, frame: Frame) -> AnyChart:
    """Draw the validation score over the values of a hyper-parameter, a line a level.

    Args:
        order: all tuned levels in declared order, which fixes colors and dashes.
        name: of the axis of values.
        across: lowest and highest value, and whether the axis is logarithmic; see `value_frame`.
        goal: by which trials are chosen.
        frame: of the scores.
    """
    spec = alt.Chart(alt.NamedData(name=ROWS))
    marks = log_ticks(across) if across.log else []
    axis = alt.Axis(grid=False, format="~g", **({"values": marks} if len(marks) > 1 else {"tickCount": 6}))
    ends = [across.low, across.high]
    spread = alt.Scale(type="log" if across.log else "linear", domain=ends, nice=False, padding=8)
    x = alt.X("value", type="quantitative", title=name, axis=axis, scale=spread)
    y, looks = _score(goal, frame), by_level(order)
    hue = looks["color"]
    tips = shown(_TRIAL_TIPS)
    line = (
        spec.mark_line(strokeWidth=2, clip=True).encode(x, y, **looks).transform_filter("datum.line === true")
    )
    fine, crossed = "datum.diverged === 0", "datum.diverged > 0"
    dot = spec.mark_point(size=16, opacity=0.9, clip=True, **_HOLLOW).encode(x, y, hue, tooltip=tips)
    cross = spec.mark_point(shape="cross", angle=45, size=110, opacity=1, clip=True, **_HOLLOW)
    cross = cross.encode(x, y, hue, tooltip=tips)
    return alt.layer(line, dot.transform_filter(fine), cross.transform_filter(crossed))


_TRIAL_TIPS = {
    "level": N_("level"),
    "at": N_("value"),
    "text": N_("mean"),
    "told": N_("diverged"),
    "searches": N_("searches"),
}


def sensitivity_rows(curves: pd.DataFrame, scale: str, measure: str) -> list[dict[str, Any]]:
    """Return the points of one chart as plain values.

    Args:
        curves: rows of one data set and hyper-parameter of `searches.sensitivity_curves`.
        scale: of the range.
        measure: of the validation metric.
    """
    rows = []
    for _, part in curves.groupby(["level", "line"], sort=False):
        step = max(1, -(-len(part) // MOST_POINTS)) if not part["line"].iloc[0] else 1
        for row in part.iloc[::step].to_dict("records"):
            value = 1 - row["value"] if scale == "one_minus_log" else row["value"]
            rows.append(
                {
                    "level": row["level"],
                    "value": float(f"{value:.6g}"),
                    "at": f"{row['value']:g}",
                    "mean": rounded(row["mean"]),
                    "line": bool(row["line"]),
                    "diverged": int(row["diverged"]),
                    "text": wording.with_unit(row["mean"], measure),
                    "told": say(
                        "{count} of {trials}",
                        count=int(row["diverged"]),
                        trials=wording.count_of(int(row["trials"]), "trial"),
                    ),
                    "searches": int(row["searches"]),
                }
            )
    return rows


def value_frame(rows: Sequence[Mapping[str, Any]], scale: str) -> Frame:
    """Return the range of the values of `sensitivity_rows`, a little wider where there is a single one."""
    values = [row["value"] for row in rows]
    low, high, log = min(values), max(values), scale != "linear"
    if low < high:
        return Frame(low, high, log)
    return Frame(low / 2, low * 2, log) if log else Frame(low - 0.5, low + 0.5, log)


def best_of_k(order: Sequence[str], goal: Endpoint, frame: Frame) -> AnyChart:
    """Draw the expected best score against the number of trials, a line a level."""
    return _budget(order, _score(goal, frame, "y"), _BEST_TIPS)


_BEST_TIPS = {"level": N_("level"), "k": N_("trials"), "text": N_("expected best"), "n": N_("searches")}


def best_of_k_rows(best: pd.DataFrame, measure: str) -> list[dict[str, Any]]:
    """Return the points of `best_of_k` of one data set as plain values."""
    return [
        {
            "level": row["level"],
            "k": int(row["k"]),
            "y": rounded(row["expected_best"]),
            "text": wording.with_unit(row["expected_best"], measure),
            "n": int(row["searches"]),
        }
        for row in best.to_dict("records")
    ]


def ranks(order: Sequence[str], ranked: int) -> AnyChart:
    """Draw the mean rank against the number of trials, a line a level; the best is on top.

    Args:
        order: all tuned levels in declared order.
        ranked: how many of them have ranks.
    """
    scale = alt.Scale(domain=[ranked + 0.15, 0.85], nice=False)
    axis = alt.Axis(values=list(range(1, ranked + 1)), format="d")
    y = alt.Y("y", type="quantitative", title=gettext("mean rank"), scale=scale, axis=axis)
    return _budget(order, y, _RANK_TIPS)


_RANK_TIPS = {"level": N_("level"), "k": N_("trials"), "text": N_("mean rank"), "n": N_("data sets")}


def rank_rows(found: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the points of `ranks` as plain values."""
    return [
        {
            "level": row["level"],
            "k": int(row["k"]),
            "y": rounded(row["mean_rank"]),
            "text": f"{row['mean_rank']:.2f}",
            "n": int(row["data_sets"]),
        }
        for row in found.to_dict("records")
    ]


def _budget(order: Sequence[str], y: alt.Y, tips: dict[str, str]) -> AnyChart:
    spec = alt.Chart(alt.NamedData(name=ROWS))
    axis = alt.Axis(grid=False, tickMinStep=1, format="d")
    x = alt.X(
        "k",
        type="quantitative",
        title=gettext("trials"),
        axis=axis,
        scale=alt.Scale(nice=False, padding=8, zero=False),
    )
    looks = by_level(order)
    line = spec.mark_line(strokeWidth=2).encode(x, y, **looks)
    hit = spec.mark_point(opacity=0, size=160, filled=True).encode(x, y, looks["color"], tooltip=shown(tips))
    return alt.layer(line, hit)


def _score(goal: Endpoint, frame: Frame, field: str = "mean") -> alt.Y:
    scale = alt.Scale(domain=[frame.low, frame.high], type="log" if frame.log else "linear", nice=False)
    ticks = {"values": log_ticks(frame)} if frame.log else {"tickCount": 5}
    axis = alt.Axis(format="%" if wording.is_share(goal.measure) else "~g", **ticks)
    title = say("validation {measure}", measure=wording.measure_name(goal.measure))
    return alt.Y(field, type="quantitative", title=title, scale=scale, axis=axis)
