"""The curvature of a loss: its Hessian, the eigenvalues, and what kind of critical point they tell of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev

from recipebench.errors import RequestError
from recipebench.lightning_modules.objective import Objective, as_double, double_copy

LARGEST = 2000
"""Numbers of which a Hessian is computed: at 2,000 it has 4 million entries."""

CHUNK = 64
"""Rows of a Hessian that are computed together."""

CriticalPoint = Literal["minimum", "saddle", "maximum", "plateau"]


def spectrum(function: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    """Return the eigenvalues of the Hessian H_ij = d²f / dw_i dw_j, in ascending order.

    Args:
        function: from w, (d,), to a scalar, made of operations that torch.func can differentiate twice.
        point: w, (d,), float32 or float64.

    Returns:
        (d,) of the type of `point`.

    Raises:
        RequestError: `point` is no vector, or longer than `LARGEST`.

    Example:
        >>> spectrum(lambda w: w[0] ** 2 - 3 * w[1] ** 2, torch.zeros(2))
        tensor([-6.,  2.])

    References:
        Ng, Improving Deep Neural Networks, 2.10.
    """
    if point.dim() != 1 or len(point) > LARGEST:
        raise RequestError(
            f"spectrum: expected a vector of at most {LARGEST:,} numbers, as the Hessian holds their square, "
            f"got {point.numel():,} numbers of shape {tuple(point.shape)}."
        )
    matrix = jacrev(grad(function), chunk_size=CHUNK)(
        point.detach()
    )  # forward mode would compile with what torch deprecates
    values: Tensor = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
    return values


def loss_spectrum(module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the eigenvalues of the Hessian of mean loss plus penalty by all trained numbers of a module.

    Computed in float64 and eval mode on a copy; the module itself is left alone.

    Args:
        module: a `SupervisedModule` of at most `LARGEST` trained numbers.
        inputs: (batch, ...) float32.
        targets: (batch,) int64 or (batch, 1) float32.

    Returns:
        (parameters,) float64, ascending.

    Raises:
        RequestError: the module is too large.

    References:
        Ng, Improving Deep Neural Networks, 2.10; Dauphin et al., Identifying and Attacking the Saddle
        Point Problem in High-dimensional Non-convex Optimization, NeurIPS 2014.
    """
    objective = Objective(double_copy(module)).eval()
    trained = {name: p.detach() for name, p in objective.named_parameters() if p.requires_grad}
    sizes = [p.numel() for p in trained.values()]
    batch = as_double(inputs), as_double(targets)

    def value(flat: Tensor) -> Tensor:
        pieces = zip(trained.items(), flat.split(sizes), strict=True)
        weights = {name: piece.view_as(p) for (name, p), piece in pieces}
        result: Tensor = functional_call(objective, weights, batch)
        return result

    return spectrum(value, torch.cat([p.flatten() for p in trained.values()]))


def critical_point(eigenvalues: Tensor, *, tolerance: float = 1e-6) -> CriticalPoint:
    """Say what a point of zero gradient is, by the signs of the Hessian's eigenvalues.

    saddle: some above and some below zero; minimum: some above, none below; maximum: some below, none
    above; plateau: none of either, flat in every direction. Directions of eigenvalue zero beside others
    are left out of account, since the second derivative cannot decide on them.

    Args:
        eigenvalues: of the Hessian at that point, in any order.
        tolerance: numbers that are no larger count as zero.

    Returns:
        `minimum`, `saddle`, `maximum` or `plateau`.

    Raises:
        RequestError: there are no eigenvalues, or one is not finite.

    Example:
        >>> [critical_point(torch.tensor(values)) for values in ([2.0, 1.0], [2.0, -1.0], [-2.0, 0.0], [0.0])]
        ['minimum', 'saddle', 'maximum', 'plateau']

    References:
        Ng, Improving Deep Neural Networks, 2.10: in many dimensions most are saddles.
    """
    if not eigenvalues.numel() or not eigenvalues.isfinite().all():
        raise RequestError(f"critical_point: expected finite eigenvalues, got {eigenvalues.tolist()!r:.80}.")
    rises, falls = bool((eigenvalues > tolerance).any()), bool((eigenvalues < -tolerance).any())
    if rises:
        return "saddle" if falls else "minimum"
    return "maximum" if falls else "plateau"
