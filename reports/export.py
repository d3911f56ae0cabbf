"""The same tables for other tools: Markdown, LaTeX (booktabs), CSV and Parquet, as text or bytes."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import numpy as np
import pandas as pd

from recipebench.reports.views import View

TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "[": "{[}",  # at a row's start it would be an argument of the line break before it
    "*": "{*}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "…": r"\ldots{}",
    "²": r"\textsuperscript{2}",
}
"""What LaTeX reads in place of a character; the page saves its tables by the same list."""


def tex(view: View) -> str:
    r"""Return a table for LaTeX's booktabs package, to be read in by `\input`; its caption is a comment."""
    align = "".join("r" if numeric else "l" for numeric in view.numeric)
    lines = [
        f"% {one_line(view.caption)}",
        f"\\begin{{tabular}}{{{align}}}",
        r"\toprule",
        _tex_row(view.columns),
    ]
    for group in view.groups:
        lines.append(r"\midrule")
        if group.heading:
            lines.append(f"\\multicolumn{{{len(align)}}}{{l}}{{\\emph{{{tex_text(group.heading)}}}}} \\\\")
        lines += [_tex_row(row.texts) for row in group.rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def tex_text(text: str) -> str:
    r"""Escape a text for LaTeX.

    Example:
        >>> tex_text("50 % & a_b")
        '50 \\% \\& a\\_b'
    """
    return "".join(TEX.get(character, character) for character in one_line(text))


def markdown(view: View) -> str:
    """Return a table in Markdown, its caption above it; a group's heading becomes a row."""
    marks = ["---:" if numeric else "---" for numeric in view.numeric]
    lines = [f"*{markdown_text(view.caption)}*", "", _markdown_row(view.columns), "|" + "|".join(marks) + "|"]
    for group in view.groups:
        if group.heading:
            blanks = ["" for _ in view.columns[1:]]
            lines.append("| **" + " | ".join([markdown_text(group.heading) + "**", *blanks]) + " |")
        lines += [_markdown_row(row.texts) for row in group.rows]
    return "\n".join([*lines, ""])


def markdown_text(text: str) -> str:
    r"""Escape a text for Markdown, so that it is neither markup nor HTML.

    Example:
        >>> markdown_text("<b>|x_1")
        '&lt;b&gt;\\|x\\_1'
    """
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", plain)


def one_line(text: str) -> str:
    """Put a text on one line, without control characters."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).strip()


def csv(frame: pd.DataFrame) -> bytes:
    """Return a frame as CSV: full precision, empty for gaps, one newline a row."""
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text.encode("utf-8", "backslashreplace")


def parquet(frame: pd.DataFrame) -> bytes:
    """Return a frame as Parquet; a column that mixes types holds each value as JSON."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    plain = frame.copy()
    for name in plain.columns:
        if plain[name].dtype == object:
            plain[name] = _one_type(plain[name])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(plain, preserve_index=False), buffer, compression="zstd")
    return buffer.getvalue()


def _one_type(column: pd.Series[Any]) -> pd.Series[Any]:
    values = [None if _is_gap(v) else v.tolist() if isinstance(v, np.ndarray) else v for v in column.tolist()]
    kinds = {type(v) for v in values if v is not None}
    if kinds <= {str}:
        values = [v if v is None else v.encode("utf-8", "backslashreplace").decode() for v in values]
    elif len(kinds) > 1 and not kinds <= {int, float}:
        values = [None if v is None else json.dumps(v, default=str) for v in values]
    return pd.Series(values, index=column.index, dtype=object)


def _is_gap(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))


def _tex_row(texts: list[str]) -> str:
    return " & ".join(tex_text(text) for text in texts) + r" \\"


def _markdown_row(texts: list[str]) -> str:
    return "| " + " | ".join(markdown_text(text) for text in texts) + " |"
