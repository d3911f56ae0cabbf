"""The errors that a person can cause, and the one way in which they are worded."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_LISTED = 20
"""Names that a message lists at most."""


class RequestError(Exception):
    """The request is wrong: nothing was trained or written, and the command exits with 2."""


def unknown(kind: str, got: object, known: Iterable[str]) -> str:
    """Say that a name is not known, which names are, and which is nearest.

    Args:
        kind: what the name was meant to be, for example `optimizer`.
        got: the name received.
        known: the names that would have been accepted.

    Example:
        >>> unknown("optimizer", "adm", ["sgd", "adam"])
        "Unknown optimizer 'adm'. Known: adam, sgd. Did you mean 'adam'?"
    """
    names = sorted(known)
    word = str(got)[:100]
    message = f"Unknown {kind} {_shorten(got)}. {_known(word, names)}."
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"{message} Did you mean {near[0]!r}?" if near else message


def _known(word: str, names: list[str]) -> str:
    """List all names, or of many the nearest."""
    if len(names) <= MOST_LISTED:
        return f"Known: {', '.join(names)}"
    nearest = difflib.get_close_matches(word, names, n=MOST_LISTED, cutoff=0.0)
    return f"Known are {len(names)}, the nearest: {', '.join(nearest)}"


def _shorten(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"
