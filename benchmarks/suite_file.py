"""Reads a suite's YAML: plain values with their line numbers, and nothing that could surprise.

The text is turned into parser events (PyYAML), never into objects. Scalars follow the core schema of
YAML 1.2: `1e-3` is a number, `no`, `on` and `12:30` are text, only true and false are booleans. What a
suite never needs and a reader can trip over is refused: anchors, aliases, tags, directives, several
documents, duplicate keys, keys that are not text, control characters, deep nesting and large files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from recipebench.errors import RequestError

MAX_BYTES = 256 * 1024
"""Size above which a file is refused; shipped suites have about 2 KiB."""
MAX_DEPTH = 16
"""Levels of nesting above which a file is refused; a suite needs 6."""

KeyPath = tuple[str | int, ...]
"""Keys and list positions that lead to a value: ("matrix", "optimizer", 0)."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # only its parser is used; C is 10 times faster
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True)
class Document:
    """Plain data with the place that each value came from.

    Args:
        name: the file, as the error messages call it.
        data: dicts with text keys, lists, str, int, float, bool and None.
        lines: the line, counted from 1, of each key path; empty where the data came from Python.
    """

    name: str
    data: object
    lines: Mapping[KeyPath, int] = field(default_factory=dict)

    def error(self, path: KeyPath, message: str) -> RequestError:
        """Return the error that names file, line, key path and what is wrong there."""
        places = [path[:n] for n in range(len(path), -1, -1) if path[:n] in self.lines]
        line = f", line {self.lines[places[0]]}" if places else ""
        key = f"{show_path(path)}: " if path else ""
        return RequestError(f"{self.name}{line}: {key}{message}")


def show_path(path: KeyPath) -> str:
    """Write a key path as people do.

    Example:
        >>> show_path(("matrix", "optimizer", 0, "sgd"))
        'matrix.optimizer[0].sgd'
    """
    parts = (f"[{part}]" if isinstance(part, int) else f".{shorten(part)}" for part in path)
    return "".join(parts).removeprefix(".")


def shorten(text: str, limit: int = 80) -> str:
    """Cut a long text and write characters that do not print as escapes.

    Example:
        >>> shorten("x" * 300, limit=3)
        'xxx…'
    """
    cut = text[:limit]
    shown = cut if cut.isprintable() else repr(cut)[1:-1]
    return shown if len(text) <= limit else f"{shown}…"


def show(value: object) -> str:
    """Write a value as the file has it, cut to one short piece of text.

    Example:
        >>> show(None), show(True), show("a"), show({"sgd": None})
        ('nothing (null)', 'true', "'a'", "{'sgd': None}")
    """
    if value is None:
        return "nothing (null)"
    return str(value).lower() if isinstance(value, bool) else shorten(repr(value))


def read(source: Path | str, *, name: str = "suite") -> Document:
    """Read one YAML document.

    Args:
        source: a file, or the text itself.
        name: what error messages call a text; a file is called by its path.

    Returns:
        The plain data and their line numbers.

    Raises:
        RequestError: the file cannot be read or is no plain YAML; the message names file and line.

    Example:
        >>> read("lr: 1e-3").data
        {'lr': 0.001}
    """
    if isinstance(source, Path):
        return read(_text_of(source), name=shorten(str(source), 300))
    if len(source.encode(errors="replace")) > MAX_BYTES:
        raise RequestError(f"{name}: expected at most {MAX_BYTES:,} bytes, got more.")
    if bad := _CONTROL.search(source):
        line = 1 + source.count("\n", 0, bad.start())
        raise RequestError(f"{name}, line {line}: expected text, got control character {_code(bad[0])}.")
    try:
        return _Builder(name).build(yaml.parse(source, Loader=_LOADER))
    except yaml.YAMLError as error:
        raise RequestError(_invalid(name, error)) from None


def from_mapping(value: object, *, name: str = "suite") -> Document:
    """Take a suite that was written in Python under the rules of the files.

    Args:
        value: nested mappings with text keys, lists, tuples and plain scalars.
        name: what error messages call it.

    Raises:
        RequestError: a value could not stand in a file.
    """
    document = Document(name, None)
    return Document(name, _plain(value, (), document))


