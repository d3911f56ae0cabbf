"""A deep linear net: equal square layers without activations, which show how depth makes powers.

Source: Ng, Improving Deep Neural Networks, 1.10, W = 1.5 I or 0.5 I with g(z) = z and no biases; here the
biases start at zero and are trained with the weights.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Unpack

import torch
from torch import nn

from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.supervised import Recipe, SupervisedModule


class DeepLinearNet(SupervisedModule):
    """y = W_L W_{L-1} ... W_1 x with W_l = scale I for l < L: at the start y = scale^(L-1) W_L x.

    The gradients of the first layers carry the same power, so for a scale above 1 all explodes with
    depth, for one below 1 all vanishes. The initializer draws W_L alone.

    Args:
        depth: L, layers in all, the last one included.
        scale: the diagonal of the square layers before training; biases start at 0.
        in_features: numbers in one input, all dimensions but the first flattened; the square layers' size.
        out_features: classes, or 1 for regression.
        task: `classification` or `regression`.
        **recipe: initializer, regularizer, optimizer, loss, schedule, init_seed; see `SupervisedModule`.

    Shape:
        (batch, ...) float32, in_features numbers each, to (batch, out_features).

    Raises:
        RequestError: a level, a hyper-parameter or the depth is wrong.

    Example:
        >>> net = DeepLinearNet(depth=3, scale=0.5, in_features=2)
        >>> net.network.linear_2.weight.tolist()
        [[0.5, 0.0], [0.0, 0.5]]

    References:
        Ng, Improving Deep Neural Networks, 1.10.
    """

    def __init__(
        self,
        *,
        depth: int = 10,
        scale: float = 1.5,
        in_features: int = 2,
        out_features: int = 1,
        task: str = "regression",
        **recipe: Unpack[Recipe],
    ) -> None:
        MODELS.choose({"deep_linear_net": {"depth": depth, "scale": scale}})
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        for i in range(1, depth):
            layers[f"linear_{i}"] = nn.Linear(in_features, in_features)
        layers["output"] = nn.Linear(in_features, out_features)
        super().__init__(nn.Sequential(layers), task=task, **recipe)
        with torch.no_grad():
            for layer in list(layers.values())[1:-1]:
                assert isinstance(layer, nn.Linear)
                layer.weight.copy_(scale * torch.eye(in_features))
                layer.bias.zero_()
