"""Levels of one's own: a Python file adds to the visible dicts, and this module describes what it added.

A plug-in is one file. It names a factory by a decorator, which reads name, summary, source and
hyper-parameters off the code, or assigns to a dict, `ACTIVATIONS["swish"] = Swish`, which then happens
when the file has been read. Nothing is imported here that loads torch; a plug-in may.

Example:
    >>> from recipebench.plugins import loss
    >>> @loss(tasks=("regression",))  # doctest: +SKIP
    ... def log_cosh(outputs, targets, scale: float = 1.0):
    ...     '''log cosh(e / scale), e = o - y: quadratic near 0, linear far out.'''
    ...     return ((outputs - targets) / scale).cosh().log().mean(1)
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, Unpack, get_args, get_origin, overload

from recipebench.datamodules import catalog as data_catalog
from recipebench.errors import RequestError, unknown
from recipebench.levels import Catalog, Level, Parameter
from recipebench.lightning_modules import catalog, model_catalog

__all__ = [
    "Plugin",
    "activation",
    "data_set",
    "initializer",
    "load",
    "loaded",
    "loss",
    "model",
    "optimizer",
    "origin",
    "regularizer",
    "unload",
]

F = TypeVar("F", bound=Callable[..., Any])

Sampled = Literal["classification", "regression"]
"""The tasks that have samples."""

OF_MODELS = ("in_features", "in_shape", "out_features", "task", "init_seed", "features", *catalog.FACTORS)
"""Arguments of models that data, recipe or an earlier training decide."""

OF_DATA = (
    *("batch_size", "validation", "train_samples", "label_noise", "inputs", "last_batch", "sampling"),
    *("augmentation", "seed", "data_dir"),
)
"""Arguments of data modules that the protocol decides."""


@dataclass(frozen=True)
class Kind:
    """A kind of level that can be added.

    Args:
        axis: as cells and suites name it.
        catalog: where its levels are described.
        home: the module and the dict that make them.
        what: what a factory of it is, in words for a message.
        first: arguments that the matrix hands over, which come first: what is trained, drawn or scored.
        given: arguments by name that are no hyper-parameters.
    """

    axis: str
    catalog: Catalog
    home: tuple[str, str]
    what: str
    first: int = 0
    given: tuple[str, ...] = ()

    @property
    def factories(self) -> MutableMapping[str, Any]:
        """The visible dict; asking for it imports torch."""
        module, name = self.home
        factories: MutableMapping[str, Any] = getattr(importlib.import_module(f"recipebench.{module}"), name)
        return factories


KINDS: dict[str, Kind] = {
    kind.axis: kind
    for kind in (
        Kind(
            *("activation", catalog.ACTIVATIONS, ("lightning_modules.activations", "ACTIVATIONS")),
            what="a class or function of hyper-parameters that returns an nn.Module, which is handed x later",
        ),
        Kind(
            *("initializer", catalog.INITIALIZERS, ("lightning_modules.initializers", "INITIALIZERS")),
            what="a function of (u, fans, **hyper-parameters) that returns weights like u",
            first=2,
        ),
        Kind(
            *("regularizer", catalog.REGULARIZERS, ("lightning_modules.regularizers", "PENALTIES")),
            what="a function of (weights, **hyper-parameters) that returns a scalar",
            first=1,
        ),
        Kind(
            *("optimizer", catalog.OPTIMIZERS, ("lightning_modules.optimizers", "OPTIMIZERS")),
            what="a class or function of (parameters, **hyper-parameters) that returns an optimizer",
            first=1,
        ),
        Kind(
            *("loss", catalog.LOSSES, ("lightning_modules.losses", "LOSSES")),
            what="a function of (outputs, targets, **hyper-parameters) that returns (batch,)",
            first=2,
        ),
        Kind(
            *("model", model_catalog.MODELS, ("lightning_modules.models", "MODELS")),
            what=f"a RecordedModule of hyper-parameters and of {', '.join(OF_MODELS[:5])} as it needs them",
            given=OF_MODELS,
        ),
        Kind(
            *("data", data_catalog.DATA, ("datamodules.registry", "DATA_MODULES")),
            what="a function of hyper-parameters that returns samples, or a TensorDataModule",
            given=OF_DATA,
        ),
    )
}
"""What can be added, by axis."""

TASKS = tuple(dict.fromkeys(task for level in data_catalog.DATA.values() for task in level.tasks))
"""The tasks that there are data for."""

BUILT_IN: dict[str, frozenset[str]] = {axis: frozenset(kind.catalog) for axis, kind in KINDS.items()}
"""The levels that come with the package."""

ON_CHANGE: list[Callable[[], object]] = []
"""Called when levels have come or gone: what has been remembered of them is to be forgotten."""


class Description(TypedDict, total=False):
    """What a decorator can be told beyond what it reads off the code.

    Args:
        name: as suites name it; the function's or class's own name in small letters by default.
        summary: what it does, in one line; the docstring's first line by default.
        formula: in plain text.
        source: paper, book section or library; the docstring's References by default.
        parameters: hyper-parameters whose range, choices or meaning are to be said; the others are read
            off the signature.
        tasks: the tasks it can be used for; of a loss, those whose outputs and targets it takes by default.
        structural: of an activation: it mixes the units of a sample, or changes their number.
        elementwise: of an optimizer: its step treats every number by itself, so that one step can serve
            all members of a pack.
        needs: of a model: what it asks of the data, keys of `model_catalog.NEEDS`.
    """

    name: str
    summary: str
    formula: str
    source: str
    parameters: Sequence[Parameter]
    tasks: Sequence[str]
    structural: bool
    elementwise: bool
    needs: Sequence[str]


class Adder:
    """A decorator that adds a function or class as a level of one kind, and leaves it as it is.

    Args:
        axis: a key of `KINDS`.
        own: the options of `Description` that only some kinds have, and this one has.
    """

    def __init__(self, axis: str, own: tuple[str, ...] = ()) -> None:
        self._axis = axis
        self._refused = {"structural", "elementwise", "needs"}.difference(own)

    @overload
    def __call__(self, factory: F, /) -> F: ...

    @overload
    def __call__(self, /, **options: Unpack[Description]) -> Callable[[F], F]: ...

    def __call__(self, factory: F | None = None, /, **options: Unpack[Description]) -> F | Callable[[F], F]:
        """Add `factory`, or return the decorator that will.

        Raises:
            RequestError: the name is taken, an option is not known, or a hyper-parameter has no default.
        """
        for name in options:
            known = set(Description.__annotations__) - self._refused
            if name not in known:
                raise RequestError(f"@{self._axis}: {unknown('option', name, known)}")

        def add(factory: F) -> F:
            _add(KINDS[self._axis], factory, options)
            return factory

        return add if factory is None else add(factory)


activation = Adder("activation", ("structural",))
"""Adds an activation: a class or function that returns an `nn.Module`, from the hyper-parameters."""

initializer = Adder("initializer")
"""Adds an initializer: a function of (u, fans, **hyper-parameters) that returns weights like u."""

regularizer = Adder("regularizer")
"""Adds a penalty: a function of (weights, **hyper-parameters) that returns a scalar."""

optimizer = Adder("optimizer", ("elementwise",))
"""Adds an optimizer: a class or function of (parameters, **hyper-parameters)."""

loss = Adder("loss")
"""Adds a loss: a function of (outputs, targets, **hyper-parameters) that returns (batch,)."""

model = Adder("model", ("needs",))
"""Adds a model: a subclass of `SupervisedModule`, or of another `RecordedModule`."""


@overload
def data_set(function: F, /) -> F: ...


@overload
def data_set(
    *,
    task: Sampled = "classification",
    license: str = "not stated",
    citation: str = "",
    **description: Unpack[Description],
) -> Callable[[F], F]: ...


def data_set(
    function: F | None = None,
    /,
    *,
    task: Sampled = "classification",
    license: str = "not stated",  # noqa: A002
    citation: str = "",
    **description: Unpack[Description],
) -> F | Callable[[F], F]:
    """Add a data set: a function of its hyper-parameters that returns its samples.

    The function returns (inputs, targets), of which a part is held out as the test set, or (inputs,
    targets, test inputs, test targets), arrays or tensors: inputs (n, features) or (n, channels, height,
    width), targets (n,). It is called once, with its defaults, to learn the facts. A hyper-parameter `n`
    is the number of samples. A class, a `TensorDataModule` with `name` and `facts`, is added to
    `DATA_MODULES` itself.

    Args:
        function: where the decorator stands without parentheses.
        task: `classification` (targets are classes from 0 on) or `regression`.
        license: under which the data may be used.
        citation: what to cite.
        **description: see `Description`.

    Raises:
        RequestError: the name is taken, or the function returns something else.
    """
    if task not in get_args(Sampled):
        raise RequestError(f"@data_set: {unknown('task', task, get_args(Sampled))}")

    def add(function: F) -> F:
        own = importlib.import_module("recipebench.datamodules.own")
        described = _level(KINDS["data"], function, {**description, "tasks": (task,)})
        taken = {"task": task, "license": license, "citation": citation, "source": described.source}
        _register(KINDS["data"], own.from_function(function, described, **taken), described)
        return function

    return add if function is None else add(function)


@dataclass(frozen=True)
class Plugin:
    """A file that was loaded, and what it added.

    Args:
        path: the file.
        sha256: of its content, 64 hex digits.
        levels: (axis, name) of each level that it added.
    """

    path: Path
    sha256: str
    levels: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.path.name


_loaded: dict[Path, Plugin] = {}


def load(path: str | Path, sha256: str | None = None) -> Plugin:
    """Run a plug-in's file and describe what it adds; a file that is loaded already is left alone.

    A file that has changed since it was loaded is loaded again, in place of its old self.

    Args:
        path: the file.
        sha256: what its content must be; None for anything.

    Raises:
        RequestError: the file cannot be read or run, has changed, adds nothing, or takes a name that
            exists. Nothing of it stays then.
    """
    path = Path(path)
    content = _read(path)
    place, found = path.resolve(), hashlib.sha256(content).hexdigest()
    if sha256 not in (None, found):
        raise RequestError(
            f"plug-in {path}: it has changed while it was in use: expected SHA-256 {sha256}, got {found}."
        )
    if place in _loaded and _loaded[place].sha256 == found:
        return _loaded[place]
    with _all_or_nothing():
        _forget(_loaded.pop(place, None))
        before = _names()
        _run(content, path, f"plugin_{path.stem}_{found[:8]}")
        _loaded[place] = Plugin(place, found, _new_levels(path, before))
    return _loaded[place]


def loaded() -> tuple[Plugin, ...]:
    """Return the plug-ins in use, in the order in which they were loaded."""
    return tuple(_loaded.values())


def unload() -> None:
    """Forget all plug-ins and their levels."""
    for plugin in loaded():
        _forget(_loaded.pop(plugin.path))
    _changed()


def origin(axis: str, name: str) -> Plugin | None:
    """Return the plug-in that a level came from; None where it came with the package.

    Raises:
        RequestError: it was added outside of a plug-in's file, so that no worker could know it.
    """
    for plugin in _loaded.values():
        if (axis, name) in plugin.levels:
            return plugin
    if axis not in KINDS or name in BUILT_IN[axis] or name not in KINDS[axis].catalog:
        return None
    raise RequestError(
        f"{axis} {name!r} was added outside of a plug-in: write it to a file, and give the file as plugin "
        "(--plugin FILE), so that worker processes and the ids of cells know it."
    )


def takes_decay(name: str) -> bool:
    """Whether the factory of an optimizer has an option `weight_decay`, which the regularizer sets."""
    return "weight_decay" in inspect.signature(KINDS["optimizer"].factories[name]).parameters


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"plug-in {path}: expected a Python file, but {reason}.") from error


def _run(content: bytes, path: Path, name: str) -> None:
    """Run the very bytes that were hashed, as a module that the standard library can find."""
    module = types.ModuleType(name)
    module.__file__ = str(path.resolve())
    sys.modules[name] = module
    try:
        with _settings_kept():
            exec(compile(content, module.__file__, "exec"), module.__dict__)
    except RequestError as error:
        raise RequestError(f"plug-in {path}{_line(error, module.__file__)}: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plug-in may raise whatever it likes, to exit among others
        text = " ".join(str(error).split()) or "no message"
        where = _line(error, module.__file__)
        raise RequestError(f"plug-in {path}{where}: {type(error).__name__}: {text:.500}") from error


@contextmanager
def _settings_kept() -> Iterator[None]:
    """Refuse a file that changes how torch computes: cells that use nothing of it would change too."""
    torch = importlib.import_module("torch")
    settings: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
        "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "number of threads": (torch.get_num_threads, torch.set_num_threads),
        "autograd": (torch.is_grad_enabled, torch.set_grad_enabled),
        "precision of matrix products": (
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
        ),
        "deterministic algorithms": (
            torch.are_deterministic_algorithms_enabled,
            torch.use_deterministic_algorithms,
        ),
    }
    before = {name: read() for name, (read, _) in settings.items()}
    try:
        yield
    finally:
        found = {name: read() for name, (read, _) in settings.items()}
        for name, (_, write) in settings.items():
            if found[name] != before[name]:
                write(before[name])
    for name, value in before.items():
        if found[name] != value:
            raise RequestError(
                f"expected torch's {name} to be left at {value}, since all cells depend on it, got "
                f"{found[name]}."
            )


def _line(error: BaseException, file: str) -> str:
    """Return the last line of the file that an error passed through, as `, line 3`."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}" if error.lineno else ""
    found, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            found = f", line {trace.tb_lineno}"
        trace = trace.tb_next
    return found


