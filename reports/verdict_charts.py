"""The figure of verdicts: every claim's adjusted interval, with the smallest effect marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from recipebench.reports import verdict_words as words
from recipebench.reports import wording
from recipebench.reports.charts import COLORS, rounded, shown
from recipebench.reports.claims import INCONCLUSIVE, REFUTED, SUPPORTED
from recipebench.reports.language import N_, gettext
from recipebench.reports.registered import Judged
from recipebench.reports.vega_lite import Spec, definition, field, layered, mark

PLACE = "verdicts"
"""The slot of the figure on the page."""

CAPTION = N_(
    "Difference of each claim in smallest effects with its adjusted interval, cut at the frame; right of the "
    "dashed line at 1 it is larger than the smallest effect, and at −1 as much worse. Axis: symmetric "
    "logarithm. n, method and source stand in the table."
)

WORDS = (SUPPORTED, REFUTED, INCONCLUSIVE)
WORD_COLORS = (COLORS[0], COLORS[1], "#808080")
_SHAPES = ("circle", "cross", "diamond")
_ROW_HEIGHT, _REACH = 30, 1.6
_HOLLOW: Spec = {"filled": False, "fill": "transparent", "strokeWidth": 2.5}
_TICKS = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 100_000, 1_000_000)
_TIPS = {"claim": N_("claim"), "word": N_("verdict"), "text": N_("difference"), "ends": N_("interval")}


def drawn(verdicts: Sequence[Judged]) -> list[Judged]:
    """Return the claims that can be drawn: those with a difference, told in smallest effects."""
    return [each for each in verdicts if each.relative and not math.isnan(each.verdict.mean)]


def forest(verdicts: Sequence[Judged]) -> Spec:
    """Draw the claims of a family as intervals under each other.

    Args:
        verdicts: the whole family; what `drawn` leaves out keeps its number and has no row.
    """
    rows = forest_rows(verdicts)
    frame = (min(-1.25, *(row["low"] for row in rows)), max(1.25, *(row["high"] for row in rows)))
    ticks = [t for tick in _TICKS for t in (-tick, tick) if frame[0] <= t <= frame[1]]
    along: Spec = {
        "scale": {"domain": list(frame), "type": "symlog", "nice": False},
        "axis": {"values": sorted([0, *ticks]), "format": ",d"},
        "title": gettext("difference in smallest effects"),
    }
    order, known = [row["label"] for row in rows], list(map(wording.word, WORDS))
    y = field("label", "nominal", sort=order, title=None, axis={"ticks": False, "labelLimit": 300})
    hue = field("word", "nominal", scale={"domain": known, "range": list(WORD_COLORS)}, sort=None)
    shape = field("word", "nominal", scale={"domain": known, "range": list(_SHAPES)})
    at = {"x": field("at", **along)}
    thin: Spec = {"strokeWidth": 1, "opacity": 0.7}
    lines = [
        mark("rule", at, values=[{"at": 0}], **thin),
        mark("rule", at, values=[{"at": -1}, {"at": 1}], strokeDash=[4, 3], **thin),
    ]
    ends = {"x": field("low", **along), "x2": {"field": "high"}, "y": y, "color": hue}
    mean = {"x": field("mean", **along), "y": y, "color": hue, "shape": shape, "tooltip": shown(_TIPS)}
    return definition(
        layered(
            *lines,
            mark("rule", ends, strokeWidth=2, opacity=0.6),
            mark("point", mean, size=70, opacity=1, **_HOLLOW),
        ),
        rows,
        width="container",
        height=_ROW_HEIGHT * len(rows),
    )


def forest_rows(verdicts: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return the intervals as plain values, cut where they reach far beyond all differences."""
    known = drawn(verdicts)
    place = {id(each): i for i, each in enumerate(verdicts, start=1)}
    reach = _REACH * max([1.25, *(abs(each.verdict.mean) for each in known)])
    rows = []
    for each in known:
        found = each.verdict
        ends = [found.mean if math.isnan(end) else end for end in (found.low, found.high)]
        low, high = (min(max(end, -reach), reach) for end in ends)
        rows.append(
            {
                "label": f"{place[id(each)]}. {each.claim.name}",
                "claim": each.claim.name,
                "word": wording.word(found.word),
                "mean": rounded(found.mean),
                "low": rounded(low),
                "high": rounded(high),
                "text": words.difference(each),
                "ends": words.ends(each),
            }
        )
    return rows
