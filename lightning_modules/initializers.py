"""The initial draws that are compared: weights and biases of linear layers as functions of a uniform draw.

All levels start from the same uniform numbers u in (0, 1), drawn in float64 from a stream that is named
by layer and shape. Normal levels map them through the inverse normal distribution function, uniform
levels stretch them: so compared initializers are coupled draw by draw, and their comparison is paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recipebench.seeds import seed_for


@dataclass(frozen=True)
class Fans:
    """How many units feed a unit (`fan_in`) and how many it feeds (`fan_out`, one piece of Maxout)."""

    fan_in: int
    fan_out: int


def normal(u: Tensor, std: float) -> Tensor:
    """Map uniform numbers to normal ones of mean 0: std * Phi^-1(u)."""
    return torch.special.ndtri(u).mul_(std)


def xavier(u: Tensor, fans: Fans) -> Tensor:
    """Normal, variance 2 / (fan_in + fan_out): torch's `xavier_normal_` (Glorot and Bengio, AISTATS 2010)."""
    return normal(u, math.sqrt(2 / (fans.fan_in + fans.fan_out)))


def xavier_fan_in(u: Tensor, fans: Fans) -> Tensor:
    """Normal, variance 1 / fan_in: what many notes call Xavier (Saito; Ng 1.11; LeCun et al. 1998)."""
    return normal(u, math.sqrt(1 / fans.fan_in))


def he(u: Tensor, fans: Fans) -> Tensor:
    """Normal, variance 2 / fan_in: torch's `kaiming_normal_` for ReLU (He et al., ICCV 2015)."""
    return normal(u, math.sqrt(2 / fans.fan_in))


def small_gaussian(u: Tensor, fans: Fans, std: float = 0.01) -> Tensor:  # noqa: ARG001
    """Normal, standard deviation `std` whatever the fans (Zhang et al., Dive into Deep Learning, 3)."""
    return normal(u, std)


def torch_default(u: Tensor, fans: Fans) -> Tensor:
    """Uniform in ±1 / sqrt(fan_in), weights and biases: `nn.Linear.reset_parameters` of torch."""
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
    layer: nn.Linear, name: str, *, initializer: str, seed: int, pieces: int = 1, **options: float
) -> None:
    """Set weights and biases of one linear layer, in place, from the stream of its name and shape.

    Args:
        layer: weight (out, in) and bias (out,), float32.
        name: the layer's name in its model, a part of the stream's name.
        initializer: a key of `INITIALIZERS`.
        seed: the model's initial seed.
        pieces: outputs that count as one in `fan_out` (Maxout's pieces).
        options: the initializer's hyper-parameters.
    """
    fans = Fans(layer.in_features, layer.out_features // pieces)
    draw = INITIALIZERS[initializer]
    layer.weight.copy_(draw(_uniform(f"{name}.weight", layer.weight, seed), fans, **options))
    if initializer in DRAWS_BIASES:
        layer.bias.copy_(draw(_uniform(f"{name}.bias", layer.bias, seed), fans, **options))
    else:
        layer.bias.zero_()


def _uniform(name: str, parameter: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed_for("init", seed, name, list(parameter.shape)))
    u = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
    return u.clamp_min_(2.0**-54)  # 0 has no normal quantile
