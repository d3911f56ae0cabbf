"""Writes a function or class that was defined in a notebook as the file of a plug-in, with what it uses."""

from __future__ import annotations

import ast
import builtins
import hashlib
import inspect
import linecache
import math
import re
import symtable
import sys
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from recipebench import plugins
from recipebench.errors import RequestError

HOW = (
    "Put it into a file, in a notebook by %%writefile my_levels.py as the first line of its cell, and give "
    "plugin='my_levels.py' and its name."
)
"""What to do with a level that cannot be written down."""

_VERSION = re.compile(r"[0-9a-f]{16}\.py")
_PLAIN = (int, float, str, bool, type(None))
_FURTHER = ("torch", "torch.nn", "torch.nn.functional", "numpy", "math")
"""Modules in which a name is looked for whose object does not say where it comes from."""


def name_of(factory: Callable[..., Any]) -> str:
    """Return the name under which a function or class becomes a level.

    Raises:
        RequestError: it has none: a lambda, a partial function, an object.
    """
    name = getattr(factory, "__name__", "")
    if not (inspect.isfunction(factory) or inspect.isclass(factory)) or not name.isidentifier():
        raise RequestError(
            f"Expected the name of a level, or a function or class that makes one, got {factory!r:.80}. {HOW}"
        )
    return plugins.level_name(name)


def as_plugin(factory: Callable[..., Any], axis: str) -> str:
    """Return the text of a plug-in that adds a function or class as a level.

    One of an installed package is imported, beside a comment with the package's version. Of any other
    the text holds the source, the imports and plain values that it uses, and the functions and classes
    that were defined beside it. A decorator of `recipebench.plugins` stays; where there is none, one line
    adds the level.

    Args:
        factory: a function or class, of a notebook, a file or a package.
        axis: what it is to be a level of, a key of `plugins.KINDS`.

    Raises:
        RequestError: it has no source, or uses something that cannot be written down.
    """
    name = name_of(factory)
    docstring = f'"""The {axis} {name}, written down by recipebench with what it uses."""'
    add = f"from recipebench.plugins import {axis} as _add\n\n_add(name={name!r})({factory.__name__})\n"
    if package := _package(factory):
        line = f"from {factory.__module__} import {factory.__qualname__}"
        return f"{docstring}\n\n# {package}\n{line}\n{add}"
    source = _Source(factory.__name__)
    source.define(factory)
    text = source.text(docstring).rstrip() + "\n"
    return text if source.decorated else f"{text}\n\n{add}"


def _package(factory: Callable[..., Any]) -> str:
    """Return name and version of the installed package that a function or class is of."""
    if "." in factory.__qualname__:
        return ""
    top = factory.__module__.partition(".")[0]
    names = metadata.packages_distributions().get(top, [])
    return " ".join(f"{name} {metadata.version(name)}" for name in sorted(set(names)))


def load(factory: Callable[..., Any], axis: str, folder: Path) -> str:
    """Write a function or class as a plug-in, load it in place of an older one, and return its level's name.

    Args:
        factory: see `as_plugin`; what is a level already is left as it is.
        axis: see `as_plugin`.
        folder: where the file is kept; its name holds its SHA-256, so that older ones stay.

    Raises:
        RequestError: it cannot be written down, or is no level.
    """
    if known := existing(factory, axis):
        return known
    for name in [name for name, made in plugins.KINDS[axis].factories.items() if made is factory]:
        plugins.withdraw(axis, name)  # added by its decorator, outside of a file
    content = as_plugin(factory, axis).encode("utf-8", "backslashreplace")
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"{name_of(factory)}-{digest[:16]}.py"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    _retire(folder, f"{name_of(factory)}-", path)
    levels = plugins.load(path).levels
    return next(name for kind, name in levels if kind == axis)


def existing(factory: Callable[..., Any], axis: str) -> str | None:
    """Return the name of the level that a function or class makes already, of the package or of a file."""
    for name, made in plugins.KINDS[axis].factories.items():
        of_file = any((axis, name) in plugin.levels for plugin in plugins.loaded())
        if made is factory and (of_file or name in plugins.BUILT_IN[axis]):
            return name
    return None


def _retire(folder: Path, prefix: str, path: Path) -> None:
    """Take other versions of the same level out of use; their files stay."""
    paths = [plugin.path for plugin in plugins.loaded()]
    old = [p for p in paths if p.parent == folder.resolve() and p.name.startswith(prefix)]
    old = [p for p in old if p != path.resolve() and _VERSION.fullmatch(p.name.removeprefix(prefix))]
    if old:
        plugins.unload()
        for kept in paths:
            if kept not in old:
                plugins.load(kept)


