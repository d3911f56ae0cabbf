"""Tells whether a report that stands in a folder is whole, and made of the same frames by the same code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from recipebench.reports.suite_info import SuiteInfo

NAME = "report.json"
"""The file beside the page that says what it was made of."""


def inputs(
    records: pd.DataFrame,
    history: pd.DataFrame,
    suite: SuiteInfo,
    environments: list[dict[str, Any]],
    speed: Path | None = None,
    language: str = "en",
) -> str:
    """Return one SHA-256 over all that a report is made of, its code and its language included."""
    digest = hashlib.sha256(language.encode())
    for frame in (records, history):
        digest.update(json.dumps([(str(name), str(kind)) for name, kind in frame.dtypes.items()]).encode())
        rows = pd.util.hash_pandas_object(frame, index=False).sort_values()  # their order means nothing
        digest.update(rows.to_numpy().tobytes())
    digest.update(repr(suite).encode())
    digest.update(json.dumps(environments, sort_keys=True).encode())
    if speed is not None:
        digest.update(speed.read_bytes())
    for source in _sources():
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _sources() -> list[Path]:
    """The files of this package: its code, the page's template, style and script, catalogs and fonts."""
    found = Path(__file__).parent.rglob("*.*")
    return sorted(path for path in found if path.suffix in (".py", ".j2", ".css", ".js", ".mo", ".otf"))


def to_bytes(key: str, files: Mapping[str, str]) -> bytes:
    """Return the content of `NAME`: the inputs' hash, and that of every file."""
    return (json.dumps({"inputs": key, "files": dict(files)}, indent=1) + "\n").encode()


def is_current(folder: Path, key: str) -> bool:
    """Whether all files of the report are there as they were written, from the inputs of this key."""
    try:
        stamp = json.loads((folder / NAME).read_bytes())
        known = stamp["inputs"] == key
        return known and all(_sha256(folder / name) == value for name, value in stamp["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # no stamp, or not one of ours: the report is written again


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
