"""Conformance of what is a function of tensors: activations, initializers, penalties and losses."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from recipebench.benchmarks.conformance import (
    Case,
    Check,
    finite_problem,
    gradient_problem,
    guarded,
    numbers,
    random_problem,
    repeat_problem,
    same_bits,
    shape_problem,
)
from recipebench.lightning_modules.initializers import fans_of
from recipebench.lightning_modules.losses import END_TO_END

UNITS = 6
ROWS = 5
CLASSES = 3
FAR = 30.0
"""How far out outputs and gradients must be finite."""


# Activations


def _activation_builds(case: Case) -> str | None:
    made = case.make()
    if not isinstance(made, nn.Module):
        return f"expected an nn.Module, got {type(made).__name__}."
    return None if "_modules" in vars(made) else "expected super().__init__() in its __init__, got none."


def _width(case: Case) -> int:
    """Return the features that stand for `UNITS` units: more with pieces."""
    return UNITS * int(getattr(case.make(), "pieces", 1))


def _activation_shape(case: Case) -> str | None:
    width = _width(case)
    result = case.make()(numbers(ROWS, width))
    if problem := shape_problem(result, (ROWS, UNITS), torch.float32, f"outputs of inputs {(ROWS, width)}"):
        return problem
    if case.level.structural:
        return None
    shape = (2, UNITS, 3, 3)
    return shape_problem(case.make()(numbers(*shape)), shape, torch.float32, f"outputs of images {shape}")


def _activation_spares(case: Case) -> str | None:
    x = numbers(ROWS, _width(case))
    kept = x.clone()
    case.make()(x)
    if torch.equal(x, kept):
        return None
    return "expected the inputs to be left alone, got them changed in place; x.mul(2) in place of x.mul_(2)."


def _activation_finite(case: Case) -> str | None:
    x = torch.linspace(-FAR, FAR, ROWS * _width(case)).reshape(ROWS, -1).requires_grad_()
    y = case.make()(x)
    if problem := finite_problem(y, f"outputs for inputs from {-FAR:g} to {FAR:g}"):
        return problem
    if not y.requires_grad:
        return None  # said by the check of gradients
    (gradient,) = torch.autograd.grad(y.sum(), x)
    return finite_problem(gradient, f"gradients for inputs from {-FAR:g} to {FAR:g}")


def _activation_gradient(case: Case) -> str | None:
    module = case.make().double()
    x = numbers(ROWS, _width(case), seed=1, dtype=torch.float64) * 2
    weights = numbers(ROWS, UNITS, seed=2, dtype=torch.float64)
    weights = weights if case.level.structural else torch.ones_like(weights)  # slopes as people know them
    places = {"x": x, **{name: p.data for name, p in module.named_parameters()}}
    own = [name for name in places if name != "x"]

    def value() -> Tensor:
        outputs: Tensor = torch.func.functional_call(module, {name: places[name] for name in own}, (x,))
        return (outputs * weights).sum()

    return gradient_problem(value, places)


def _activation_random(case: Case) -> str | None:
    return random_problem(lambda: case.make()(numbers(ROWS, _width(case))))


def _activation_repeats(case: Case) -> str | None:
    def run() -> list[Tensor]:
        x = numbers(ROWS, _width(case)).requires_grad_()
        y = case.make()(x)
        return [y, *(torch.autograd.grad(y.sum(), x) if y.requires_grad else ())]

    if problem := repeat_problem(run):
        return problem
    module, x = case.make(), numbers(ROWS, _width(case))
    first = module(x)
    if same_bits(first, module(x)):
        return None
    return "expected the same outputs whenever the same inputs come, got others in the second call."


def _activation_samples(case: Case) -> str | None:
    x = numbers(ROWS, _width(case), dtype=torch.float64)
    module = case.make().double()
    before, after = module(x), module(torch.cat([x[:1] + 1, x[1:]]))
    if same_bits(before[1:], after[1:]):
        return None
    return "expected samples apart, got outputs of one sample that change with the inputs of another."


def _activation_elementwise(case: Case) -> str | None:
    if case.level.structural:
        return None
    x = numbers(ROWS, UNITS, dtype=torch.float64)
    module = case.make().double()
    before = module(x)
    for unit in range(UNITS):
        moved = x.clone()
        moved[:, unit] += 1
        after = module(moved)
        changed = ((after != before) & ~(after.isnan() & before.isnan())).any(0)
        changed[unit] = False
        if changed.any():
            other = int(changed.nonzero()[0])
            return (
                f"expected an element-wise function, got output {other} that changes with input {unit}; "
                "declare it structural=True if units are meant to compete."
            )
    return None


ACTIVATION: tuple[Check, ...] = (
    ("build", _activation_builds),
    ("shape", _activation_shape),
    ("in place", _activation_spares),
    ("finite", _activation_finite),
    ("global random numbers", _activation_random),
    ("same bits twice", _activation_repeats),
    ("gradient", _activation_gradient),
    ("samples apart", _activation_samples),
    ("element-wise", _activation_elementwise),
)
"""What an activation has to be: (batch, units * pieces) to (batch, units)."""


# Initializers


def _drawn(case: Case) -> Tensor:
    u = torch.linspace(0.001, 0.999, 40, dtype=torch.float64).reshape(8, UNITS - 1)
    drawn: Tensor = case.make(u, fans_of(u))
    return drawn


def _initializer_shape(case: Case) -> str | None:
    for shape in ((8, 5), (4, 3, 2, 2)):
        u = torch.full(shape, 0.3, dtype=torch.float64)
        drawn = case.make(u, fans_of(u))
        if not isinstance(drawn, Tensor) or not drawn.is_floating_point():
            return f"expected weights as real numbers, got {getattr(drawn, 'dtype', type(drawn).__name__)}."
        if problem := shape_problem(drawn, shape, drawn.dtype, f"weights of draws {shape}"):
            return problem
    return None


def _initializer_finite(case: Case) -> str | None:
    return finite_problem(_drawn(case), "weights for draws in (0.001, 0.999)")


def _initializer_spares(case: Case) -> str | None:
    u = torch.full((8, 5), 0.3, dtype=torch.float64)
    case.make(u, fans_of(u))
    return None if bool((u == 0.3).all()) else "expected the draws u to be left alone, got them changed."


INITIALIZER: tuple[Check, ...] = (
    ("build", lambda case: None if _drawn(case) is not None else "expected weights, got None."),
    ("shape", _initializer_shape),
    ("finite", _initializer_finite),
    ("draws", _initializer_spares),
    ("global random numbers", lambda case: random_problem(lambda: _drawn(case))),
    ("same bits twice", lambda case: repeat_problem(lambda: [_drawn(case)])),
)
"""What an initializer has to be: weights like the uniform draws u, which all initializers share."""


# Penalties


def _weights(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [numbers(4, 3, seed=1, dtype=dtype), numbers(2, 4, seed=2, dtype=dtype)]


def _penalty_shape(case: Case) -> str | None:
    return shape_problem(case.make(_weights()), (), torch.float32, "the penalty")


def _penalty_finite(case: Case) -> str | None:
    value = case.make(_weights())
    if float(value) < 0:
        return f"expected a penalty of at least 0, got {float(value):.4g}."
    return finite_problem(value, "penalty")


def _penalty_gradient(case: Case) -> str | None:
    weights = _weights(torch.float64)
    return gradient_problem(lambda: case.make(weights), {"w1": weights[0], "w2": weights[1]})


PENALTY: tuple[Check, ...] = (
    ("build", lambda case: None if case.make(_weights()) is not None else "expected a penalty, got None."),
    ("shape", _penalty_shape),
    ("finite", _penalty_finite),
    ("gradient", _penalty_gradient),
    ("global random numbers", lambda case: random_problem(lambda: case.make(_weights()))),
    ("same bits twice", lambda case: repeat_problem(lambda: [case.make(_weights())])),
)
"""What a penalty has to be: a list of weights to a scalar."""


# Losses


def _batch(task: str, rows: int = ROWS, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    if task == "classification":
        return numbers(rows, CLASSES, dtype=dtype), torch.arange(rows) % CLASSES
    return numbers(rows, 1, dtype=dtype), numbers(rows, 1, seed=3, dtype=dtype)


def _each_task(check: Callable[[Case, str], str | None]) -> Callable[[Case], str | None]:
    def on_all(case: Case) -> str | None:
        for task in case.level.tasks:
            if problem := guarded(case, partial(_swapped, check, task)):
                return f"{task}: {problem}" if len(case.level.tasks) > 1 else problem
        return None

    return on_all


def _swapped(check: Callable[[Case, str], str | None], task: str, case: Case) -> str | None:
    return check(case, task)


def _loss_builds(case: Case, task: str) -> str | None:
    return "expected losses, got None." if case.make(*_batch(task)) is None else None


def _loss_shape(case: Case, task: str) -> str | None:
    outputs, targets = _batch(task)
    what = f"losses of outputs {tuple(outputs.shape)}"
    return shape_problem(case.make(outputs, targets), (ROWS,), torch.float32, what)


def _loss_finite(case: Case, task: str) -> str | None:
    outputs, targets = _batch(task)
    return finite_problem(case.make(outputs * FAR, targets), f"losses for outputs as large as {FAR:g}")


def _loss_gradient(case: Case, task: str) -> str | None:
    outputs, targets = _batch(task, dtype=torch.float64)
    return gradient_problem(lambda: case.make(outputs, targets).mean(), {"output": outputs})


def _loss_random(case: Case, task: str) -> str | None:
    return random_problem(lambda: case.make(*_batch(task)))


def _loss_repeats(case: Case, task: str) -> str | None:
    return repeat_problem(lambda: [case.make(*_batch(task))])


def _loss_samples(case: Case, task: str) -> str | None:
    """Change one sample: the others keep their loss, and their bits where batches are laid end to end."""
    outputs, targets = _batch(task, rows=40, dtype=torch.float64)
    whole = case.make(outputs, targets)
    moved = case.make(torch.cat([outputs[:1] + 1, outputs[1:]]), targets)
    if not torch.allclose(whole[1:], moved[1:], rtol=1e-12, atol=0):
        return "expected samples apart, got a loss of one sample that changes with the outputs of another."
    return _cut_problem(case, outputs, targets) if case.name in END_TO_END else None


def _cut_problem(case: Case, outputs: Tensor, targets: Tensor) -> str | None:
    outputs = outputs.float()
    targets = targets.float() if targets.is_floating_point() else targets
    together = case.make(outputs, targets)
    for a, b in itertools.pairwise((0, 1, 8, 17, 40)):
        if not same_bits(together[a:b], case.make(outputs[a:b], targets[a:b])):
            return (
                f"expected the same bits for a sample in whatever batch, got others for {b - a} samples "
                "by themselves than for the same among 40."
            )
    return None


LOSS: tuple[Check, ...] = (
    ("build", _each_task(_loss_builds)),
    ("shape", _each_task(_loss_shape)),
    ("finite", _each_task(_loss_finite)),
    ("gradient", _each_task(_loss_gradient)),
    ("global random numbers", _each_task(_loss_random)),
    ("same bits twice", _each_task(_loss_repeats)),
    ("samples apart", _each_task(_loss_samples)),
)
"""What a loss has to be: outputs and targets to one loss a sample."""
