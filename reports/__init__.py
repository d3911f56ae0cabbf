"""What is read: records and history → tables, statistics, charts, one HTML page (exported lazily)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recipebench.reports.suite_info import Endpoint, Range, Space, SuiteInfo, Targets, Tuning
    from recipebench.reports.writer import refresh, write

__all__ = ["Endpoint", "Range", "Space", "SuiteInfo", "Targets", "Tuning", "refresh", "write"]

_HOMES = {
    "Endpoint": "suite_info",
    "Range": "suite_info",
    "Space": "suite_info",
    "SuiteInfo": "suite_info",
    "Targets": "suite_info",
    "Tuning": "suite_info",
    "refresh": "writer",
    "write": "writer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
