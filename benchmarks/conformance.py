"""Conformance: what every level has to be, checked on levels of one's own, each failure in one sentence.

A check is a function of a `Case` that returns None, or what was expected and what came. The checks of one
axis run in order. What fails once is not said again: where a level cannot be built, or its results have
another shape, the others are left out, and so is what later checks raise, and the training.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recipebench.benchmarks.combinations import CATALOGS
from recipebench.errors import RequestError, unknown
from recipebench.levels import Choice, Level
from recipebench.lightning_modules.gradient_checking import compare, numerical_gradient
from recipebench.plugins import KINDS

WRONG = 1e-5
"""Relative difference of a gradient from two-sided differences, in float64, from which on it is wrong."""


@dataclass(frozen=True)
class Case:
    """A level that is checked, with its default hyper-parameters unless others are given.

    Args:
        axis: a key of `plugins.KINDS`.
        name: of the level.
        given: hyper-parameters that take the place of the defaults.
    """

    axis: str
    name: str
    given: Mapping[str, Any] = field(default_factory=dict)

    @property
    def level(self) -> Level:
        """Its entry in the catalog."""
        return CATALOGS[self.axis][self.name]

    @property
    def choice(self) -> Choice:
        """The level with its defaults."""
        return CATALOGS[self.axis].choose(self.name)

    @cached_property
    def options(self) -> dict[str, Any]:
        """Its hyper-parameters."""
        return {**self.choice.parameters, **self.given}

    @property
    def factory(self) -> Callable[..., Any]:
        """What the visible dict holds."""
        factory: Callable[..., Any] = KINDS[self.axis].factories[self.name]
        return factory

    def make(self, *given: Any) -> Any:
        """Call the factory with what the matrix hands over."""
        return self.factory(*given, **self.options)


RAISED = "expected no exception, got"
"""How a finding begins that is an exception."""

Check = tuple[str, Callable[[Case], str | None]]
"""What a check is called, and the check."""

DECISIVE = ("build", "shape", "in place", "finite", "same bits twice")
"""Checks after which, where they fail, no other can be trusted to say more."""

LAST = ("training", "packs")
"""Checks that would only say again what others found."""


@dataclass(frozen=True)
class Report:
    """What the checks of one level found.

    Args:
        axis: of the level.
        name: of the level.
        passed: the names of the checks that found nothing.
        problems: of the others, by name, what was expected and what came.
        note: how the level will be run in packs.
    """

    axis: str
    name: str
    passed: tuple[str, ...]
    problems: dict[str, str]
    note: str = ""

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return axis, level, check and problem of each check."""
        found = {**dict.fromkeys(self.passed, ""), **self.problems}
        return [(self.axis, self.name, check, problem) for check, problem in found.items()]

    def __str__(self) -> str:
        total = len(self.passed) + len(self.problems)
        lines = [
            f"{self.axis} {self.name}: {len(self.passed)} of {total} checks passed. {self.note}".rstrip()
        ]
        return "\n".join(
            [*lines, *(f"  {self.axis} {self.name}: {kind}: {text}" for kind, text in self.problems.items())]
        )


def check(axis: str, name: str) -> Report:
    """Hold one level against what levels of its axis have to be.

    Args:
        axis: a key of `plugins.KINDS`.
        name: of the level, known already: its plug-in is loaded.

    Raises:
        RequestError: there is no such level.
    """
    from recipebench.benchmarks import conformance_data, conformance_models, conformance_optimizers
    from recipebench.benchmarks import conformance_functions as functions

    checks: dict[str, Sequence[Check]] = {
        "activation": (*functions.ACTIVATION, *conformance_models.IN_THE_MATRIX),
        "initializer": (*functions.INITIALIZER, *conformance_models.IN_THE_MATRIX),
        "regularizer": (*functions.PENALTY, *conformance_models.IN_THE_MATRIX),
        "optimizer": (*conformance_optimizers.OPTIMIZER, *conformance_models.IN_THE_MATRIX),
        "loss": (*functions.LOSS, *conformance_models.IN_THE_MATRIX),
        "model": (*conformance_models.MODEL, *conformance_models.IN_THE_MATRIX),
        "data": (*conformance_data.DATA_SET, *conformance_models.IN_THE_MATRIX),
    }
    if axis not in checks:
        raise RequestError(unknown("axis", axis, checks))
    if name not in CATALOGS[axis]:
        raise RequestError(unknown(axis, name, CATALOGS[axis]))
    case = Case(axis, name)
    passed, problems = _run(case, checks[axis])
    note = "" if problems else conformance_models.note(case)
    return Report(axis, name, tuple(passed), problems, note)


