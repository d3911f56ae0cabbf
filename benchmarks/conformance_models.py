"""Conformance of models, and of all levels in the matrix: one epoch on a few samples, alone and in a pack."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from recipebench import lightning_modules
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.conformance import (
    WRONG,
    Case,
    Check,
    finite_problem,
    numbers,
    random_problem,
    repeat_problem,
    same_bits,
    shape_problem,
)
from recipebench.benchmarks.suite import load_suite
from recipebench.datamodules.catalog import FACTS, Facts, split_sizes
from recipebench.levels import Choice
from recipebench.lightning_modules import RecordedModule
from recipebench.lightning_modules.catalog import DEFAULTS, FACTORS
from recipebench.lightning_modules.model_catalog import responds_to, unmet_need
from recipebench.lightning_modules.objective import Objective, as_double, double_copy
from recipebench.lightning_modules.optimizers import ELEMENTWISE

SAMPLES = 200
"""Training samples of a data set that are trained on at most."""

ROWS = 5

FREE_IN_PACKS = ("optimizer", "initializer", "regularizer")
"""Factors in which the members of a pack may differ: the level is packed beside the usual one."""

SMALL: dict[str, tuple[dict[str, Any], ...]] = {
    "classification": ({"two_gaussians": {"n": 60}}, {"digits": {}}),
    "regression": ({"synthetic_regression": {"n": 60}}, {"curve": {}}),
}
"""Small data sets by task; the first that has what a model needs is taken."""


def suite_of(case: Case) -> dict[str, Any] | None:
    """Return a tiny suite around a level; None where its task has no samples to train on."""
    task = next((task for task in case.level.tasks if task in SMALL), None)
    if task is None:
        return None
    data: Any = {case.name: {}} if case.axis == "data" else _small_data(case, task)
    (name,) = data
    protocol: dict[str, Any] = {"epochs": 1, "batch_size": 16}
    sizes = split_sizes(Choice(name, data[name]))
    if sizes.train > SAMPLES:
        protocol["train_samples"] = SAMPLES
    matrix: dict[str, Any] = {"optimizer": ["sgd"]}
    if case.axis in FACTORS:
        beside = DEFAULTS[case.axis] if case.axis in FREE_IN_PACKS else case.name
        matrix |= {case.axis: list(dict.fromkeys([case.name, beside]))}
    model = case.name if case.axis == "model" else {"mlp": {"hidden": [6]}}
    return {
        **{"name": "check", "data": [data], "model": model, "matrix": matrix},
        **{"seeds": 2, "protocol": protocol, "endpoint": "test_loss_at_best"},
    }


def _small_data(case: Case, task: str) -> dict[str, Any]:
    fitting = (data for data in SMALL[task] if unmet_need(case.level, FACTS[next(iter(data))]) is None)
    return next(fitting, SMALL[task][0])


def _cells(case: Case) -> list[Cell]:
    suite = suite_of(case)
    return list(expand(load_suite(suite))) if suite else []


def _of_level(case: Case, cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if getattr(cell, case.axis).name == case.name]


def note(case: Case) -> str:
    """Say how the level will be run in packs."""
    from recipebench.benchmarks.training import why_alone

    cells = _of_level(case, _cells(case))
    if not cells:
        return "Nothing was trained: its task has no samples."
    if reason := why_alone(cells[0]):
        return f"Its cells train alone: {reason}."
    if case.axis != "optimizer":
        return "Its cells train in packs."
    if case.name in ELEMENTWISE:
        return "Its cells train in packs; element-wise, so one step serves all members."
    return "Its cells train in packs; not declared element-wise, so each member has parameters of its own."


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _histories(cells: Sequence[Cell]) -> list[list[dict[str, Any]]]:
    from recipebench.benchmarks.training import train

    with _quiet():
        results = train(cells, None)
    return [list(r.track.history) for r in results]


def _trains(case: Case) -> str | None:
    for cell in _of_level(case, _cells(case))[:1]:
        (first,), (second,) = _histories([cell]), _histories([cell])
        if len(first) < 2 or not all(math.isfinite(first[-1][f"{s}_loss"]) for s in ("train", "validation")):
            return (
                f"expected finite losses after one epoch on {cell.data.name} in the matrix, other levels at "
                "their defaults, got none: it diverged."
            )
        if name := _differing(first, second):
            return f"expected the same record when a cell is trained again, got another {name}."
    return None


def _packs(case: Case) -> str | None:
    from recipebench.benchmarks.training import why_alone

    cells = _cells(case)
    if not cells or why_alone(_of_level(case, cells)[0]):
        return None
    for cell, packed in zip(cells, _histories(cells), strict=True):
        (alone,) = _histories([cell])
        if name := _differing(alone, packed):
            return (
                f"expected the same bits in a pack as alone, got another {name} "
                f"(seed {cell.seed}, {packed[-1].get(name)!r} for {alone[-1].get(name)!r})."
            )
    return None


def _differing(first: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]]) -> str | None:
    """Return the first column, times apart, in which two histories differ in any bit."""
    if len(first) != len(second):
        return "number of epochs"
    for a, b in zip(first, second, strict=True):
        for name in a:
            if name != "seconds" and a[name] != b[name] and not _both_nan(a[name], b[name]):
                return name
    return None


def _both_nan(a: Any, b: Any) -> bool:
    return isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)


IN_THE_MATRIX: tuple[Check, ...] = (("training", _trains), ("packs", _packs))
"""What every level has to do: train in the matrix, again with the same bits, and in a pack as alone."""


# Models


def _each_task(case: Case) -> Iterator[tuple[str, Facts]]:
    for task in case.level.tasks:
        if task in SMALL:
            yield task, FACTS[next(iter(_small_data(case, task)))]


def _model(case: Case, task: str, facts: Facts) -> RecordedModule:
    defaults = {
        factor: FACTORS[factor].choose(name) for factor, name in DEFAULTS.items() if factor in FACTORS
    }
    recipe = {factor: level for factor, level in defaults.items() if responds_to(case.level, factor)}
    return lightning_modules.create(
        case.choice, task=task, in_shape=facts.shape, out_features=facts.out_features, init_seed=7, **recipe
    )


def _inputs(facts: Facts, rows: int = ROWS) -> Tensor:
    return numbers(rows, *facts.shape).sigmoid()


def _builds(case: Case) -> str | None:
    for task, facts in _each_task(case):
        made: object = _model(case, task, facts)
        if not isinstance(made, RecordedModule):
            return (
                f"{task}: expected a RecordedModule (a SupervisedModule, for example), got "
                f"{type(made).__name__}."
            )
    return None


def _shape(case: Case) -> str | None:
    for task, facts in _each_task(case):
        outputs = _model(case, task, facts).eval()(_inputs(facts))
        what = f"outputs of inputs {(ROWS, *facts.shape)}"
        problem = shape_problem(outputs, (ROWS, facts.out_features), torch.float32, what)
        if problem := problem or finite_problem(outputs, "outputs of the untrained model"):
            return f"{task}: {problem}"
    return None


def _repeats(case: Case) -> str | None:
    for task, facts in _each_task(case):

        def run(task: str = task, facts: Facts = facts) -> list[Tensor]:
            made = _model(case, task, facts).eval()
            return [*made.state_dict().values(), made(_inputs(facts))]

        if problem := repeat_problem(run):
            return f"{task}: {problem} Initial weights are to come from init_seed."
    return None


def _random(case: Case) -> str | None:
    for task, facts in _each_task(case):
        made = _model(case, task, facts).eval()
        if problem := random_problem(partial(made, _inputs(facts))):
            return f"{task}: {problem}"
    return None


def _gradient(case: Case) -> str | None:
    """Hold the slope along a random direction of each parameter against what backpropagation says."""
    if not responds_to(case.level, "optimizer"):
        return None
    for task, facts in _each_task(case):
        module = double_copy(_model(case, task, facts).eval())
        if not hasattr(module, "losses"):
            continue
        targets = torch.arange(ROWS) % facts.out_features if facts.classes else numbers(ROWS, 1).double()
        batch = as_double(_inputs(facts)), targets
        if problem := _slope_problem(module, batch):
            return f"{task}: {problem}"
    return None


def _slope_problem(module: nn.Module, batch: tuple[Tensor, Tensor]) -> str | None:
    objective = Objective(module)
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    own = getattr(module, "gradients", None)
    with torch.enable_grad():
        grads = torch.autograd.grad(objective(*batch), list(trained.values()), allow_unused=True)
    found = dict(zip(trained, grads, strict=True)) if own is None else own(*batch)
    for i, (name, p) in enumerate(trained.items()):
        g = found.get(name)
        if g is None:
            return f"wrong gradient: expected one for the trained parameter {name}, got none."
        direction = numbers(*p.shape, seed=i, dtype=torch.float64)
        said, seen = float((g.double() * direction).sum()), _slope(objective, batch, p, direction)
        if abs(said - seen) > 10 * WRONG * max(abs(said), abs(seen), 1e-3):
            return (
                f"wrong gradient: expected a slope of {seen:.6g} along a random direction of {name}, as "
                f"two-sided differences in float64 have it, got {said:.6g}."
            )
    return None


@torch.no_grad()
def _slope(objective: nn.Module, batch: tuple[Tensor, Tensor], p: nn.Parameter, direction: Tensor) -> float:
    kept, epsilon = p.clone(), 1e-6
    p.copy_(kept + epsilon * direction)
    above = float(objective(*batch))
    p.copy_(kept - epsilon * direction)
    below = float(objective(*batch))
    p.copy_(kept)
    return (above - below) / (2 * epsilon)


def _finite_parameters(case: Case) -> str | None:
    for task, facts in _each_task(case):
        made = _model(case, task, facts)
        if not bool(made.finite().all()):
            return f"{task}: expected finite initial parameters, got some that are not."
        if any(not same_bits(p, p.float()) for p in made.parameters() if p.requires_grad):
            return f"{task}: expected float32 parameters."
    return None


MODEL: tuple[Check, ...] = (
    ("build", _builds),
    ("shape", _shape),
    ("finite", _finite_parameters),
    ("gradient", _gradient),
    ("global random numbers", _random),
    ("same bits twice", _repeats),
)
"""What a model has to be: (batch, ...) inputs to (batch, out_features) outputs, started from init_seed."""
