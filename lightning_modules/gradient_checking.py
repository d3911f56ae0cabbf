"""Gradient checking: backpropagation held against two-sided numerical differences, number by number.

A tool for debugging, as slow as two forward passes for every parameter. The bands of its verdict hold in
float64 only, so the check works on a float64 copy of the module.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from recipebench.errors import RequestError
from recipebench.lightning_modules.objective import Objective, as_double, double_copy

GOOD = 1e-7
"""The largest relative difference that rounding explains."""

BUG = 1e-3
"""From this relative difference on, the backward pass is probably wrong."""

Verdict = Literal["good", "careful", "bug"]


def numerical_gradient(function: Callable[[], Tensor], x: Tensor, *, epsilon: float = 1e-6) -> Tensor:
    """(f(x + epsilon e_i) - f(x - epsilon e_i)) / (2 epsilon) for every i, an error of O(epsilon²).

    Args:
        function: f, read off `x` as it is when called, a scalar.
        x: changed in place, number by number, and restored; float64, or rounding spoils the result.
        epsilon: the step to either side.

    Returns:
        A tensor like `x`.

    Example:
        >>> x = torch.tensor([3.0, 4.0], dtype=torch.float64)
        >>> numerical_gradient(lambda: (x**2).sum(), x)
        tensor([6.0000, 8.0000], dtype=torch.float64)

    References:
        Saito, Deep Learning from Scratch, numerical differentiation; Ng, Improving Deep Neural Networks,
        1.12.
    """
    result = torch.empty_like(x)
    with torch.no_grad():
        for place in itertools.product(*map(range, x.shape)):
            before = x[place].clone()
            x[place] = before + epsilon
            above = function()
            x[place] = before - epsilon
            below = function()
            x[place] = before
            result[place] = (above - below) / (2 * epsilon)
    return result


@dataclass(frozen=True)
class GradientReport:
    """What a gradient check found.

    Args:
        relative_difference: ||g - g_numerical|| / (||g|| + ||g_numerical||), all parameters concatenated.
        verdict: `good` up to 1e-7, `bug` from 1e-3 on, `careful` between: look at the worst number.
        parameter: the parameter of the number with the largest absolute difference.
        index: its place in that parameter.
        gradient: what backpropagation gave there.
        numerical: what the differences gave there.
        differences: the relative difference of each parameter by itself.
    """

    relative_difference: float
    verdict: Verdict
    parameter: str
    index: tuple[int, ...]
    gradient: float
    numerical: float
    differences: Mapping[str, float]

    def __str__(self) -> str:
        return (
            f"{self.verdict}: relative difference {self.relative_difference:.1e}; worst at "
            f"{self.parameter}{list(self.index)}: gradient {self.gradient:.6g}, "
            f"numerical {self.numerical:.6g}"
        )


def gradient_check(
    module: nn.Module, batch: tuple[Tensor, Tensor], *, epsilon: float = 1e-6
) -> GradientReport:
    """Compare the gradient of mean loss plus penalty on one batch with numerical differences.

    The gradient is autograd's, or that of the module's own `gradients(inputs, targets)` where it has a
    hand-written backward pass. Parameters, gradients and mode of the module are left alone.

    Args:
        module: a `SupervisedModule`, or another with `losses(outputs, targets)`, in the mode to be
            checked. Dropout must be off: `module.eval()`.
        batch: inputs and targets, a few samples.
        epsilon: the step to either side, in units of the parameters.

    Returns:
        A report; print it.

    Raises:
        RequestError: `epsilon` is not positive, nothing is trained, or the loss changes from call to call.

    Example:
        >>> from recipebench.lightning_modules import MLP
        >>> module = MLP(in_features=3, hidden=[4], out_features=2, activation="tanh", init_seed=0)
        >>> gradient_check(module, (torch.ones(2, 3), torch.tensor([0, 1]))).verdict
        'good'

    References:
        Ng, Improving Deep Neural Networks, 1.13, 1.14; Saito, Deep Learning from Scratch, gradient check.
    """
    if not epsilon > 0:
        raise RequestError(f"gradient_check: epsilon: expected a number above 0, got {epsilon!r}.")
    copied = double_copy(module)
    inputs, targets = map(as_double, batch)
    objective = Objective(copied)

    def value() -> Tensor:
        result: Tensor = objective(inputs, targets)
        return result

    _check_repeats(copied, value)
    found = _gradients(copied, value, inputs, targets)
    values = dict(copied.named_parameters())
    numerical = {name: numerical_gradient(value, values[name], epsilon=epsilon) for name in found}
    return compare(found, numerical)


def compare(gradients: Mapping[str, Tensor], numerical: Mapping[str, Tensor]) -> GradientReport:
    """Report how far gradients are from numerical ones, and where.

    Args:
        gradients: by parameter, in float64.
        numerical: the same parameters and shapes.
    """
    errors = {name: (gradients[name] - numerical[name]).abs() for name in gradients}
    worst = max(errors, key=lambda name: _rank(errors[name]))
    place = tuple(int(k) for k in torch.unravel_index(errors[worst].argmax(), errors[worst].shape))
    total = _relative(
        torch.cat([g.flatten() for g in gradients.values()]),
        torch.cat([numerical[name].flatten() for name in gradients]),
    )
    return GradientReport(
        relative_difference=total,
        verdict="good" if total <= GOOD else "careful" if total < BUG else "bug",
        parameter=worst,
        index=place,
        gradient=float(gradients[worst][place]),
        numerical=float(numerical[worst][place]),
        differences={name: _relative(gradients[name], numerical[name]) for name in gradients},
    )


def _rank(errors: Tensor) -> float:
    """Return the largest error; one that is not a number is the largest of all."""
    return float(errors.nan_to_num(nan=torch.inf).max()) if errors.numel() else -1.0


def _relative(gradient: Tensor, numerical: Tensor) -> float:
    size = gradient.norm() + numerical.norm()
    return float((gradient - numerical).norm() / size) if size != 0 else 0.0


def _check_repeats(module: nn.Module, value: Callable[[], Tensor]) -> None:
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.training and layer.p > 0:
            raise RequestError(
                f"gradient_check: expected dropout to be off, as it draws anew for every difference, got "
                f"{name} with p = {layer.p:g} in training mode; call eval() on the module first."
            )
    with torch.no_grad():
        first, second = value(), value()
    if not torch.equal(first, second) and not (first.isnan() and second.isnan()):
        raise RequestError(
            f"gradient_check: expected the same loss from the same weights, got {float(first):.17g} and "
            f"{float(second):.17g}; call eval() on the module, or take its noise out."
        )


def _gradients(
    module: nn.Module, value: Callable[[], Tensor], inputs: Tensor, targets: Tensor
) -> dict[str, Tensor]:
    own = getattr(module, "gradients", None)
    if own is not None:
        return {name: g.detach().double() for name, g in own(inputs, targets).items()}
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if not trained:
        raise RequestError(
            f"gradient_check: expected parameters that are trained, got none in {type(module).__name__}."
        )
    with torch.enable_grad():
        grads = torch.autograd.grad(value(), list(trained.values()), allow_unused=True)
    return {
        name: torch.zeros_like(p) if g is None else g
        for (name, p), g in zip(trained.items(), grads, strict=True)
    }
