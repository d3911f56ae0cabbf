"""The charts of comparisons as Vega-Lite definitions: effects, ranks, variance, profiles, interactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from recipebench.reports import wording
from recipebench.reports.charts import COLORS, by_level, grid, rounded, shown, whole_ticks
from recipebench.reports.comparisons import Profile, Ranking
from recipebench.reports.language import N_, gettext, say
from recipebench.reports.statistics import profiles
from recipebench.reports.suite_info import Endpoint
from recipebench.reports.vega_lite import Spec, field, layered, mark

ROW_HEIGHT = 26
DEPARTURES = ("#b35806", "#f1a340", "#f7f7f7", "#92c5de", "#2166ac")
"""Brown below, blue above: told apart with any color vision (ColorBrewer)."""

SOLID = "#7a8691"
"""A gray that shows on light and on dark paper."""

_EFFECT_TIPS = {
    "level": N_("level"),
    "text": N_("difference"),
    "ends": N_("95 % interval"),
    "better": N_("P(better)"),
    "n": N_("blocks"),
}
_SHARE_TIPS = {"term": N_("term"), "text": N_("ω²"), "naive": N_("η²")}
_PROFILE_TIPS = {"level": N_("level"), "ratio": N_("within"), "text": N_("of problems")}
_DEPARTURE_TIPS = {"first": N_("row"), "second": N_("column"), "text": N_("departure"), "n": N_("seeds")}
_RANK_TIPS = {"text": N_("level, mean rank")}


def effects(levels: Sequence[str], title: str, frame: tuple[float, float]) -> Spec:
    """Draw the difference of each level from the reference with its interval, and a line at 0.

    Args:
        levels: in declared order, without the reference.
        title: of the axis.
        frame: lowest and highest value shown, 0 among them; intervals are cut there.
    """
    scale = {"domain": list(frame), "nice": False}
    along: Spec = {
        "scale": scale,
        "axis": {"format": "~r", "tickCount": 6},  # of 70 the ticks of ~g make 7e+1
        "title": title,
    }
    side = {"ticks": False, "minExtent": 90, "labelLimit": 220}
    y = field("level", "nominal", sort=list(levels), title=None, axis=side)
    zero = mark("rule", {"x": {"datum": 0, "scale": scale, "title": title}}, color=SOLID, strokeWidth=1.5)
    ends = {"x": field("low", **along), "x2": {"field": "high"}, "y": y}
    line = mark("rule", ends, strokeWidth=2, color=COLORS[0], opacity=0.5)
    mean = {"x": field("mean", **along), "y": y, "tooltip": shown(_EFFECT_TIPS)}
    return layered(zero, line, mark("point", mean, filled=True, size=70, opacity=1, color=COLORS[0]))


def effect_frame(found: pd.DataFrame) -> tuple[float, float]:
    """Return the range of differences and intervals with 0, no wider than three times that of the means."""
    known = found[found["mean"].notna()]
    if known.empty:
        return (-1.0, 1.0)
    low, high = min(0.0, float(known["mean"].min())), max(0.0, float(known["mean"].max()))
    reach = max(high - low, 1e-9)
    bottom = max(float(np.nanmin([low, known["low"].min()])), low - reach)
    top = min(float(np.nanmax([high, known["high"].max()])), high + reach)
    return (bottom - 0.04 * reach, top + 0.04 * reach)


def effect_rows(found: pd.DataFrame, goal: Endpoint, frame: tuple[float, float]) -> list[dict[str, Any]]:
    """Return the dots of `effects` as plain values, in points where the endpoint is a share."""
    unit = 100 if wording.is_share(goal.measure) else 1
    rows = []
    for row in found[found["mean"].notna()].to_dict("records"):
        ends = [row["mean"] if np.isnan(end) else end for end in (row["low"], row["high"])]
        rows.append(
            {
                "level": str(row["level"]),
                "mean": rounded(unit * row["mean"]),
                "low": rounded(unit * min(max(ends[0], frame[0]), frame[1])),
                "high": rounded(unit * min(max(ends[1], frame[0]), frame[1])),
                "text": wording.signed_difference(row["mean"], goal.measure),
                "ends": wording.interval(row["low"], row["high"], goal.measure),
                "better": f"{row['better']:.2f}",
                "n": int(row["n"]),
            }
        )
    return rows


def critical_difference(levels: int) -> Spec:
    """Draw mean ranks, the critical difference above them, and bars over what lies closer than that.

    Args:
        levels: their number.

    References:
        Demšar, JMLR 7 (2006), figure 1, with every level on a line of its own.
    """
    scale = {"domain": [1, levels], "nice": False, "padding": 12}
    axis = {"orient": "top", "grid": True, **whole_ticks(1, levels)}
    x = field("rank", scale=scale, axis=axis, title=gettext("mean rank, 1 is best"))
    y = field("place", axis=None, scale={"reverse": True, "zero": False, "padding": 14})
    at = {"x": x, "y": y}
    span, told = {**at, "x2": {"field": "end"}}, {**at, "text": field("text", "nominal")}
    label: Spec = {"fontSize": 12, "baseline": "middle"}
    group, level, wide = (f"datum.kind === '{kind}'" for kind in ("group", "level", "difference"))
    dot = {**at, "tooltip": shown(_RANK_TIPS)}
    return layered(
        mark("rule", span, where=[group], strokeWidth=5, strokeCap="round", color=SOLID),
        mark("rule", span, where=[wide], strokeWidth=2, color=COLORS[1]),
        mark("point", dot, where=[level], filled=True, size=70, opacity=1, color=COLORS[0]),
        mark("text", told, where=[level, "datum.left"], align="left", dx=9, **label),
        mark("text", told, where=[level, "!datum.left"], align="right", dx=-9, **label),
        mark("text", told, where=[wide], align="left", dy=-8, **label),
    )


def critical_rows(found: Ranking) -> list[dict[str, Any]]:
    """Return what `critical_difference` draws as plain values."""
    order = np.argsort(found.ranks, kind="stable")
    middle, count = (1 + len(found.levels)) / 2, len(found.levels)
    far = min(1 + found.difference, float(count))
    fits = N_("critical difference {difference}")
    far_out = N_("critical difference {difference}, more than all ranks")
    told = say(fits if 1 + found.difference <= count else far_out, difference=f"{found.difference:.2f}")
    rows: list[dict[str, Any]] = [
        {"kind": "difference", "rank": 1.0, "end": rounded(far), "place": 0, "text": told}
    ]
    for place, i in enumerate(order, start=1):
        text = f"{found.levels[i]}  {found.ranks[i]:.2f}"
        at = rounded(found.ranks[i])
        rows.append(
            {"kind": "level", "rank": at, "place": place, "text": text, "left": found.ranks[i] <= middle}
        )
    for place, group in enumerate(found.groups, start=count + 1):
        ends = [found.ranks[i] for i in group]
        rows.append({"kind": "group", "rank": rounded(min(ends)), "end": rounded(max(ends)), "place": place})
    return rows


def critical_height(found: Ranking) -> int:
    """Return the height of the diagram: a line a level, and one a group."""
    return 20 * (1 + len(found.levels) + len(found.groups))


def variance(terms: Sequence[str]) -> Spec:
    """Draw the share of variance of every term as a bar.

    Args:
        terms: factors, pairs, seeds and residual, in this order.
    """
    side = {"ticks": False, "minExtent": 120, "labelLimit": 240}
    y = field("term", "nominal", sort=list(terms), title=None, axis=side)
    x = field("omega2", axis={"format": "%", "tickCount": 5}, title=gettext("share of variance, ω²"))
    kinds = {"domain": ["factor", "pair", "rest"], "range": [COLORS[0], COLORS[5], SOLID]}
    hue = field("kind", "nominal", scale=kinds, legend=None)
    return layered(mark("bar", {"x": x, "y": y, "color": hue, "tooltip": shown(_SHARE_TIPS)}, height=14))


def variance_rows(found: pd.DataFrame, names: Sequence[str], factors: Sequence[str]) -> list[dict[str, Any]]:
    """Return the bars of `variance` as plain values.

    Args:
        found: rows of `comparisons.shares` of one data set.
        names: how each row's term is called.
        factors: the terms that are factors.
    """
    rest = {"seed", "residual"} - set(factors)
    return [
        {
            "term": name,
            "omega2": rounded(row["omega2"]),
            "kind": "factor" if row["term"] in factors else "rest" if row["term"] in rest else "pair",
            "text": wording.with_unit(row["omega2"], "accuracy"),
            "naive": wording.with_unit(row["eta2"], "accuracy"),
        }
        for name, row in zip(names, found.to_dict("records"), strict=True)
    ]


def profile(order: Sequence[str], last: float) -> Spec:
    """Draw performance profiles: a step line a level.

    Args:
        order: all levels of the factor in declared order, which fixes colors and dashes.
        last: the largest ratio.
    """
    ticks = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    x = field(
        "at",
        scale={"type": "log", "base": 2, "domain": [1, last], "nice": False},
        axis={"grid": False, "format": "~g", "values": [t for t in ticks if t <= last]},
        title=gettext("epochs / fewest epochs of any level, τ"),
    )
    y = field(
        "share",
        scale={"domain": [0, 1]},
        axis={"format": "%", "tickCount": 5},
        title=gettext("problems solved within τ"),
    )
    looks = by_level(order)
    line = mark("line", {"x": x, "y": y, **looks}, strokeWidth=2, interpolate="step-after")
    told = {"x": x, "y": y, "color": looks["color"], "tooltip": shown(_PROFILE_TIPS)}
    return layered(line, mark("point", told, opacity=0, size=120, filled=True))


def profile_rows(found: Profile, most: int = 40) -> list[dict[str, Any]]:
    """Return the corners of the profiles as plain values.

    Args:
        found: a factor's costs.
        most: so many ratios at most are drawn, evenly spread over those at which a profile rises.
    """
    ratios = profiles.performance_ratios(found.costs)
    steps = np.unique(ratios[np.isfinite(ratios)])
    if len(steps) > most:
        steps = np.unique(steps[np.linspace(0, len(steps) - 1, most).round().astype(int)])
    heights = profiles.performance_profile(found.costs, [*steps, found.last])
    return [
        {
            "level": level,
            "at": rounded(at),
            "share": rounded(height),
            "ratio": say("{ratio} times the fewest", ratio=f"{at:.3g}"),
            "text": wording.with_unit(height, "accuracy"),
        }
        for level, line in zip(found.levels, heights, strict=True)
        for at, height in zip([*steps, found.last], line, strict=True)
    ]


def departures(first: Sequence[str], second: Sequence[str], titles: tuple[str, str]) -> Spec:
    """Draw how far each combination departs from the sum of its levels' own effects.

    Args:
        first: levels of the rows of the grid, in declared order.
        second: levels of its columns.
        titles: names of the two factors.
    """
    strong = "datum.shade > 0.86 || datum.shade < 0.12"
    return grid(first, second, titles, DEPARTURES, shown(_DEPARTURE_TIPS), strong)


def departure_rows(found: pd.DataFrame, goal: Endpoint) -> list[dict[str, Any]]:
    """Return the cells of `departures` as plain values; blue where better than the sum of the parts."""
    sign = 1 if goal.direction == "higher" else -1
    most = float(found["departure"].abs().max()) or 1.0
    return [
        {
            "first": str(row["first"]),
            "second": str(row["second"]),
            "shade": round(0.5 + 0.5 * sign * row["departure"] / most, 3),
            "text": wording.signed(row["departure"], goal.measure),
            "n": int(row["n"]),
        }
        for row in found.to_dict("records")
    ]
