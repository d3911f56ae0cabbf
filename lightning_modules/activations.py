"""The activations that are compared: one factory a level, torch's own module wherever torch has one."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


def maxout(x: Tensor, pieces: int) -> Tensor:
    """Maximum over groups of `pieces` neighbours: h_i = max_j z_ij.

    Args:
        x: (batch, units * pieces), the affine pieces of one unit side by side.
        pieces: affine pieces a unit.

    Returns:
        (batch, units). On a tie the gradient goes to the first of the largest.

    Raises:
        RuntimeError: the last dimension is no multiple of `pieces`.

    Example:
        >>> maxout(torch.tensor([[1.0, 3.0, 2.0, -5.0]]), pieces=2)
        tensor([[3., 2.]])

    References:
        Goodfellow et al., Maxout Networks, ICML 2013.
    """
    return x.unflatten(-1, (-1, pieces)).max(-1).values


class Maxout(nn.Module):
    """`maxout` as a module; the linear layer before it is `pieces` times as wide as the units after it.

    Args:
        pieces: affine pieces a unit.

    Shape:
        (batch, units * pieces) to (batch, units).

    References:
        Goodfellow et al., Maxout Networks, ICML 2013.
    """

    def __init__(self, pieces: int = 2) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """Return the maximum of each group of `pieces` features."""
        return maxout(x, self.pieces)

    def extra_repr(self) -> str:
        """Show the number of pieces when printed."""
        return f"pieces={self.pieces}"


def sigmoid() -> nn.Module:
    """1 / (1 + exp(-x)); derivative at most 1/4 (Saito, Deep Learning from Scratch, neural networks)."""
    return nn.Sigmoid()


def tanh() -> nn.Module:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)) (Ng, Improving Deep Neural Networks, 1.11)."""
    return nn.Tanh()


def relu() -> nn.Module:
    """max(0, x); derivative 0 at 0 (Glorot, Bordes and Bengio, AISTATS 2011)."""
    return nn.ReLU()


def leaky_relu(negative_slope: float = 0.01) -> nn.Module:
    """X for x > 0, `negative_slope` * x otherwise (Maas, Hannun and Ng, 2013; torch's slope, .01)."""
    return nn.LeakyReLU(negative_slope)


def prelu(init: float = 0.25) -> nn.Module:
    """X for x > 0, a * x otherwise, one a for the layer, learned from `init` (He et al., ICCV 2015)."""
    return nn.PReLU(init=init)


ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "sigmoid": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "prelu": prelu,
    "maxout": Maxout,
}
"""Every activation by name: a factory that takes the level's hyper-parameters as keywords."""
