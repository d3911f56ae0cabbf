"""Loads the frames of a suite, for people who begin at the reports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import recipebench

if TYPE_CHECKING:
    from recipebench.benchmarks.results import Results


def load(
    store: str | Path, suite: str | Path | Mapping[str, object], *, plugin: recipebench.Plugins = None
) -> Results:
    """Return the tidy frames of a suite from a store; the same as `recipebench.load`.

    Raises:
        RequestError: there is no store, or the suite is not known.
    """
    return recipebench.load(store, suite, plugin=plugin)
