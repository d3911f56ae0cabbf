"""Compares two levels of one factor: a small suite, tuned and paired, and one verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from recipebench.benchmarks import own_source, runner, verbs
from recipebench.benchmarks.agenda import agenda
from recipebench.benchmarks.combinations import RECIPE
from recipebench.benchmarks.crossing import cross
from recipebench.benchmarks.endpoints import endpoint_of
from recipebench.benchmarks.progress import ProgressView
from recipebench.benchmarks.results import collect
from recipebench.benchmarks.runner import Options
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.suite import Suite, load_suite
from recipebench.datamodules.catalog import facts_of, split_sizes
from recipebench.errors import RequestError, unknown
from recipebench.levels import Catalog, Choice
from recipebench.lightning_modules.catalog import DEFAULTS, OPTIMIZERS
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.plugins import KINDS
from recipebench.reports import wording
from recipebench.reports.compare import SMALLEST
from recipebench.reports.versus import Arm, Comparison, Setting, versus

Level = str | Mapping[str, Any] | Callable[..., Any]
"""A level: its name, its name with hyper-parameters, or a function or class of one's own."""

FACTORS: dict[str, Catalog] = {"model": MODELS, **RECIPE}
"""The factors of which two levels can be compared."""

DECADES = 4
"""How wide the range of a learning rate is, around its default."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `recipebench.compare` was asked; see there."""

    factor: str | None = None
    data: str | Mapping[str, Any] | Sequence[Any] = "digits"
    model: str | Mapping[str, Any] = "mlp"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    seeds: int | Sequence[int] = 10
    tune: bool = True
    trials: int = 16
    tuning_seeds: int | Sequence[int] = 3
    epochs: int = 10
    batch_size: int = 32
    smallest_effect: float | Mapping[str, float] | None = None
    device: str = "cpu"
    store: Path = Path("runs")
    options: Options
    plugin: tuple[Path, ...] = ()


@dataclass(frozen=True)
class _Spec:
    """A level with the hyper-parameters that were given."""

    name: str
    given: Mapping[str, Any]

    @property
    def plain(self) -> str | dict[str, Any]:
        """As suites name it."""
        return {self.name: dict(self.given)} if self.given else self.name

    @property
    def label(self) -> str:
        """As it is told."""
        shown = [
            f"{key}={_value(value)}" for key, value in self.given.items() if not isinstance(value, Mapping)
        ]
        return f"{self.name} ({', '.join(shown)})" if shown else self.name


def compare_levels(first: Level, second: Level, request: Request, console: Console) -> Comparison:
    """Train what the store lacks of two levels, and judge whether the first is better; see `Request`.

    Raises:
        RequestError: a level is not known, both are one, or the request fits together in no other way;
            nothing was trained.
    """
    verbs.plug_in(request.plugin)
    factor = _factor(first, second, request.factor)
    _check_recipe(factor, request)
    specs = [_spec(level, factor, request.store) for level in (first, second)]
    _refuse_equal(factor, *specs)
    rates = _Rates.of(factor, specs, request)
    both, *sides = (
        load_suite(_suite(factor, given, rates, request)) for given in (specs, specs[:1], specs[1:])
    )
    _refuse_one_recipe(factor, request, *sides)
    names = both.data_names()
    smallest = _smallest(both, names, request.smallest_effect)
    _train(both, request, console)
    return _judged(factor, specs, sides, rates, smallest, request)


# What is asked


def _factor(first: Level, second: Level, given: str | None) -> str:
    """Return the factor that both are levels of."""
    if given is not None:
        if given not in FACTORS:
            raise RequestError(unknown("factor", given, FACTORS))
        return given
    names = [name for name in map(_name, (first, second)) if name is not None]
    if not names:
        raise RequestError("Expected factor='optimizer' or another: two functions do not say what they are.")
    homes = [[factor for factor, levels in FACTORS.items() if name in levels] for name in names]
    common = [factor for factor in homes[0] if all(factor in home for home in homes)]
    if len(common) > 1:
        raise RequestError(f"Levels of several factors: {', '.join(common)}. Say which one by factor=.")
    if not common:
        raise RequestError(_no_factor(names, homes))
    return common[0]