def _run(case: Case, checks: Sequence[Check]) -> tuple[list[str], dict[str, str]]:
    passed: list[str] = []
    problems: dict[str, str] = {}
    for name, action in checks:
        if name in LAST and problems:
            continue
        problem = guarded(case, action)
        if problem is None:
            passed.append(name)
        elif not (problems and problem.startswith(RAISED)):
            problems[name] = problem
        if name in DECISIVE and problem:
            break
    return passed, problems


def guarded(case: Case, action: Callable[[Case], str | None]) -> str | None:
    """Run one check; what it raises is its answer."""
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            return action(case)
    except Exception as error:  # whatever a level raises is what came
        text = " ".join(str(error).split())
        return f"{RAISED} {type(error).__name__}: {text}"[:500]


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return standard normal numbers from a generator of their own."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def same_bits(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are equal, NaN to NaN."""
    return first.shape == second.shape and torch.equal(
        first.double().nan_to_num(nan=1.25e300), second.double().nan_to_num(nan=1.25e300)
    )


def shape_problem(got: Any, shape: Sequence[int], dtype: torch.dtype, what: str) -> str | None:
    """Say that a result is no tensor of this shape and type, or return None."""
    if not isinstance(got, Tensor):
        return f"expected {what} as a tensor, got {type(got).__name__}."
    if tuple(got.shape) != tuple(shape):
        return f"shape error: expected {what} of shape {tuple(shape)}, got {tuple(got.shape)}."
    return None if got.dtype == dtype else f"expected {what} as {dtype}, got {got.dtype}."


def gradient_problem(value: Callable[[], Tensor], places: dict[str, Tensor]) -> str | None:
    """Hold autograd's gradient of a scalar against two-sided differences in float64.

    Args:
        value: the scalar, read off `places` when called.
        places: float64 leaves by name, in words for the message.
    """
    leaves = {name: x.requires_grad_() for name, x in places.items()}
    scalar = value()
    if not scalar.requires_grad:
        return "wrong gradient: expected a result that autograd can follow back, got one without a gradient."
    if not bool(torch.isfinite(scalar)):
        return f"expected a finite sum of results, from which slopes are taken, got {float(scalar.detach())}."
    grads = torch.autograd.grad(scalar, list(leaves.values()), allow_unused=True)
    found = {
        name: torch.zeros_like(x) if g is None else g
        for (name, x), g in zip(leaves.items(), grads, strict=True)
    }
    report = compare(found, {name: numerical_gradient(value, x) for name, x in leaves.items()})
    if report.relative_difference <= WRONG:
        return None
    at = f"{report.parameter}{list(report.index)} = {float(leaves[report.parameter][report.index]):.4g}"
    return (
        f"wrong gradient: expected {report.numerical:.6g} at {at}, as two-sided differences in float64 have "
        f"it, got {report.gradient:.6g}."
    )


@contextmanager
def watched() -> Iterator[list[str]]:
    """Note which global random generators are touched inside; the list is filled at the end."""
    touched: list[str] = []
    before = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())
    yield touched
    after = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())
    same = [torch.equal(before[0], after[0]), before[1] == after[1], before[2] == after[2]]
    names = ("torch's", "Python's", "numpy's")
    touched += [name for name, equal in zip(names, same, strict=True) if not equal]


def random_problem(action: Callable[[], object]) -> str | None:
    """Say that an action draws from a global random generator, or return None."""
    with watched() as touched:
        action()
    if not touched:
        return None
    return f"expected no draw from a global random generator, got one from {' and '.join(touched)}."


def repeat_problem(action: Callable[[], Sequence[Tensor]]) -> str | None:
    """Say that an action gives other bits the second time, or return None; global seeds differ."""
    torch.manual_seed(1)
    first = [t.detach().clone() for t in action()]
    torch.manual_seed(2)
    for a, b in zip(first, action(), strict=True):
        if not same_bits(a, b.detach()):
            gap = float((a.double() - b.detach().double()).abs().max()) if a.shape == b.shape else torch.nan
            return f"expected the same bits twice, got results that differ by up to {gap:.3g}."
    return None


def finite_problem(result: Tensor, what: str) -> str | None:
    """Say that a result is not finite, or return None."""
    bad = int((~torch.isfinite(result)).sum())
    return f"expected finite {what}, got {bad} of {result.numel()} that are not." if bad else None
