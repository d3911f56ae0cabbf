"""Conformance of optimizers: what a step does to parameters of its own, and to a slice of a pack.

Of an optimizer of a plug-in, `broken_promise` holds at once what packs rely on, before anything is trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recipebench.benchmarks.conformance import (
    RAISED,
    Case,
    Check,
    finite_problem,
    guarded,
    numbers,
    random_problem,
    repeat_problem,
    same_bits,
)
from recipebench.lightning_modules.optimizers import ELEMENTWISE
from recipebench.lightning_modules.packed.own_levels import own_parameters
from recipebench.lightning_modules.packed.stack import ParameterStack
from recipebench.plugins import ON_CHANGE

STEPS = 4
SCALES = (1.0, 1e-3, 1e3, 1.0, 1e-6, 30.0, 0.0, 1e4, 1.0, 0.1, 1e-8, 1.0)
"""How large the gradients are in the steps that are compared, so that clipping and the like show."""

DOWNHILL = 100
"""Steps within which w² has to become smaller."""


def _network() -> nn.Module:
    """Layers of odd sizes, so that vector code and what is left over both occur."""
    with torch.random.fork_rng(devices=[]):  # layers draw from the global generator before ours do
        network = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Linear(10, 7), nn.Linear(7, 1))
    for i, p in enumerate(network.parameters()):
        p.data = numbers(*p.shape, seed=i)
    return network


def _gradients(parameters: list[nn.Parameter], step: int) -> None:
    for i, p in enumerate(parameters):
        g = numbers(*p.shape, seed=100 * step + i)
        if p.grad is None:
            p.grad = g
        else:
            p.grad.copy_(g)


def _walk(case: Case, steps: int = STEPS) -> list[Tensor]:
    parameters = list(_network().parameters())
    made: Optimizer = case.make(parameters)
    for step in range(steps):
        _gradients(parameters, step)
        made.step()
    return [p.data for p in parameters]


def _builds(case: Case) -> str | None:
    made = case.make(list(_network().parameters()))
    if not isinstance(made, Optimizer):
        return f"expected a torch.optim.Optimizer, got {type(made).__name__}."
    if "lr" in case.options and "lr" not in made.param_groups[0]:
        return "expected lr in its param_groups, where schedules change it, got none."
    return None


def _shape(case: Case) -> str | None:
    parameters = list(_network().parameters())
    before = [(p.shape, p.dtype, p.data_ptr()) for p in parameters]
    made = case.make(parameters)
    _gradients(parameters, 0)
    made.step()
    held = [p for group in made.param_groups for p in group["params"]]
    if len(held) != len(parameters) or any(a is not b for a, b in zip(held, parameters, strict=True)):
        return "expected the very parameters to be in its param_groups, and changed in place, got others."
    for p, (shape, dtype, place) in zip(parameters, before, strict=True):
        if p.shape != shape:
            return f"shape error: expected parameters of shape {tuple(shape)}, got {tuple(p.shape)}."
        if p.dtype != dtype:
            return f"expected parameters as {dtype}, got {p.dtype}."
        if p.data_ptr() != place:
            return "expected parameters to be changed in place, got new tensors; use add_, mul_ or copy_."
    return None


def _closure(case: Case) -> str | None:
    """Lightning computes the gradients inside of `step(closure)`."""
    w = nn.Parameter(torch.ones(3))
    made: Optimizer = case.make([w])
    calls: list[bool] = []

    def closure() -> float:
        calls.append(torch.is_grad_enabled())
        loss = (w**2).sum() if torch.is_grad_enabled() else w.sum()
        w.grad = torch.autograd.grad(loss, w)[0] if loss.requires_grad else torch.ones(3)
        return float(loss.detach())

    try:
        loss = made.step(closure)
    except (TypeError, AttributeError) as error:
        if calls:
            raise
        return (
            f"expected step(closure) to call the closure, which computes the gradients, got no call "
            f"({type(error).__name__}: {error})."
        )
    if calls != [True]:
        got = (
            "no call" if not calls else "one without gradients" if len(calls) == 1 else f"{len(calls)} calls"
        )
        return f"expected step(closure) to call the closure once, under torch.enable_grad(), got {got}."
    return None if loss == 3.0 else f"expected step(closure) to return the closure's loss, 3.0, got {loss!r}."


def _finite(case: Case) -> str | None:
    w = nn.Parameter(torch.ones(3))
    made = case.make([w])
    for scale in (0.0, 1e-12, 1e6):
        w.grad = torch.full((3,), scale)
        made.step()
        if problem := finite_problem(w.data, f"parameters after a gradient of {scale:g}"):
            return problem
    return None


def _downhill(case: Case) -> str | None:
    w = nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]]))
    made = case.make([w])
    before = float((w.data**2).sum())
    for _ in range(DOWNHILL):
        w.grad = 2 * w.data
        made.step()
    after = float((w.data**2).sum())
    if after < before:
        return None
    return (
        f"wrong update: expected the sum of w² to fall within {DOWNHILL} steps, got {before:.4g} before and "
        f"{after:.4g} after."
    )


def _resumes(case: Case) -> str | None:
    whole = _walk(case)
    parameters = list(_network().parameters())
    made = case.make(parameters)
    for step in range(STEPS):
        if step == STEPS // 2:
            state = made.state_dict()
            made = case.make(parameters)
            made.load_state_dict(state)
        _gradients(parameters, step)
        made.step()
    if all(same_bits(a, b.data) for a, b in zip(whole, parameters, strict=True)):
        return None
    return "expected the same path after state_dict and load_state_dict, got another; keep all in self.state."


def slice_problem(case: Case) -> str | None:
    """Hold a step on a slice of three members against steps on each parameter alone, bit for bit."""
    alone, sliced = _members(case, shared=False), _members(case, shared=True)
    for step, (a, b) in enumerate(zip(alone, sliced, strict=True), start=1):
        if not same_bits(a, b):
            gap = float((a - b).abs().max())
            return (
                "non-element-wise update: it is declared element-wise, so expected the same bits on a slice "
                f"of three members as on each parameter alone, got a difference of {gap:.3g} in step {step}; "
                "leave elementwise=True out."
            )
    return None


def _members(case: Case, *, shared: bool) -> list[Tensor]:
    """Step three members, by themselves or as slices of two and of one; return the stack after every step."""
    stack = ParameterStack([_network() for _ in range(3)], [0, 1, 2])
    for k in range(3):
        for i, name in enumerate(stack.shapes):
            stack.value(name)[k] = numbers(*stack.shapes[name], seed=10 * k + i)
    parameters = [_slices(stack)] if shared else [own_parameters(stack, k) for k in range(3)]
    optimizers = [case.make(each) for each in parameters]
    path = []
    for step, scale in enumerate(SCALES):
        for k in range(3):
            for i, name in enumerate(stack.shapes):
                g = numbers(*stack.shapes[name], seed=1000 * step + 10 * k + i + 7)
                stack.grad(name)[k] = g * (scale if k else 1.0)
        for each in optimizers:
            each.step()
        path.append(torch.cat([stack.value(name).flatten() for name in stack.shapes]))
    return path


def _slices(stack: ParameterStack) -> list[nn.Parameter]:
    """Return the rows of two members, and of the third, as parameters of one optimizer."""
    slices = [nn.Parameter(stack.values[a:b]) for a, b in ((0, 2), (2, 3))]
    for parameter, (a, b) in zip(slices, ((0, 2), (2, 3)), strict=True):
        parameter.grad = stack.grads[a:b]
    return slices


def _elementwise(case: Case) -> str | None:
    return slice_problem(case) if case.name in ELEMENTWISE else None


OPTIMIZER: tuple[Check, ...] = (
    ("build", _builds),
    ("shape", _shape),
    ("closure", _closure),
    ("finite", _finite),
    ("downhill", _downhill),
    ("global random numbers", lambda case: random_problem(lambda: _walk(case))),
    ("same bits twice", lambda case: repeat_problem(lambda: _walk(case))),
    ("resume", _resumes),
    ("element-wise", _elementwise),
)
"""What an optimizer has to be: a torch optimizer that changes parameters in place, downhill."""

PROMISES: tuple[Check, ...] = (("shape", _shape), ("closure", _closure), ("element-wise", _elementwise))
"""What packs rely on: where one does not hold, a cell in a pack would not be what it is alone."""

_kept: dict[tuple[object, str], str | None] = {}


def broken_promise(name: str, options: Mapping[str, Any]) -> str | None:
    """Say what packs rely on and an optimizer of one's own does not keep, or return None.

    It is looked for once for each optimizer and set of hyper-parameters. What an optimizer raises is left
    to the training: then no result comes of it, and the record says why.

    Args:
        name: of the optimizer.
        options: its hyper-parameters, weight decay included.
    """
    case = Case("optimizer", name, dict(options))
    key = case.factory, repr(sorted(options.items()))
    if key not in _kept:
        found = (f"{check}: {said}" for check, held in PROMISES if (said := guarded(case, held)))
        _kept[key] = next((said for said in found if RAISED not in said), None)
    return _kept[key]


ON_CHANGE.append(_kept.clear)
