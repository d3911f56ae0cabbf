"""The words of Vega-Lite that charts are put together from: a definition is plain data, ready for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.4.1.json"
"""Names the version of Vega-Lite that definitions are written in; nothing is fetched from there."""

ROWS = "rows"
"""The name of a chart's values."""


def field(name: str, kind: str = "quantitative", **more: Any) -> Spec:
    """Return the channel that shows a field of the rows.

    Args:
        name: of the field.
        kind: `quantitative` or `nominal`.
        more: `title`, `scale`, `axis`, `sort` … of the channel.

    References:
        https://vega.github.io/vega-lite/docs/encoding.html
    """
    return {"field": name, "type": kind, **more}


def either(test: str, then: Any, otherwise: Any) -> Spec:
    """Return the channel that has one value where a Vega expression holds, and another elsewhere."""
    return {"condition": {"test": test, "value": then}, "value": otherwise}


def mark(
    kind: str, encoding: Spec, *, where: Sequence[str] = (), values: Sequence[Spec] = (), **look: Any
) -> Spec:
    """Return a layer: marks of one kind, one for each row.

    Args:
        kind: `line`, `point`, `rule`, `rect`, `text`, `area` or `bar`.
        encoding: channels by name.
        where: Vega expressions; rows of which one does not hold are left out.
        values: rows of its own; those of the whole chart if it is left out.
        look: properties of the mark.

    References:
        https://vega.github.io/vega-lite/docs/mark.html
    """
    found: Spec = {"data": {"values": list(values)}} if values else {}
    if where:
        found["transform"] = [{"filter": test} for test in where]
    return found | {"mark": {"type": kind, **look}, "encoding": encoding}


def layered(*layers: Spec) -> Spec:
    """Return the view that draws layers over each other."""
    return {"layer": list(layers)}


def definition(view: Spec, rows: list[dict[str, Any]], **more: Any) -> Spec:
    """Return a whole chart: a view of rows.

    Args:
        view: see `layered`.
        rows: its values, plain ones.
        more: `width`, `height`, `title` …
    """
    return {"$schema": SCHEMA, "data": {"name": ROWS}, **view, "datasets": {ROWS: rows}, **more}