def _text_of(path: Path) -> str:
    name = shorten(str(path), 300)
    try:
        if not path.is_file():
            raise RequestError(f"{name}: expected a YAML file, found {_kind(path)}.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise RequestError(f"{name}: cannot be read: {error}.") from None
    if len(content) > MAX_BYTES:
        raise RequestError(f"{name}: expected at most {MAX_BYTES:,} bytes, got more.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        raise RequestError(
            f"{name}, line {line}: expected UTF-8 text, got byte {content[error.start]:#04x}."
        ) from None


def _kind(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    return "no ordinary file" if path.exists() else "nothing"


def _invalid(name: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be parsed"
    line = f", line {mark.line + 1}" if mark else ""
    return f"{name}{line}: not valid YAML: {shorten(str(problem), 200)}."


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"


@dataclass
class _Frame:
    """A list or mapping that is being read, and the key that waits for its value."""

    container: list[object] | dict[str, object]
    path: KeyPath
    key: str | None = None


class _Builder:
    """Turns parser events into plain data, one open list or mapping on top of another."""

    def __init__(self, name: str) -> None:
        self._document = Document(name, None)
        self._lines: dict[KeyPath, int] = {}
        self._frames: list[_Frame] = []
        self._root: object = None
        self._documents = 0

    def build(self, events: Iterable[yaml.Event]) -> Document:
        for event in events:
            self._take(event)
        return Document(self._document.name, self._root, self._lines)

    def _take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._start_document(event)
        elif isinstance(event, yaml.AliasEvent):
            raise self._refusal(
                event, f"expected a value, got the alias *{shorten(str(event.anchor))}; write the value out"
            )
        elif isinstance(event, yaml.NodeEvent):
            self._take_node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._frames.pop()

    def _start_document(self, event: yaml.DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents > 1:
            raise self._refusal(event, "expected one document, got a second one")
        if event.version or event.tags:
            raise self._refusal(event, "expected no directives, got %YAML or %TAG")

    def _take_node(self, event: yaml.NodeEvent) -> None:
        if event.anchor is not None:
            raise self._refusal(
                event, f"expected a value, got the anchor &{shorten(str(event.anchor))}; write the value out"
            )
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise self._refusal(event, f"expected a plain value, got the tag {shorten(str(tag))}")
        frame = self._frames[-1] if self._frames else None
        if frame and isinstance(frame.container, dict) and frame.key is None:
            self._take_key(frame, event)
        elif isinstance(event, yaml.ScalarEvent):
            self._place(event, self._scalar(event))
        else:
            self._open(event, [] if isinstance(event, yaml.SequenceStartEvent) else {})

    def _take_key(self, frame: _Frame, event: yaml.NodeEvent) -> None:
        key = self._scalar(event) if isinstance(event, yaml.ScalarEvent) else None
        if not isinstance(key, str):
            raise self._refusal(
                event, "expected a name as key, got another kind of value; quote it if it is one"
            )
        path = (*frame.path, key)
        if key in frame.container:
            first = self._lines[path]
            raise self._refusal(
                event, f"expected each key once, got {shorten(key)!r} again (first in line {first})"
            )
        frame.key = key
        self._lines[path] = _line(event)

    def _open(self, event: yaml.NodeEvent, container: list[object] | dict[str, object]) -> None:
        if len(self._frames) >= MAX_DEPTH:
            raise self._refusal(event, f"expected at most {MAX_DEPTH} levels of nesting, got more")
        self._frames.append(_Frame(container, self._place(event, container)))

    def _place(self, event: yaml.NodeEvent, value: object) -> KeyPath:
        """Put a value where it belongs and return its path."""
        if not self._frames:
            self._root = value
            path: KeyPath = ()
        else:
            frame = self._frames[-1]
            if isinstance(frame.container, list):
                path = (*frame.path, len(frame.container))
                frame.container.append(value)
            else:
                assert frame.key is not None
                path = (*frame.path, frame.key)
                frame.container[frame.key] = value
                frame.key = None
        self._lines.setdefault(path, _line(event))
        return path

    def _scalar(self, event: yaml.ScalarEvent) -> object:
        if not event.implicit[0]:  # quoted or block text
            return _text(event.value, self._here(), self._at(event))
        return _resolve(event.value, self._here(), self._at(event))

    def _here(self) -> KeyPath:
        if not self._frames:
            return ()
        frame = self._frames[-1]
        if isinstance(frame.container, list):
            return (*frame.path, len(frame.container))
        return frame.path if frame.key is None else (*frame.path, frame.key)

    def _at(self, event: yaml.Event) -> Document:
        return Document(self._document.name, None, {(): _line(event)})

    def _refusal(self, event: yaml.Event, message: str) -> RequestError:
        return self._at(event).error(self._here(), f"{message}.")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _resolve(text: str, path: KeyPath, document: Document) -> object:
    """Give an unquoted scalar its type by the core schema of YAML 1.2."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text) > 40:
            raise document.error(path, f"expected a number, got {len(text)} digits.")
        return _whole(int(text, 0 if text[:2] in ("0o", "0x") else 10), path, document)
    if _FLOAT.fullmatch(text):
        return float(text)
    if special := _SPECIAL.fullmatch(text):
        return float(f"{special[1]}inf") if special[2] else float("nan")
    return _text(text, path, document)


def _plain(value: object, path: KeyPath, document: Document) -> object:
    """Copy a Python value, refusing what a file could not hold."""
    if len(path) > MAX_DEPTH:
        raise document.error(path[:2], f"expected at most {MAX_DEPTH} levels of nesting, got more.")
    if isinstance(value, Mapping):
        return {_key(k, path, document): _plain(v, (*path, k), document) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v, (*path, i), document) for i, v in enumerate(value)]
    if value is None or type(value) in (bool, float):
        return value
    if type(value) is int:
        return _whole(value, path, document)
    if type(value) is str:
        return _text(value, path, document)
    kind = shorten(type(value).__name__)
    raise document.error(
        path, f"expected plain text, numbers, lists or mappings, got a value of type {kind}."
    )


def _key(key: object, path: KeyPath, document: Document) -> str:
    if type(key) is not str:
        raise document.error(path, f"expected names as keys, got one of type {shorten(type(key).__name__)}.")
    return _text(key, path, document)


def _whole(value: int, path: KeyPath, document: Document) -> int:
    if not -(2**63) <= value < 2**63:
        raise document.error(path, "expected a whole number of at most 63 bits, got a larger one.")
    return value


def _text(text: str, path: KeyPath, document: Document) -> str:
    if bad := _CONTROL.search(text):
        raise document.error(path, f"expected text, got control character {_code(bad[0])}.")
    return text