class _Source:
    """Gathers imports, values and definitions, each once, in the order in which they are needed."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._imports: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._definitions: dict[str, str] = {}
        self.decorated = False

    def text(self, docstring: str) -> str:
        """Return the text of the module."""
        parts = [docstring, "\n".join(sorted(self._imports.values())), "\n".join(self._values.values())]
        return "\n\n".join(part for part in [*parts, *self._definitions.values()] if part) + "\n"

    def define(self, thing: Callable[..., Any]) -> None:
        """Add a function or class, after all that it uses."""
        node, source, scope = _definition(thing, self._owner)
        self._definitions[node.name] = ""  # it may use itself
        adders = [d for d in map(_root, node.decorator_list) if isinstance(scope.get(d), plugins.Adder)]
        self.decorated |= bool(adders)
        for name in _globals_of(source):
            if name in scope and name not in self._definitions:
                self._use(name, scope[name], scope)
        self._definitions.pop(node.name)
        self._definitions[node.name] = source

    def _use(self, name: str, value: Any, scope: Mapping[str, Any]) -> None:
        if line := _import(name, value, scope):
            self._imports[name] = line
        elif inspect.isfunction(value) or inspect.isclass(value):
            if value.__name__ != name:
                raise RequestError(f"{self._owner} uses {name!r}, another name of {value.__name__!r}. {HOW}")
            self.define(value)
        elif _is_plain(value):
            self._values[name] = f"{name} = {value!r}"
        else:
            raise RequestError(
                f"{self._owner} uses {name!r}, an object of {type(value).__name__}, which cannot be written "
                f"down. {HOW}"
            )


def _definition(
    thing: Callable[..., Any], owner: str
) -> tuple[ast.FunctionDef | ast.ClassDef, str, Mapping[str, Any]]:
    """Return syntax, source and global names of a function or class."""
    functions = [thing] if inspect.isfunction(thing) else [*filter(inspect.isfunction, vars(thing).values())]
    free = sorted({name for f in functions for name in f.__code__.co_freevars} - {"__class__"})
    if free:
        raise RequestError(f"{owner} uses {free[0]!r} of the function that it was defined in. {HOW}")
    for function in functions:
        code = function.__code__
        text = "".join(linecache.getlines(code.co_filename, function.__globals__))
        for node in _definitions(text, thing.__name__):
            if _first_line(node) <= code.co_firstlineno <= (node.end_lineno or 0):
                lines = text.splitlines(keepends=True)[_first_line(node) - 1 : node.end_lineno]
                return node, textwrap.dedent("".join(lines)).rstrip() + "\n", function.__globals__
    raise RequestError(f"{owner}: no source was found of {thing.__name__!r}. {HOW}")


def _definitions(text: str, name: str) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a cell with magic commands, or a file that has changed
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            yield node


def _first_line(node: ast.FunctionDef | ast.ClassDef) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _root(decorator: ast.expr) -> str:
    inner = decorator.func if isinstance(decorator, ast.Call) else decorator
    return inner.id if isinstance(inner, ast.Name) else ""


def _globals_of(source: str) -> list[str]:
    """Return the global names that a definition uses, in any of its scopes."""
    found: dict[str, None] = {}

    def look(table: symtable.SymbolTable) -> None:
        top = table.get_type() == "module"
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (top or symbol.is_global()):
                found[symbol.get_name()] = None
        for child in table.get_children():
            look(child)

    look(symtable.symtable(source, "<level>", "exec"))
    return [name for name in found if not hasattr(builtins, name)]


def _import(name: str, value: Any, scope: Mapping[str, Any]) -> str:
    """Return the line that imports a value; empty where it was defined beside the level."""
    if isinstance(value, types.ModuleType):
        return f"import {value.__name__} as {name}"
    own = {"__main__", scope.get("__name__")}
    home, called = getattr(value, "__module__", None), getattr(value, "__name__", name)
    if home in own or _is_plain(value):
        return ""
    for module in (home, *_FURTHER):
        for known in (called, name):
            if module and getattr(sys.modules.get(module), str(known), None) is value:
                return f"from {module} import {known} as {name}"
    return ""


def _is_plain(value: Any) -> bool:
    """Whether a value is a number, a text, true, false or nothing, or a list of them, that `repr` writes."""
    if isinstance(value, tuple | list):
        return type(value) in (tuple, list) and all(map(_is_plain, value))
    return type(value) in _PLAIN and not (isinstance(value, float) and not math.isfinite(value))
