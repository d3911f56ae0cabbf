"""The initial draws that are compared: weights and biases of linear layers as functions of a uniform draw.

All levels start from the same uniform numbers u in (0, 1), drawn in float64 from a stream that is named
by layer and shape. Normal levels map them through the inverse normal distribution function, uniform
levels stretch them: so compared initializers are coupled draw by draw, and their comparison is paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recipebench.seeds import seed_for


@dataclass(frozen=True)
class Fans:
    """How many units feed a unit (`fan_in`) and how many it feeds (`fan_out`, one piece of Maxout)."""

    fan_in: int
    fan_out: int


def normal(u: Tensor, std: float) -> Tensor:
    """Map uniform numbers to normal ones of mean 0: std * Phi^-1(u), Phi the normal distribution function.

    Args:
        u: float64 of any shape, in (0, 1).
        std: standard deviation of the result.

    Returns:
        float64 of the shape of `u`, increasing in `u`.

    Example:
        >>> import torch
        >>> normal(torch.tensor([0.5, 0.8413447460685429], dtype=torch.float64), std=2.0)
        tensor([0.0000, 2.0000], dtype=torch.float64)
    """
    quantiles: Tensor = torch.special.ndtri(u)
    return quantiles.mul_(std)


def xavier(u: Tensor, fans: Fans) -> Tensor:
    """Normal, variance 2 / (fan_in + fan_out), made for tanh: torch's `xavier_normal_`.

    Args:
        u: float64 (fan_out or more, fan_in), in (0, 1).
        fans: units before and after.

    Returns:
        Weights like `u`.

    References:
        Glorot and Bengio, Understanding the Difficulty of Training Deep Feedforward Neural Networks,
        AISTATS 2010; Ng, Improving Deep Neural Networks, 1.11.
    """
    return normal(u, math.sqrt(2 / (fans.fan_in + fans.fan_out)))


def xavier_fan_in(u: Tensor, fans: Fans) -> Tensor:
    """Normal, variance 1 / fan_in: what many lecture notes call Xavier.

    Args:
        u: float64 (units, fan_in), in (0, 1).
        fans: units before and after.

    Returns:
        Weights like `u`.

    References:
        LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998; Saito, Deep Learning from Scratch,
        initial values of weights.
    """
    return normal(u, math.sqrt(1 / fans.fan_in))


def he(u: Tensor, fans: Fans) -> Tensor:
    """Normal, variance 2 / fan_in, made for ReLU: torch's `kaiming_normal_(nonlinearity="relu")`.

    Args:
        u: float64 (units, fan_in), in (0, 1).
        fans: units before and after.

    Returns:
        Weights like `u`.

    References:
        He, Zhang, Ren and Sun, Delving Deep into Rectifiers, ICCV 2015.
    """
    return normal(u, math.sqrt(2 / fans.fan_in))


def small_gaussian(u: Tensor, fans: Fans, std: float = 0.01) -> Tensor:
    """Normal with one standard deviation, whatever the fans.

    Args:
        u: float64 (units, fan_in), in (0, 1).
        fans: not used.
        std: standard deviation of every weight, 0.01 by default.

    Returns:
        Weights like `u`.

    References:
        Zhang, Lipton, Li and Smola, Dive into Deep Learning, linear neural networks.
    """
    return normal(u, std)


def torch_default(u: Tensor, fans: Fans) -> Tensor:
    """Uniform in ±1 / sqrt(fan_in), weights and biases: standard deviation 0.577 / sqrt(fan_in).

    Args:
        u: float64 (units, fan_in) for weights or (units,) for biases, in (0, 1).
        fans: units before and after.

    Returns:
        Weights or biases like `u`.

    References:
        `torch.nn.Linear.reset_parameters`.
    """
    return u.mul(2).sub_(1).mul_(1 / math.sqrt(fans.fan_in))


INITIALIZERS: dict[str, Callable[..., Tensor]] = {
    "xavier": xavier,
    "xavier_fan_in": xavier_fan_in,
    "he": he,
    "small_gaussian": small_gaussian,
    "torch_default": torch_default,
}
"""Every initializer by name: a function of (u, fans, **hyper-parameters) that returns weights like u."""

DRAWS_BIASES = {"torch_default"}
"""Initializers that draw biases as they draw weights; all others set biases to zero."""


@torch.no_grad()
def initialize(
    layer: nn.Linear, name: str, *, initializer: str, seed: int, pieces: int = 1, **options: Any
) -> None:
    """Set weights and biases of one linear layer, in place, from the stream of its name and shape.

    Torch's global generator is neither read nor moved.

    Args:
        layer: weight (out, in) and, if it has one, bias (out,), float32.
        name: the layer's name in its model, a part of the stream's name.
        initializer: a key of `INITIALIZERS`.
        seed: the model's initial seed.
        pieces: outputs that count as one in `fan_out` (Maxout's pieces).
        **options: the initializer's hyper-parameters.

    Raises:
        KeyError: there is no such initializer.
        TypeError: the initializer has no such hyper-parameter.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> initialize(layer, "output", initializer="he", seed=0)
        >>> layer.bias.tolist()
        [0.0, 0.0]
    """
    fans = Fans(layer.in_features, layer.out_features // pieces)
    draw = INITIALIZERS[initializer]
    layer.weight.copy_(draw(_uniform(f"{name}.weight", layer.weight, seed), fans, **options))
    for bias in (p for kind, p in layer.named_parameters() if kind == "bias"):
        if initializer in DRAWS_BIASES:
            bias.copy_(draw(_uniform(f"{name}.bias", bias, seed), fans, **options))
        else:
            bias.zero_()


def _uniform(name: str, parameter: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed_for("init", seed, name, list(parameter.shape)))
    u = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
    return u.clamp_min_(2.0**-54)  # 0 has no normal quantile
