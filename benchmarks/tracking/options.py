"""What is tracked where: the `track` key of a suite, and `--track`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from recipebench.benchmarks.combinations import MisplacedError
from recipebench.benchmarks.suite_file import show
from recipebench.benchmarks.tracking.target import MODES, Tracking
from recipebench.errors import RequestError, unknown

TRACKERS = ("wandb",)
"""What can track a run."""

OFF = "off"
"""What `--track` takes to leave out what a suite asks for."""


def check_track(value: object) -> Tracking:
    """Check the `track` key of a suite.

    Example:
        >>> check_track({"wandb": {"project": "recipes", "mode": "offline"}})
        Tracking(project='recipes', entity=None, mode='offline')
    """
    if isinstance(value, str):
        return _known(value, ())
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ValueError(f"expected wandb, or wandb with project, entity and mode, got {show(value)}.")
    (name, given) = next(iter(value.items()))
    _known(name, (str(name),))
    if given is None:
        return Tracking()
    if not isinstance(given, Mapping):
        raise MisplacedError((name,), f"expected project, entity and mode, got {show(given)}.")
    known = [field.name for field in fields(Tracking)]
    for key, item in given.items():
        if key not in known:
            raise MisplacedError((name, key), unknown("key", key, known))
        _check_part(name, key, item)
    return Tracking(**given)


def _known(name: object, path: tuple[str, ...]) -> Tracking:
    if name not in TRACKERS:
        raise MisplacedError(path, unknown("tracker", name, TRACKERS))
    return Tracking()


def _check_part(tracker: str, key: str, value: object) -> None:
    if key == "mode":
        if value not in MODES:
            raise MisplacedError((tracker, key), unknown("mode", value, MODES))
    elif not isinstance(value, str) or not re.fullmatch(r"[^/\\#?%:\s]{1,128}", value):
        rule = "1 to 128 characters without spaces and / \\ # ? % :"
        raise MisplacedError((tracker, key), f"expected {rule}, got {show(value)}.")


def track_schema() -> dict[str, Any]:
    """Describe `track`."""
    text = {"type": "string", "pattern": r"^[^/\\#?%:\s]{1,128}$"}
    parts = {"project": text, "entity": text, "mode": {"enum": list(MODES)}}
    given = {"type": ["object", "null"], "properties": parts, "additionalProperties": False}
    named = {"type": "object", "properties": {"wandb": given}, "additionalProperties": False}
    return {"anyOf": [{"enum": list(TRACKERS)}, {**named, "minProperties": 1}]}


def tracked(asked: str | Mapping[str, object] | None, suite: Tracking | None) -> Tracking | None:
    """Return what a run is tracked by: as the command asks, with what its suite says of it.

    Args:
        asked: `wandb`, `off`, a mapping as in a suite, or None for what the suite says.
        suite: the `track` key of the suite.

    Returns:
        None where nothing is tracked.

    Raises:
        RequestError: there is no such tracker.
    """
    if asked is None:
        found = suite
    elif isinstance(asked, Mapping):
        found = _checked(asked)
    elif asked == OFF:
        found = None
    elif asked in TRACKERS:
        found = suite or Tracking()
    else:
        raise RequestError(f"--track: {unknown('tracker', asked, (*TRACKERS, OFF))}")
    return None if found is None or found.mode == "disabled" else found


def asked_of(tracking: Tracking | None) -> dict[str, object]:
    """Return what a suite asks for, as it would be written.

    Example:
        >>> asked_of(Tracking(mode="offline")), asked_of(None)
        ({'mode': 'offline'}, {})
    """
    return {name: value for name, value in asdict(tracking or Tracking()).items() if value is not None}


def _checked(asked: Mapping[str, object]) -> Tracking:
    try:
        return check_track(asked)
    except ValueError as error:
        raise RequestError(f"track: {error}") from None
