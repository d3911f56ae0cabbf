"""Rows as a run of Weights & Biases takes them; needs nothing but the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recipebench.benchmarks.records import KEPT_BACK

Row = dict[str, Any]

_MOMENTS = ("status", "reason", "torch", "cpu", "pack_seconds")


def plain(row: Mapping[Any, Any]) -> Row:
    """Leave out what is null and what a report leaves out: there is no null in a chart.

    Example:
        >>> plain({"lr": 0.1, "reason": None, "cell": "{}"})
        {'lr': 0.1}
    """
    return {name: value for name, value in row.items() if value is not None and name not in KEPT_BACK}


def version(record: Mapping[Any, Any]) -> str:
    """Tell a record of a cell from another one of the same cell: trained again, elsewhere, or first failed.

    Example:
        >>> version({"status": "failed", "reason": "out of memory", "torch": "2.13.0", "cpu": "x"})
        'failed|out of memory|2.13.0|x|'
    """
    return "|".join("" if record.get(name) is None else str(record[name]) for name in _MOMENTS)