def _no_factor(names: Sequence[str], homes: Sequence[Sequence[str]]) -> str:
    for name, home, other in zip(names, homes, [*homes[1:], homes[0]], strict=True):
        if not home:
            factors = other or list(FACTORS)
            known = [level for factor in factors for level in FACTORS[factor]]
            return unknown(" or ".join(other) if other else "level", name, known)
    said = [f"{name} ({', '.join(home)})" for name, home in zip(names, homes, strict=True)]
    return f"Expected two levels of one factor, got {' and '.join(said)}."


def _name(level: Level) -> str | None:
    """Return the name of a level; None for a function or class."""
    if isinstance(level, str):
        return level
    if isinstance(level, Mapping):
        if len(level) != 1 or not isinstance(next(iter(level)), str):
            raise RequestError(f"Expected one name with its hyper-parameters, got {level!r:.80}.")
        return str(next(iter(level)))
    if callable(level):
        return None
    raise RequestError(
        f"Expected the name of a level, or a function or class that makes one, got {level!r:.80}."
    )


def _spec(level: Level, factor: str, store: Path) -> _Spec:
    """Return a level by name; what was defined in a notebook is written to the store as a plug-in first."""
    name = _name(level)
    if name is None:
        return _Spec(_own(level, factor, store), {})
    if name not in FACTORS[factor]:
        raise RequestError(unknown(factor, name, FACTORS[factor]))
    given = next(iter(level.values())) if isinstance(level, Mapping) else None
    if given is not None and not isinstance(given, Mapping):
        raise RequestError(f"{factor} {name}: expected hyper-parameters as a mapping, got {given!r:.80}.")
    return _Spec(name, dict(given or {}))


def _own(factory: Any, factor: str, path: Path) -> str:
    if factor not in KINDS:
        raise RequestError(
            f"{factor}: expected the name of a level, for none can be added, got {factory!r:.80}."
        )
    if known := own_source.existing(factory, factor):
        return known
    own_source.as_plugin(factory, factor)  # refused before a store is made
    with Store(path).lock():
        return own_source.load(factory, factor, path / "plugins")


def _refuse_equal(factor: str, first: _Spec, second: _Spec) -> None:
    """Refuse one level twice: on paired seeds its cells are the same cells, and any difference is 0."""
    if first.name == second.name and _filled(factor, first) == _filled(factor, second):
        raise RequestError(
            f"Expected two levels that differ, got {factor} {first.label} twice: on the same seeds its cells "
            "are the same cells, so that every difference is 0."
        )


def _filled(factor: str, spec: _Spec) -> dict[str, Any]:
    """Return all hyper-parameters, ranges as they were given."""
    ranges = {key: value for key, value in spec.given.items() if isinstance(value, Mapping)}
    fixed = {key: value for key, value in spec.given.items() if key not in ranges}
    return {**FACTORS[factor].choose({spec.name: fixed}).parameters, **ranges}


def _check_recipe(factor: str, request: Request) -> None:
    for name, level in request.recipe.items():
        if name == factor:
            raise RequestError(f"recipe: expected other factors than {factor}, whose levels are compared.")
        if name not in RECIPE:
            raise RequestError(f"recipe: {unknown('factor', name, {*RECIPE} - {factor})}")
        if not isinstance(level, str | Mapping):
            raise RequestError(f"recipe: {name}: expected the name of a level, got {level!r:.80}.")


@dataclass(frozen=True)
class _Rates:
    """How the learning rates of the optimizers that take part are found.

    Args:
        tuned: whether they are chosen by validation.
        optimizers: what stands in the suite for each optimizer that was named.
        why: what is said of it.
    """

    tuned: bool
    optimizers: Mapping[str, tuple[Any, ...]]
    why: str

    @classmethod
    def of(cls, factor: str, specs: Sequence[_Spec], request: Request) -> _Rates:
        """Decide for both levels alike."""
        named = request.recipe.get("optimizer", DEFAULTS["optimizer"])
        if factor != "optimizer":
            specs = [_spec(named, "optimizer", request.store)]
        fixed = ["lr" in spec.given and not isinstance(spec.given["lr"], Mapping) for spec in specs]
        if request.tune and any(fixed) and not all(fixed):
            one = specs[fixed.index(True)]
            raise RequestError(
                f"optimizer {one.label}: its learning rate is given, the other's would be tuned, and such a "
                "comparison is worth nothing. Give neither, both, or tune=False."
            )
        tuned = request.tune and not any(fixed)
        found = {_key(spec): _variants(spec, request.trials) if tuned else (spec.plain,) for spec in specs}
        return cls(tuned, found, _told(request, specs, tuned))


