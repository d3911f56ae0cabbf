"""The initial draws that are compared: weights and biases of a layer as functions of a uniform draw.

All levels start from the same uniform numbers u in (0, 1), drawn in float64 from a stream that is named
by layer and shape. Normal levels map them through the inverse normal distribution function, uniform
levels stretch them: so compared initializers are coupled draw by draw, and their comparison is paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.lightning_modules.activations import Maxout
from recipebench.lightning_modules.moments import HOMOGENEOUS, NEUTRAL, second_moment
from recipebench.seeds import seed_for

Weighted = nn.Linear | nn.Conv2d
"""Layers whose weights are drawn."""


@dataclass(frozen=True)
class Fans:
    """What the weights of a layer depend on.

    Args:
        fan_in: units that feed a unit; in convolutions numbers under the kernel.
        fan_out: units that are fed, one piece of Maxout; in convolutions times the kernel's size.
        moment: mean square of what is fed in, next to that of the pre-activations before: E[phi(z)²].
    """

    fan_in: int
    fan_out: int
    moment: float = 1.0


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


def constant(u: Tensor, fans: Fans, value: float = 0.01) -> Tensor:
    """Every weight the same: enough for a linear model, but units that start alike stay alike.

    All units of a hidden layer get the same gradient, so the layer never does more than one unit could.

    Args:
        u: float64 of any shape; only the shape is used.
        fans: not used.
        value: every weight, 0.01 by default.

    Returns:
        Weights like `u`.

    References:
        Saito, Deep Learning from Scratch, initial values of weights (why not).
    """
    return torch.full_like(u, value)


def variance_preserving(u: Tensor, fans: Fans) -> Tensor:
    """Normal, variance 1 / (fan_in E[phi(z)²]), z ~ N(0, 1), phi the activation before the layer.

    Pre-activations of mean square 1 are followed by pre-activations of mean square 1, layer by layer,
    since weights of mean 0 add up fan_in terms of variance times E[phi(z)²]. It is the square that
    counts, not the variance: an activation whose mean is not 0, as sigmoid's, feeds its mean on too.
    Behind ReLU it is `he`, without an activation 1 / fan_in; `second_moment` has E[phi(z)²].

    Nothing comes before the first layer. It takes 1 / fan_in, right for inputs of mean square 1, unless
    the network's activation is homogeneous (ReLU, Leaky and Parametric ReLU, Maxout): any scale is then
    kept, and the first layer takes the factor of the others, as He et al. do. Dropout, pooling and
    normalization are left out of account, so that recipes that differ in them start alike.

    Args:
        u: float64 (units, fan_in), in (0, 1).
        fans: units before and after, and the mean square that the activation lets through.

    Returns:
        Weights like `u`.

    References:
        He, Zhang, Ren and Sun, Delving Deep into Rectifiers, ICCV 2015, 2.2; Poole et al., Exponential
        Expressivity in Deep Neural Networks through Transient Chaos, NeurIPS 2016 (the mean square's map).
    """
    return normal(u, math.sqrt(1 / (fans.fan_in * fans.moment)))


def torch_default(u: Tensor, fans: Fans) -> Tensor:
    """Uniform in ±1 / sqrt(fan_in), weights and biases: standard deviation 0.577 / sqrt(fan_in).

    Args:
        u: float64 (units, fan_in) for weights or (units,) for biases, in (0, 1).
        fans: units before and after.

    Returns:
        Weights or biases like `u`.

    References:
        `torch.nn.Linear.reset_parameters`, `torch.nn.Conv2d.reset_parameters`.
    """
    return u.mul(2).sub_(1).mul_(1 / math.sqrt(fans.fan_in))


INITIALIZERS: dict[str, Callable[..., Tensor]] = {
    "xavier": xavier,
    "xavier_fan_in": xavier_fan_in,
    "he": he,
    "small_gaussian": small_gaussian,
    "constant": constant,
    "variance_preserving": variance_preserving,
    "torch_default": torch_default,
}
"""Every initializer by name: a function of (u, fans, **hyper-parameters) that returns weights like u."""

DRAWS_BIASES = {"torch_default"}
"""Initializers that draw biases as they draw weights; all others set biases to zero."""


SEES_ACTIVATION = {"variance_preserving"}
"""Initializers that depend on the activation before the layer."""


def initialize_network(network: nn.Module, initializer: Choice, seed: int) -> None:
    """Set weights and biases of all linear layers and convolutions of a network, in place.

    Args:
        network: its layers in the order in which they are run.
        initializer: a level of the catalog.
        seed: the model's initial seed; each layer has a stream of its own, named by name and shape.

    Raises:
        KeyError: there is no such initializer.
        RequestError: `variance_preserving` does not know the activation.

    Example:
        >>> network = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> initialize_network(network, Choice("he", {}), seed=0)
        >>> network[0].bias.tolist()
        [0.0, 0.0]
    """
    layers = [(name, m) for name, m in network.named_modules() if not any(m.children())]
    for i, (name, layer) in enumerate(layers):
        if isinstance(layer, Weighted):
            moment = _moment([m for _, m in layers], i) if initializer.name in SEES_ACTIVATION else 1.0
            initialize(
                layer,
                name,
                initializer=initializer.name,
                seed=seed,
                pieces=_pieces([m for _, m in layers[i + 1 :]]),
                moment=moment,
                **initializer.parameters,
            )


def _pieces(later: Sequence[nn.Module]) -> int:
    """Return the pieces of the Maxout that a layer feeds; 1 where it feeds none."""
    reader = next((m for m in later if isinstance(m, Weighted | Maxout)), None)
    return reader.pieces if isinstance(reader, Maxout) else 1


def _moment(layers: Sequence[nn.Module], place: int) -> float:
    """Return the mean square that the layer at a place is fed, for `variance_preserving`."""
    feeding = next((j for j in reversed(range(place)) if isinstance(layers[j], Weighted)), None)
    if feeding is not None:
        return _moment_between(layers, feeding, place)
    reading = next((j for j in range(place + 1, len(layers)) if isinstance(layers[j], Weighted)), place)
    homogeneous = any(isinstance(m, HOMOGENEOUS) for m in layers[place:reading])
    return _moment_between(layers, place, reading) if homogeneous else 1.0


def _moment_between(layers: Sequence[nn.Module], feeding: int, reading: int) -> float:
    between = [m for m in layers[feeding + 1 : reading] if not isinstance(m, NEUTRAL)]
    if not between:
        return 1.0
    if len(between) > 1:
        names = ", ".join(type(m).__name__ for m in between)
        raise RequestError(
            f"initializer variance_preserving: expected one activation between two layers, got {names}."
        )
    return second_moment(between[0], len(layers[feeding].get_parameter("weight")))


@torch.no_grad()
def initialize(
    layer: nn.Linear | nn.Conv2d,
    name: str,
    *,
    initializer: str,
    seed: int,
    pieces: int = 1,
    moment: float = 1.0,
    **options: Any,
) -> None:
    """Set weights and biases of one layer, in place, from the stream of its name and shape.

    Torch's global generator is neither read nor moved.

    Args:
        layer: weight (out, in) or (out, in / groups, height, width) and, if it has one, bias (out,), float32.
        name: the layer's name in its model, a part of the stream's name.
        initializer: a key of `INITIALIZERS`.
        seed: the model's initial seed.
        pieces: outputs that count as one in `fan_out` (Maxout's pieces).
        moment: `second_moment` of the activation before the layer; 1 where there is none.
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
    fans = fans_of(layer.weight, pieces, moment)
    draw = INITIALIZERS[initializer]
    layer.weight.copy_(draw(_uniform(f"{name}.weight", layer.weight, seed), fans, **options))
    for bias in (p for kind, p in layer.named_parameters() if kind == "bias"):
        if initializer in DRAWS_BIASES:
            bias.copy_(draw(_uniform(f"{name}.bias", bias, seed), fans, **options))
        else:
            bias.zero_()


def fans_of(weight: Tensor, pieces: int = 1, moment: float = 1.0) -> Fans:
    """Count units before and after, as torch does, but that Maxout's pieces count as one.

    Args:
        weight: (out, in), or (out, in / groups, height, width) of a convolution.
        pieces: outputs that count as one in `fan_out`.
        moment: see `Fans`.

    Example:
        >>> fans_of(torch.empty(16, 3, 5, 5))
        Fans(fan_in=75, fan_out=400, moment=1.0)
    """
    kernel = weight[0, 0].numel()
    return Fans(weight.shape[1] * kernel, weight.shape[0] // pieces * kernel, moment)


def _uniform(name: str, parameter: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed_for("init", seed, name, list(parameter.shape)))
    u = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
    return u.clamp_min_(2.0**-54)  # 0 has no normal quantile
