"""The language of a report: messages are English in the code, and translated by a catalog of gettext's.

A message is a whole sentence or heading with named places, as the order of words differs. `writing` sets the
language for the time of one report; what is said then is looked up in the catalog of that language, and a
message that it lacks raises: no page mixes two languages.
"""

from __future__ import annotations

import functools
import gettext as gnu
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from recipebench.errors import RequestError, unknown

LOCALE = Path(__file__).parent / "locale"
"""The catalogs; `docs/translate.py` compiles each `.po`, which people edit, to the `.mo` that is read."""

DOMAIN = "recipebench"


class Language(NamedTuple):
    """How a language is written.

    Args:
        tag: as HTML names it.
        folder: of its catalog; empty for the language of the code.
        gap: what stands between two sentences.
        han: whether it is written with Chinese characters, which the page has to bring along.
    """

    tag: str
    folder: str
    gap: str
    han: bool


LANGUAGES = {
    "en": Language(tag="en", folder="", gap=" ", han=False),
    "zh": Language(tag="zh-CN", folder="zh_CN", gap="", han=True),
}
"""The languages that a report can be written in, by the name that people type."""

_current: ContextVar[str] = ContextVar("language", default="en")


@contextmanager
def writing(name: str) -> Iterator[None]:
    """Say everything in a language, in this thread and until the block ends.

    Args:
        name: of `LANGUAGES`.

    Raises:
        RequestError: there is no such language.

    Example:
        >>> with writing("zh"):
        ...     say("{count} to {total}", count=1, total=2)
        Traceback (most recent call last):
        LookupError: zh: no translation of '{count} to {total}'; add it by docs/translate.py.
    """
    checked(name)
    token = _current.set(name)
    try:
        yield
    finally:
        _current.reset(token)


def checked(name: str) -> str:
    """Return the name of a language.

    Raises:
        RequestError: there is no such language.

    Example:
        >>> checked("zh")
        'zh'
    """
    if name not in LANGUAGES:
        raise RequestError(unknown("language", name, LANGUAGES))
    return name


def current() -> Language:
    """Return the language that is written."""
    return LANGUAGES[_current.get()]


def gettext(message: str) -> str:
    """Return a message in the language that is written."""
    return _catalog(_current.get()).gettext(message)


def ngettext(one: str, several: str, count: int) -> str:
    """Return a message that counts something in the language that is written."""
    return _catalog(_current.get()).ngettext(one, several, count)


def shipped(text: str) -> str:
    """Return a text that may be one of ours: what the catalog has is translated, a person's own stays."""
    try:
        return gettext(text) if text else text
    except LookupError:
        return text


def say(message: str, **values: object) -> str:
    """Return a message in the language that is written, with values in its named places.

    Example:
        >>> say("{low} to {high}", low=1, high=2)
        '1 to 2'
    """
    return gettext(message).format(**values)


def N_(message: str) -> str:  # noqa: N802 - gettext's own name for it
    """Mark a message for the catalogs where it is defined; it is translated where it is said."""
    return message


def together(sentences: Iterable[str]) -> str:
    """Put sentences after one another; empty ones are left out.

    Example:
        >>> together(["One.", "", "Two."])
        'One. Two.'
    """
    return current().gap.join(filter(None, sentences))


def listed(names: Iterable[str]) -> str:
    """Put names after one another.

    Example:
        >>> listed(["a", "b"])
        'a, b'
    """
    return gettext(", ").join(names)


def comma(first: str, second: str) -> str:
    """Put two parts of a sentence after one another.

    Example:
        >>> comma("a", "b")
        'a, b'
    """
    return say("{first}, {second}", first=first, second=second)


def parts(names: Iterable[str]) -> str:
    """Put parts of a sentence after one another; empty ones are left out.

    Example:
        >>> parts(["a", "", "b"])
        'a; b'
    """
    return gettext("; ").join(filter(None, names))


class _Strict(gnu.NullTranslations):
    """Refuses what a catalog lacks."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def gettext(self, message: str) -> str:
        raise LookupError(f"{self._name}: no translation of {message!r}; add it by docs/translate.py.")

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1)


@functools.cache
def _catalog(name: str) -> gnu.NullTranslations:
    folder = LANGUAGES[name].folder
    if not folder:
        return gnu.NullTranslations()
    found = gnu.translation(DOMAIN, LOCALE, languages=[folder])
    found.add_fallback(_Strict(name))
    return found