def _key(spec: _Spec) -> str:
    return repr(spec.plain)


def _variants(spec: _Spec, trials: int) -> tuple[Any, Any]:
    """Return an optimizer at its default rate, and with a range around it."""
    rate = next((p for p in OPTIMIZERS[spec.name].parameters if p.name == "lr"), None)
    if rate is None:
        raise RequestError(f"optimizer {spec.name}: it has no learning rate `lr` to tune. Give tune=False.")
    default, half = float(rate.default), 10 ** (DECADES / 2)  # type: ignore[arg-type]
    around = {"tune": {"low": default / half, "high": min(default * half, rate.maximum), "trials": trials}}
    fixed = {key: value for key, value in spec.given.items() if key != "lr"}
    ranged = {spec.name: {**fixed, "lr": spec.given.get("lr", around)}}
    return {spec.name: fixed} if fixed else spec.name, ranged


def _told(request: Request, specs: Sequence[_Spec], tuned: bool) -> str:
    given = ["lr" in spec.given for spec in specs]
    if not tuned:
        return "Learning rates as given" if any(given) else "Default learning rates, not tuned"
    count = request.tuning_seeds if isinstance(request.tuning_seeds, int) else len(request.tuning_seeds)
    around = [] if all(given) else [f"{DECADES} decades around the default"]
    ranges = " or ".join([*around, "the range given"] if any(given) else around)
    return (
        f"Learning rates tuned for each recipe: {request.trials} trials over {ranges}, on "
        f"{wording.count_of(count, 'seed')} set aside for it, chosen by validation"
    )


def _suite(factor: str, specs: Sequence[_Spec], rates: _Rates, request: Request) -> dict[str, Any]:
    """Return the suite of one level, or of both."""
    matrix: dict[str, Any] = {name: [level] for name, level in request.recipe.items() if name != "optimizer"}
    if factor == "optimizer":
        matrix["optimizer"] = [variant for spec in specs for variant in rates.optimizers[_key(spec)]]
    else:
        matrix |= {factor: [spec.plain for spec in specs]}
        matrix["optimizer"] = [variant for variants in rates.optimizers.values() for variant in variants]
    data = request.data if isinstance(request.data, list | tuple) else [request.data]
    found: dict[str, Any] = {
        "name": wording.slug("_vs_".join(spec.name for spec in specs))[:64],
        "description": f"{' against '.join(spec.label for spec in specs)}.",
        "data": [*data],
        "matrix": matrix,
        "seeds": request.seeds if isinstance(request.seeds, int) else [*request.seeds],
        "device": request.device,
        "protocol": {"epochs": request.epochs, "batch_size": request.batch_size},
    }
    if factor != "model":
        found["model"] = request.model
    if rates.tuned:
        seeds = request.tuning_seeds
        found["tuning"] = {"seeds": seeds if isinstance(seeds, int) else [*seeds]}
    return found


def _refuse_one_recipe(factor: str, request: Request, first: Suite, second: Suite) -> None:
    if {c.key() for c in cross(first)} & {c.key() for c in cross(second)}:
        model = request.model if isinstance(request.model, str) else next(iter(request.model))
        raise RequestError(
            f"The model {model} does not respond to {factor}: both levels give the same cells."
        )


def _smallest(
    suite: Suite, names: Iterable[str], given: float | Mapping[str, float] | None
) -> dict[str, float]:
    """Return the smallest effect of each data set: as given, or the default of its measure."""
    if isinstance(given, Mapping):
        for name in given:
            if name not in names:
                raise RequestError(f"smallest_effect: {unknown('data of this comparison', name, names)}")
    found = {}
    for name in names:
        measure = endpoint_of(suite.endpoint_for(name), name).measure
        size = given.get(name) if isinstance(given, Mapping) else given
        size = SMALLEST.get(measure) if size is None else size
        if size is None:
            raise RequestError(f"smallest_effect: {measure} has no default; expected a number for {name}.")
        if isinstance(size, bool) or not isinstance(size, int | float) or not 0 <= size < float("inf"):
            raise RequestError(f"smallest_effect: expected a number of at least 0, got {size!r:.80}.")
        found[name] = float(size)
    return found


