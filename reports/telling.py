"""Tells a verdict in sentences: difference, interval, blocks, method, and what would settle it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import escape

from recipebench.reports import export, wording
from recipebench.reports.claims import INCONCLUSIVE, Verdict
from recipebench.reports.statistics import inference

Show = Callable[[float], str]
"""How a difference is shown, with its unit."""

IN_EFFECTS = "smallest effects"
"""The unit of differences that were divided by the smallest effect of their data set."""


def in_unit(measure: str) -> Show:
    """Show differences of a measure: shares in points.

    Example:
        >>> in_unit("accuracy")(0.0123), in_unit("mse")(-0.5)
        ('1.23 points', '-0.5000')
    """
    return lambda value: wording.difference(value, measure)


def in_effects(value: float) -> str:
    """Show a difference in smallest effects.

    Example:
        >>> in_effects(0.5)
        '0.50 smallest effects'
    """
    return f"{value:z.2f} {IN_EFFECTS}"


def numbers(verdict: Verdict, show: Show) -> str:
    """Say mean, interval, number of blocks and method of a verdict.

    Args:
        verdict: from `claims.judge`.
        show: how its differences are shown.
    """
    blocks = verdict.claim.blocks.differences
    sets, n = len(blocks), int((~np.isnan(blocks)).sum())
    of = "data set \N{MULTIPLICATION SIGN} seed"
    if math.isnan(verdict.low):
        return f"Mean difference {show(verdict.mean)}, no interval ({wording.count_of(n, f'{of} block')})."
    return (
        f"Mean difference {show(verdict.mean)}, {100 * verdict.level:.4g}\N{NO-BREAK SPACE}% interval "
        f"{show(verdict.low)} to {show(verdict.high)} ({wording.count_of(n, f'{of} block')} of "
        f"{wording.count_of(sets, 'data set')}; {verdict.note}; {verdict.freedom:.3g} degrees of freedom)."
    )


def reasons(verdict: Verdict, show: Show) -> str:
    """Say why a verdict is inconclusive and what would settle it; empty for the others."""
    if verdict.word != INCONCLUSIVE:
        return ""
    found = [*verdict.reasons]
    if math.isfinite(verdict.detectable):
        found.append(f"Minimum detectable effect: {show(verdict.detectable)}.")
    if verdict.blocked:
        found.append("More seeds alone would not settle it.")
    elif math.isfinite(verdict.to_settle):
        found.append(
            f"As to spread, about {wording.count(verdict.to_settle)} seeds a data set would settle it."
        )
    elif math.isinf(verdict.to_settle):
        found.append(f"At the difference found, no {inference.MOST_SEEDS:,} seeds would settle it.")
    return " ".join(found)


def as_text(sentences: Sequence[str], tables: Sequence[pd.DataFrame]) -> str:
    """Put sentences and tables of texts below each other, for a console."""
    parts = ["\n".join(map(export.one_line, sentences))]
    parts += [_one_line(table).to_string(index=False) for table in tables if len(table)]
    return "\n\n".join(parts)


def as_html(sentences: Sequence[str], tables: Sequence[pd.DataFrame]) -> str:
    """The same as a piece of HTML, everything escaped."""
    lines = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    return lines + "".join(
        table.to_html(index=False, escape=True, border=0) for table in tables if len(table)
    )


def page(title: str, body: str) -> str:
    """Wrap a piece of HTML as a page that needs no network and runs no script.

    Args:
        title: plain text.
        body: HTML, escaped already.
    """
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse;display:block;overflow-x:auto}"
        "td,th{padding:.2rem .6rem;border-bottom:1px solid #ccc;text-align:right;white-space:nowrap}"
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>{body}</body></html>\n"
    )


def as_markdown(title: str, sentences: Sequence[str], tables: Sequence[pd.DataFrame]) -> str:
    """The same as Markdown, everything escaped."""
    lines = [f"# {export.markdown_text(title)}", ""]
    lines += [f"- {export.markdown_text(sentence)}" for sentence in sentences]
    for table in tables:
        lines += ["", *_markdown(table)]
    return "\n".join([*lines, ""])


def _markdown(table: pd.DataFrame) -> list[str]:
    rows = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    rows += [[export.markdown_text(str(v)) for v in row] for row in table.itertuples(index=False)]
    return ["| " + " | ".join(row) + " |" for row in rows]


def _one_line(table: pd.DataFrame) -> pd.DataFrame:
    return table.map(lambda value: export.one_line(value) if isinstance(value, str) else value)


def column(values: Sequence[Any], show: Callable[[Any], str]) -> list[str]:
    """Show the values of a column; a gap is a dash."""
    return [wording.NO_VALUE if v is None or v != v else show(v) for v in values]
