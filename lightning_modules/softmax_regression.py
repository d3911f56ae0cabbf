"""Softmax regression: one linear layer and the cross-entropy (Zhang et al., Dive into Deep Learning, 3.4)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Unpack

from torch import Tensor, nn

from recipebench.lightning_modules.supervised import Recipe, SupervisedModule


class SoftmaxRegression(SupervisedModule):
    """P(class k | x) = exp(o_k) / sum_j exp(o_j), o = W x + b, trained on the cross-entropy.

    Args:
        in_features: numbers in one input, all dimensions but the first flattened.
        out_features: classes.
        **recipe: initializer, regularizer, optimizer, loss, schedule, init_seed; see `SupervisedModule`.

    Shape:
        (batch, ...) float32, in_features numbers each, to (batch, out_features) logits o.

    Raises:
        RequestError: a level or one of its hyper-parameters is not known, or needs a hidden layer.

    Example:
        >>> SoftmaxRegression(in_features=64).network.output
        Linear(in_features=64, out_features=10, bias=True)
    """

    def __init__(
        self,
        *,
        in_features: int = 784,
        out_features: int = 10,
        **recipe: Unpack[Recipe],
    ) -> None:
        layers = OrderedDict(flatten=nn.Flatten(), output=nn.Linear(in_features, out_features))
        super().__init__(nn.Sequential(layers), task="classification", **recipe)

    @property
    def weight(self) -> Tensor:
        """The weights W, (out_features, in_features), as the form from scratch has them."""
        return self.weights()[0]

    @property
    def bias(self) -> Tensor:
        """The bias b, (out_features,)."""
        return self.network.get_parameter("output.bias")