# What is done


def _train(suite: Suite, request: Request, console: Console) -> None:
    """Train what the store lacks."""
    selection = runner.select(suite, Store(request.store), request.options)
    store = Store(request.store, on_problem=lambda text: console.print(text, markup=False))
    with store.lock():
        plan = runner.make_plan(selection, store, request.options)
        with ProgressView(plan, console) as view:
            runner.run(plan, store, request.options, view)


def _judged(
    factor: str,
    specs: Sequence[_Spec],
    sides: Sequence[Suite],
    rates: _Rates,
    smallest: Mapping[str, float],
    request: Request,
) -> Comparison:
    store = Store(request.store)
    arms = [_arm(spec, suite, store) for spec, suite in zip(specs, sides, strict=True)]
    choices = _choices(specs, sides, store)
    names = list(smallest)
    setting = Setting(
        factor=factor,
        endpoints={name: endpoint_of(sides[0].endpoint_for(name), name) for name in names},
        smallest=smallest,
        protocol=_protocol(factor, rates, request),
        test_items={choice.name: _test_items(choice) for choice in sides[0].levels()["data"]},
        held_out=frozenset(name for name in names if not facts_of(name).test),
        tuned=rates.tuned,
        doubts=tuple(_doubt(row) for row in choices.to_dict("records") if row["edge"]),
    )
    suite = {**_suite(factor, specs, rates, request), "smallest_effect": dict(smallest)}
    return versus(arms[0], arms[1], setting, choices, suite)


def _arm(spec: _Spec, suite: Suite, store: Store) -> Arm:
    records = collect(suite, store).records
    if "role" not in records:
        return Arm(spec.label, records)
    reported = records[records["role"] == "report"]
    tuned = reported["search"].notna()
    if not tuned.any():  # a model that is not trained by an optimizer
        return Arm(spec.label, reported.reset_index(drop=True))
    return Arm(spec.label, reported[tuned].reset_index(drop=True), reported[~tuned].reset_index(drop=True))


def _choices(specs: Sequence[_Spec], sides: Sequence[Suite], store: Store) -> pd.DataFrame:
    """Return what validation chose, and where it is the outermost value that was tried."""
    rows = []
    for spec, suite in zip(specs, sides, strict=True):
        for course in agenda(suite, store).courses:
            choice = store.choice(course.search.id) or {"chosen": {}, "edges": {}}
            for name, value in choice["chosen"].items():
                data = course.search.combination.data.name
                rows.append((spec.label, data, name, value, choice["edges"].get(name, "")))
    return pd.DataFrame(rows, columns=["level", "data", "hyper-parameter", "value", "edge"])


def _doubt(row: Mapping[Any, Any]) -> str:
    which = {"low": "lowest", "high": "highest"}.get(row["edge"], "only")
    return (
        f"The value of {row['hyper-parameter']} chosen for {row['level']} on {row['data']}, "
        f"{row['value']:.3g}, is the {which} that was tried: a better one may lie outside of the range. Give "
        "the optimizer a wider one, {'lr': {'tune': {'low': 1e-4, 'high': 10, 'trials': 16}}} for example."
    )


def _protocol(factor: str, rates: _Rates, request: Request) -> str:
    parts = [] if factor == "model" else [f"model {_shown(request.model)}"]
    parts += [f"{name} {_shown(level)}" for name, level in request.recipe.items()]
    if factor != "optimizer" and "optimizer" not in request.recipe:
        parts.append(f"optimizer {DEFAULTS['optimizer']}")
    parts += [f"{request.epochs} epochs", f"batches of {request.batch_size}"]
    return f"{factor.capitalize()}s compared with {', '.join(parts)}. {rates.why}."


def _shown(level: Any) -> str:
    spec = level if isinstance(level, str) else {name: dict(given or {}) for name, given in level.items()}
    return spec if isinstance(spec, str) else _Spec(*next(iter(spec.items()))).label


def _test_items(data: Choice) -> int:
    return split_sizes(data).test if facts_of(data.name).task == "classification" else 0


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
