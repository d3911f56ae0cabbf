"""Linear regression: one linear layer and the squared error (Zhang et al., Dive into Deep Learning, 3.1)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Unpack

from torch import Tensor, nn

from recipebench.lightning_modules.supervised import Recipe, SupervisedModule


class LinearRegression(SupervisedModule):
    """y = w . x + b, trained on the mean squared error (no factor 1/2, as torch's `MSELoss`).

    Args:
        in_features: numbers in one input, all dimensions but the first flattened.
        **recipe: initializer, regularizer, optimizer, loss, schedule, init_seed; see `SupervisedModule`.

    Shape:
        (batch, ...) float32, in_features numbers each, to (batch, 1).

    Raises:
        RequestError: a level or one of its hyper-parameters is not known, or needs a hidden layer.

    Example:
        >>> LinearRegression(in_features=3, optimizer={"sgd": {"lr": 0.03}}).network.output
        Linear(in_features=3, out_features=1, bias=True)
    """

    def __init__(
        self,
        *,
        in_features: int = 2,
        **recipe: Unpack[Recipe],
    ) -> None:
        layers = OrderedDict(flatten=nn.Flatten(), output=nn.Linear(in_features, 1))
        super().__init__(nn.Sequential(layers), task="regression", **recipe)

    @property
    def weight(self) -> Tensor:
        """The weights w, (1, in_features), as the forms from scratch and in closed form have them."""
        return self.weights()[0]

    @property
    def bias(self) -> Tensor:
        """The bias b, (1,)."""
        return self.network.get_parameter("output.bias")
