"""Exponentially weighted moving averages, as they stand inside Momentum, RMSprop and Adam."""

from __future__ import annotations

import torch
from torch import Tensor

from recipebench.errors import RequestError


def ewma(values: Tensor, beta: float, *, bias_correction: bool = False) -> Tensor:
    """Exponentially weighted moving average: v_0 = 0, v_t = beta v_{t-1} + (1 - beta) theta_t.

    A value t steps ago weighs (1 - beta) beta^t, which falls to 1/e of the newest after about
    1 / (1 - beta) steps: v averages about the last 10 values at beta = 0.9, 50 at 0.98, 2 at 0.5. A
    larger beta is smoother and lags more (by beta / (1 - beta) steps behind a straight line).

    The first values are too small, because v_0 = 0 takes part in them; `bias_correction` divides v_t by
    1 - beta^t, the sum of the weights so far, and soon changes nothing.

    Args:
        values: (..., steps) theta_1 ... theta_T, oldest first; floating point.
        beta: share of the old average that is kept, in [0, 1).
        bias_correction: whether to divide by 1 - beta^t.

    Returns:
        v_1 ... v_T in the shape of `values`.

    Raises:
        RequestError: beta is not in [0, 1).

    Example:
        >>> ewma(torch.tensor([40.0, 50.0]), beta=0.9)
        tensor([4.0000, 8.6000])
        >>> ewma(torch.tensor([4.0, 4.0, 10.0]), beta=0.5, bias_correction=True)
        tensor([4.0000, 4.0000, 7.4286])

    References:
        Ng, Improving Deep Neural Networks, 2.3 to 2.5.
    """
    if not 0 <= beta < 1:
        raise RequestError(f"beta: expected a number of at least 0 and below 1, got {beta!r:.80}.")
    average = torch.zeros_like(values[..., :1])
    averages = []
    for value in values.split(1, -1):
        average = beta * average + (1 - beta) * value
        averages.append(average)
    result = torch.cat([values[..., :0], *averages], -1)
    if not bias_correction:
        return result
    steps = torch.arange(1, values.shape[-1] + 1, dtype=values.dtype, device=values.device)
    return result / (1 - beta**steps)
