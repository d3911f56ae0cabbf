"""The charts of tuning as Vega-Lite definitions: tuned beside default, sensitivity, budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from recipebench.reports import wording
from recipebench.reports.charts import (
    COLORS,
    Frame,
    by_level,
    in_frame,
    log_ticks,
    number_format,
    rounded,
    shown,
    whole_ticks,
)
from recipebench.reports.language import N_, gettext, say
from recipebench.reports.suite_info import Endpoint
from recipebench.reports.vega_lite import Spec, field, layered, mark

SERIES = ("default", "tuned")
SERIES_COLORS = (COLORS[4], COLORS[0])
ROW_HEIGHT = 44
MOST_POINTS = 200
"""The most single trials of a level that a chart draws."""

# Marks are drawn by their strokes: these have a lighter form on dark paper.
_HOLLOW: Spec = {"filled": False, "fill": "transparent", "strokeWidth": 2.5}


def against_default(levels: Sequence[str], goal: Endpoint, frame: tuple[float, float]) -> Spec:
    """Draw each level's mean at its default and tuned, one above the other, with their intervals.

    Args:
        levels: in declared order.
        goal: the data set's endpoint.
        frame: lowest and highest value shown; intervals are cut there.
    """
    along: Spec = {
        "scale": {"domain": list(frame), "nice": False},
        "axis": {"format": number_format(goal.measure), "tickCount": 6},
        "title": wording.endpoint_name(goal),
    }
    series = list(map(wording.word, SERIES))
    side = {"ticks": False, "minExtent": 110, "labelLimit": 280}
    at = {
        "y": field("level", "nominal", sort=list(levels), title=None, axis=side),
        "yOffset": field("series", "nominal", sort=series, scale={"paddingOuter": 0.6}),
        "color": field(
            "series", "nominal", scale={"domain": series, "range": list(SERIES_COLORS)}, sort=None
        ),
    }
    ends = {**at, "x": field("low", **along), "x2": {"field": "high"}}
    shape = field("series", "nominal", scale={"domain": series, "range": ["circle", "diamond"]})
    mean = {**at, "x": field("mean", **along), "shape": shape, "tooltip": shown(_DEFAULT_TIPS)}
    return layered(
        mark("rule", ends, strokeWidth=2, opacity=0.5), mark("point", mean, size=50, opacity=1, **_HOLLOW)
    )


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


def sensitivity(order: Sequence[str], name: str, across: Frame, goal: Endpoint, frame: Frame) -> Spec:
    """Draw the validation score over the values of a hyper-parameter, a line a level.

    Args:
        order: all tuned levels in declared order, which fixes colors and dashes.
        name: of the axis of values.
        across: lowest and highest value, and whether the axis is logarithmic; see `value_frame`.
        goal: by which trials are chosen.
        frame: of the scores.
    """
    marks = log_ticks(across) if across.log else []
    ticks = {"values": marks} if len(marks) > 1 else {"tickCount": 6}
    kind, ends = "log" if across.log else "linear", [across.low, across.high]
    x = field(
        "value",
        title=name,
        axis={"grid": False, "format": "~g", **ticks},
        scale={"type": kind, "domain": ends, "nice": False, "padding": 8},
    )
    looks, at = by_level(order), {"x": x, "y": _score(goal, frame)}
    told = {**at, "color": looks["color"], "tooltip": shown(_TRIAL_TIPS)}
    crossed: Spec = {"shape": "cross", "angle": 45, "size": 110, "opacity": 1, "clip": True, **_HOLLOW}
    return layered(
        mark("line", {**at, **looks}, where=["datum.line === true"], strokeWidth=2, clip=True),
        mark("point", told, where=["datum.diverged === 0"], size=16, opacity=0.9, clip=True, **_HOLLOW),
        mark("point", told, where=["datum.diverged > 0"], **crossed),
    )


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


def best_of_k(order: Sequence[str], goal: Endpoint, frame: Frame, trials: int) -> Spec:
    """Draw the expected best score against the number of trials, a line a level."""
    return _budget(order, _score(goal, frame, "y"), trials, _BEST_TIPS)


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


def ranks(order: Sequence[str], ranked: int, trials: int) -> Spec:
    """Draw the mean rank against the number of trials, a line a level; the best is on top.

    Args:
        order: all tuned levels in declared order.
        ranked: how many of them have ranks.
        trials: the largest budget.
    """
    scale = {"domain": [ranked + 0.15, 0.85], "nice": False}
    axis = {"values": list(range(1, ranked + 1)), "format": "d"}
    y = field("y", title=gettext("mean rank"), scale=scale, axis=axis)
    return _budget(order, y, trials, _RANK_TIPS)


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


def _budget(order: Sequence[str], y: Spec, trials: int, tips: dict[str, str]) -> Spec:
    x = field(
        "k",
        title=gettext("trials"),
        axis={"grid": False, **whole_ticks(1, trials)},
        scale={"nice": False, "padding": 8, "zero": False},
    )
    looks = by_level(order)
    line = mark("line", {"x": x, "y": y, **looks}, strokeWidth=2)
    told = {"x": x, "y": y, "color": looks["color"], "tooltip": shown(tips)}
    return layered(line, mark("point", told, opacity=0, size=160, filled=True))


def _score(goal: Endpoint, frame: Frame, of: str = "mean") -> Spec:
    title = say("validation {measure}", measure=wording.measure_name(goal.measure))
    return field(of, title=title, **in_frame(goal.measure, frame))