def _new_levels(path: Path, before: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Describe what was only assigned, refuse what was replaced, and return all that is new."""
    levels = []
    for axis, kind in KINDS.items():
        now = kind.factories
        for name, factory in before[axis].items():
            if now.get(name) is not factory:
                raise RequestError(f"plug-in {path}: {axis} {name!r} exists already; choose another name.")
        for name in [name for name in now if name not in before[axis]]:
            if not isinstance(name, str):
                raise RequestError(f"plug-in {path}: {kind.home[1]}: expected a name, got {name!r:.80}.")
            if name not in kind.catalog:
                try:
                    _describe(kind, now[name], name)
                except RequestError as error:
                    raise RequestError(f"plug-in {path}: {error}") from error
            levels.append((axis, name))
        for name in kind.catalog:
            if name not in BUILT_IN[axis] and name not in now:
                raise RequestError(
                    f"plug-in {path}: {axis} {name!r} is described, but not in {kind.home[1]}."
                )
    if not levels:
        dicts = ", ".join(kind.home[1] for kind in KINDS.values())
        raise RequestError(
            f"plug-in {path}: expected it to add a level, by a decorator of recipebench.plugins or by an "
            f"entry in one of {dicts}; got none."
        )
    _changed()
    return tuple(levels)


def _describe(kind: Kind, factory: Any, name: str) -> None:
    """Add the catalog's entry of a level that was only assigned."""
    level = _level(kind, factory, {"name": name})
    if kind.axis == "data":
        facts = getattr(factory, "facts", None)
        if not isinstance(facts, data_catalog.Facts) or getattr(factory, "name", None) != name:
            raise RequestError(f"data {name!r}: expected a data module with this `name`, and `facts`.")
        data_catalog.FACTS[name] = facts
        level = _level(kind, factory, {"name": name, "tasks": facts.tasks, "source": facts.source})
    kind.catalog.add(level)


def _add(kind: Kind, factory: Any, options: Description) -> None:
    level = _level(kind, factory, options)
    _register(kind, factory, level)
    if options.get("elementwise"):
        importlib.import_module("recipebench.lightning_modules.optimizers").ELEMENTWISE.add(level.name)


def _register(kind: Kind, factory: Any, level: Level) -> None:
    if level.name in kind.factories or level.name in kind.catalog:
        plugin = next((p for p in loaded() if (kind.axis, level.name) in p.levels), None)
        of = f", of plug-in {plugin.path}" if plugin else ""
        raise RequestError(f"{kind.axis} {level.name!r} exists already{of}; choose another name.")
    kind.catalog.add(level)
    kind.factories[level.name] = factory
    if kind.axis == "data":
        data_catalog.FACTS[level.name] = factory.facts


def _level(kind: Kind, factory: Any, options: Description) -> Level:
    """Read a level off a function or class."""
    _check_factory(kind, factory, options)
    name = options.get("name") or _snake_case(factory.__name__)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise RequestError(f"{kind.axis}: expected a name of a-z, 0-9 and _, got {name!r:.80}.")
    _check_options(f"{kind.axis} {name}", options)
    documented = _Docstring(inspect.getdoc(factory) if factory.__doc__ else None)
    described: dict[str, Any] = {
        "name": name,
        "summary": options.get("summary") or documented.summary or f"{name}, of a plug-in.",
        "formula": options.get("formula", ""),
        "source": options.get("source") or documented.references or "a plug-in",
        "parameters": _parameters(kind, factory, options, documented, f"{kind.axis} {name}"),
        "structural": options.get("structural", False),
    }
    if "tasks" in options:
        described["tasks"] = tuple(options["tasks"])
    elif kind.axis == "loss":
        described["tasks"] = _tasks_of(factory, {p.name: p.default for p in described["parameters"]})
    if kind.axis != "model":
        return Level(**described)
    return model_catalog.ModelLevel(
        **described, **_model_facts(factory), needs=tuple(options.get("needs", ()))
    )


def _check_factory(kind: Kind, factory: Any, options: Description) -> None:
    """Refuse what is no function or class: an object that was made already, or a name put first."""
    if inspect.isclass(factory) or (callable(factory) and hasattr(factory, "__name__")):
        return
    if isinstance(factory, functools.partial) and "name" in options:
        return
    got = f"{factory!r:.80}" if isinstance(factory, str | int | float | None) else _an_object(factory)
    hint = f"; a name is given as name={factory!r:.80}" if isinstance(factory, str) else ""
    raise RequestError(f"{kind.axis}: expected {kind.what}, got {got}{hint}.")


def _an_object(factory: Any) -> str:
    name = type(factory).__name__
    return f"an object of {name}" + (f" ({name} itself, without parentheses?)" if callable(factory) else "")


def _check_options(owner: str, options: Description) -> None:
    """Refuse options of a wrong type, and tasks and needs that there are not."""
    for name in ("summary", "formula", "source"):
        if not isinstance(options.get(name, ""), str):
            raise RequestError(f"{owner}: {name}: expected text, got {options.get(name)!r:.80}.")
    for name in ("structural", "elementwise"):
        if not isinstance(options.get(name, False), bool):
            raise RequestError(f"{owner}: {name}: expected True or False, got {options.get(name)!r:.80}.")
    known = {"tasks": TASKS, "needs": model_catalog.NEEDS}
    for name in ("tasks", "needs", "parameters"):
        given = options.get(name, ())
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise RequestError(f"{owner}: {name}: expected a list, got {given!r:.80}.")
        for item in given:
            if name == "parameters" and not isinstance(item, Parameter):
                raise RequestError(
                    f"{owner}: parameters: expected recipebench.levels.Parameter, got {item!r:.80}."
                )
            if name != "parameters" and item not in known[name]:
                raise RequestError(f"{owner}: {unknown(name.removesuffix('s'), item, known[name])}")


def _tasks_of(loss: Callable[..., Any], options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tasks of which a loss returns (batch,); else those that it takes at all, for `check`."""
    torch = importlib.import_module("torch")
    outputs, classes = torch.linspace(0.1, 0.9, 15).reshape(5, 3), torch.arange(5) % 3
    batches = {"classification": (outputs, classes), "regression": (outputs[:, :1], outputs[:, 1:2])}
    shapes: dict[str, Any] = {}
    for task, batch in batches.items():
        with suppress(Exception):  # what it does not take, it refuses in whatever way
            shapes[task] = getattr(loss(*batch, **options), "shape", None)
    fitting = [task for task, shape in shapes.items() if shape == (5,)]
    return tuple(fitting or shapes or batches)


def _signature(factory: Any) -> str:
    try:
        return f"{factory.__name__}{inspect.signature(factory)}"[:200]
    except ValueError:
        return str(factory.__name__)


def _model_facts(factory: Any) -> dict[str, Any]:
    """Return the factors that a model responds to, and whether an activation has a place in it."""
    arguments_of = importlib.import_module("recipebench.lightning_modules.models").arguments_of
    try:
        taken = arguments_of(factory)
    except (AttributeError, NameError, TypeError, ValueError) as error:
        raise RequestError(
            f"model {factory.__name__}: expected arguments by name, the factors of a recipe as **recipe: "
            f"Unpack[Recipe], got {_signature(factory)}."
        ) from error
    factors = tuple(factor for factor in catalog.FACTORS if factor in taken)
    trained = ("augmentation",) if "optimizer" in factors else ()
    return {"factors": (*factors, *trained), "hidden_layers": "activation" in factors}


def _parameters(
    kind: Kind, factory: Any, options: Description, documented: _Docstring, owner: str
) -> tuple[Parameter, ...]:
    """Return the hyper-parameters of a factory: those that were described, the others as they are written."""
    try:
        signature = inspect.signature(factory, eval_str=True)
    except NameError:  # an annotation that is only for type checkers
        signature = inspect.signature(factory)
    named = [p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    told = {parameter.name: parameter for parameter in options.get("parameters", ())}
    own = [p for p in named[kind.first :] if p.name not in kind.given and not _is_decay(kind, p)]
    for name in told:
        if name not in {p.name for p in own}:
            raise RequestError(f"{owner}: {unknown('hyper-parameter', name, [p.name for p in own])}")
    return tuple(told.get(p.name) or _parameter(kind, p, documented, owner) for p in own)


def _is_decay(kind: Kind, p: inspect.Parameter) -> bool:
    """Whether an argument is the decay that the regularizer sets, without a default of its own."""
    return kind.axis == "optimizer" and p.name == "weight_decay" and p.default == 0


def _parameter(kind: Kind, p: inspect.Parameter, documented: _Docstring, owner: str) -> Parameter:
    default, annotation = p.default, p.annotation
    if isinstance(default, list):
        default = tuple(default)
    if annotation is float and type(default) is int:
        default = float(default)
    if type(default) not in (float, int, str, bool, tuple) or default == ():
        got = "none" if default is p.empty else f"{default!r:.80}"
        hint = f"; expected {kind.what}" if default is p.empty else ""
        raise RequestError(
            f"{owner}: {p.name}: expected a default that is a number, a name, true or false or a list of "
            f"numbers, got {got}{hint}."
        )
    if annotation in (float, int, str, bool) and type(default) is not annotation:
        raise RequestError(
            f"{owner}: {p.name}: expected a default of the type that is written, {annotation.__name__}, got "
            f"{default!r:.80}."
        )
    bounds: dict[str, Any] = {"minimum": 0, "exclusive": True} if p.name == "lr" else {}
    if get_origin(annotation) is Literal:
        bounds["choices"] = get_args(annotation)
    if isinstance(default, tuple):
        bounds["element"] = type(default[0])
    summary = documented.arguments.get(p.name, p.name)
    found = Parameter(name=p.name, type=type(default), default=default, summary=summary, **bounds)
    found.check(default, owner)
    return found


class _Docstring:
    """What a Google docstring says: summary, arguments, references."""

    def __init__(self, text: str | None) -> None:
        first, _, rest = (text or "").partition("\n")
        self.summary = first.strip()
        sections = re.split(
            r"^(Args|Returns|Raises|References|Example|Shape|Attributes):\n", rest, flags=re.M
        )
        found = dict(zip(sections[1::2], sections[2::2], strict=True))
        self.references = " ".join(found.get("References", "").split()).removesuffix(".")
        entries = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", found.get("Args", ""), flags=re.M)
        self.arguments = {name: " ".join(said.split()).removesuffix(".") for name, said in entries}


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _names() -> dict[str, dict[str, Any]]:
    return {axis: dict(kind.factories) for axis, kind in KINDS.items()}


def _forget(plugin: Plugin | None) -> None:
    elementwise = importlib.import_module("recipebench.lightning_modules.optimizers").ELEMENTWISE
    for axis, name in plugin.levels if plugin else ():
        kind = KINDS[axis]
        kind.factories.pop(name, None)
        kind.catalog.restore({key: level for key, level in kind.catalog.items() if key != name})
        if axis == "data":
            data_catalog.FACTS.pop(name, None)
        if axis == "optimizer":
            elementwise.discard(name)


@contextmanager
def _all_or_nothing() -> Iterator[None]:
    """Put everything back as it was, if what is done inside raises."""
    elementwise = importlib.import_module("recipebench.lightning_modules.optimizers").ELEMENTWISE
    dicts: list[MutableMapping[Any, Any]] = [kind.factories for kind in KINDS.values()]
    dicts += [data_catalog.FACTS, _loaded]
    kept = [dict(each) for each in dicts], {axis: dict(kind.catalog) for axis, kind in KINDS.items()}
    kept_elementwise = set(elementwise)
    try:
        yield
    except BaseException:
        for each, content in zip(dicts, kept[0], strict=True):
            each.clear()
            each.update(content)
        for axis, levels in kept[1].items():
            KINDS[axis].catalog.restore(levels)
        elementwise.clear()
        elementwise.update(kept_elementwise)
        _changed()
        raise


def _changed() -> None:
    for forget in ON_CHANGE:
        forget()
