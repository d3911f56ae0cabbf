"""The activations that are compared: one factory a level, torch's own module wherever torch has one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def threshold_step(x: Tensor) -> Tensor:
    """1 if x > 0, else 0, for every number by itself; its gradient is 0 everywhere.

    Args:
        x: of any shape.

    Returns:
        Zeros and ones like `x`; NaN stays NaN.

    Example:
        >>> import torch
        >>> threshold_step(torch.tensor([-2.0, 0.0, 0.1]))
        tensor([0., 0., 1.])

    References:
        Rosenblatt, The Perceptron, 1958; Saito, Deep Learning from Scratch, perceptrons.
    """
    return x.clamp(0, 1).ceil()


class Step(nn.Module):
    """`threshold_step` as a module: layers before it get zero gradients, only later ones learn.

    Shape:
        (batch, ...) to the same shape, 0 or 1.

    References:
        Saito, Deep Learning from Scratch, perceptrons.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return 1 where x > 0, else 0."""
        return threshold_step(x)


def hardmax(x: Tensor) -> Tensor:
    """1 for the largest entry of each sample, 0 for its others; its gradient is 0 everywhere.

    Softmax shares out 1 by exp(x), softly and with a gradient; hardmax gives all of it to the largest.

    Args:
        x: (batch, units, ...): the units of a sample compete, in images at each place by itself.

    Returns:
        Like `x`. On a tie the first of the largest gets the 1; NaN stays NaN.

    Example:
        >>> import torch
        >>> hardmax(torch.tensor([[5.0, 2.0, -1.0, 3.0]]))
        tensor([[1., 0., 0., 0.]])

    References:
        Ng, Improving Deep Neural Networks, 3.9.
    """
    nothing = x.clamp(0, 1).abs() * 0  # its gradient, 0, is that of the whole function
    return nothing.scatter_add(1, x.argmax(1, keepdim=True), torch.ones_like(x[:, :1]))


class Hardmax(nn.Module):
    """`hardmax` as a module: layers before it get zero gradients, only later ones learn.

    Shape:
        (batch, units, ...) to the same shape, a single 1 among the units of a sample.

    References:
        Ng, Improving Deep Neural Networks, 3.9.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return 1 for the largest unit, 0 for the others."""
        return hardmax(x)


def maxout(x: Tensor, pieces: int) -> Tensor:
    """Maximum over groups of `pieces` neighbors: h_i = max_j z_ij, j = 1 ... pieces.

    Args:
        x: (batch, units * pieces), the affine pieces of one unit side by side.
        pieces: affine pieces of each unit.

    Returns:
        (batch, units). On a tie the gradient goes to the first of the largest.

    Raises:
        RuntimeError: the last dimension is no multiple of `pieces`.

    Example:
        >>> import torch
        >>> maxout(torch.tensor([[1.0, 3.0, 2.0, -5.0]]), pieces=2)
        tensor([[3., 2.]])

    References:
        Goodfellow et al., Maxout Networks, ICML 2013.
    """
    grouped: Tensor = x.unflatten(-1, (-1, pieces))
    return grouped.max(-1).values


class Maxout(nn.Module):
    """`maxout` as a module; the layer before it is `pieces` times as wide as the units after it.

    Args:
        pieces: affine pieces of each unit, 2 by default.
        match: by what a network was made comparable to one with an activation of one piece: `units` (the
            default), `parameters` or `flops`. It decides the widths around this layer
            (`shapes.matched_widths`) and nothing in it.

    Shape:
        (batch, units * pieces) to (batch, units).

    References:
        Goodfellow et al., Maxout Networks, ICML 2013.
    """

    def __init__(self, pieces: int = 2, match: str = "units") -> None:
        super().__init__()
        self.pieces = pieces
        self.match = match

    def forward(self, x: Tensor) -> Tensor:
        """Return the maximum of each group of `pieces` features."""
        return maxout(x, self.pieces)

    def extra_repr(self) -> str:
        """Show the number of pieces when printed."""
        return f"pieces={self.pieces}"


def sigmoid() -> nn.Module:
    """1 / (1 + exp(-x)), derivative y (1 - y), at most 1/4.

    Returns:
        `nn.Sigmoid`: (batch, units) to the same shape, in (0, 1).

    References:
        Saito, Deep Learning from Scratch, neural networks.
    """
    return nn.Sigmoid()


def tanh() -> nn.Module:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)), derivative 1 - y², at most 1.

    Returns:
        `nn.Tanh`: (batch, units) to the same shape, in (-1, 1).

    References:
        Ng, Improving Deep Neural Networks, 1.11.
    """
    return nn.Tanh()


def relu() -> nn.Module:
    """max(0, x), derivative 1 for x > 0, else 0 (at 0 too).

    Returns:
        `nn.ReLU`: (batch, units) to the same shape.

    References:
        Glorot, Bordes and Bengio, Deep Sparse Rectifier Neural Networks, AISTATS 2011.
    """
    return nn.ReLU()


def leaky_relu(negative_slope: float = 0.01) -> nn.Module:
    """x for x > 0, negative_slope * x otherwise.

    Args:
        negative_slope: slope below 0 and at 0; 0.01 by default, as torch's.

    Returns:
        `nn.LeakyReLU`: (batch, units) to the same shape.

    References:
        Maas, Hannun and Ng, Rectifier Nonlinearities Improve Neural Network Acoustic Models, 2013.
    """
    return nn.LeakyReLU(negative_slope)


def prelu(init: float = 0.25) -> nn.Module:
    """x for x > 0, a * x otherwise: one a for the layer, learned with the weights.

    Args:
        init: a before training; 0.25 by default, as torch's. Penalties leave it alone; the
            optimizer's weight decay, as torch's, does not.

    Returns:
        `nn.PReLU` with one parameter: (batch, units) to the same shape.

    References:
        He, Zhang, Ren and Sun, Delving Deep into Rectifiers, ICCV 2015.
    """
    return nn.PReLU(init=init)


ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "step": Step,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "prelu": prelu,
    "maxout": Maxout,
    "hardmax": Hardmax,
}
"""Every activation by name: a factory that takes the level's hyper-parameters as keywords."""
