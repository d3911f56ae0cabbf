"""Convolutional network: convolution, activation and pool a few times, then linear layers.

Source: Saito, Deep Learning from Scratch, convolutional neural networks; LeCun et al. 1998 (LeNet).
Order in a layer: convolution, batch norm, activation, pool; linear, batch norm, activation, dropout.
Batch norm comes after the activation where its `position` says so.
Dropout stays with the hidden linear layers, where the weights are (Srivastava et al. 2014, 6.1; LeNet
and VGG alike): neighboring pixels of a map repeat each other, so dropping some of them hides little.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

from torch import nn

from recipebench.errors import RequestError
from recipebench.levels import Choice, Value
from recipebench.lightning_modules import regularizers
from recipebench.lightning_modules.activations import ACTIVATIONS, Maxout
from recipebench.lightning_modules.catalog import ACTIVATIONS as ACTIVATION_CATALOG
from recipebench.lightning_modules.convolution import CONVOLUTIONS, ChannelMaxout
from recipebench.lightning_modules.geometry import Window, windows_of
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.supervised import Recipe, Spec, SupervisedModule, regularizer_of

POOLS: dict[str, type[nn.Module]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}
"""The pools by name; the windows of a pool do not overlap."""


class CNN(SupervisedModule):
    """A convolutional network after LeNet: [convolution - activation - pool] x n, linear layers, output.

    The output size of a convolution, (H + 2P - FH) / S + 1, and of a pool must be whole: a stride,
    kernel or pool that does not fit is refused, with what would fit.

    Args:
        in_shape: (channels, height, width) of one image.
        channels: filters of each convolution; with Maxout, channels after the maximum.
        kernel: height and width of the filters.
        padding: zeros at each side of every convolution's input.
        stride: how far a filter moves.
        pool: what follows each convolution: `max`, `average` or `none`.
        pool_size: height and width of a pool's windows, which do not overlap.
        hidden: units of each hidden linear layer after the convolutions.
        implementation: `torch` (nn.Conv2d) or `im2col` (the same by a matrix product).
        out_features: classes.
        activation: a level of the catalog; Maxout takes the maximum over channels.
        task: `classification` or `regression`.
        **recipe: initializer, regularizer, optimizer, loss, schedule, init_seed; see `SupervisedModule`.

    Shape:
        (batch, channels, height, width) float32 to (batch, out_features).

    Raises:
        RequestError: a level or a hyper-parameter is wrong, or a window does not fit the images.

    Example:
        >>> CNN(in_shape=(1, 8, 8), channels=[4], hidden=[5]).network
        Sequential(
          (conv_1): Conv2d(1, 4, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2))
          (activation_1): ReLU()
          (pool_1): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
          (flatten): Flatten(start_dim=1, end_dim=-1)
          (linear_1): Linear(in_features=64, out_features=5, bias=True)
          (activation_2): ReLU()
          (output): Linear(in_features=5, out_features=10, bias=True)
        )

    References:
        LeCun, Bottou, Bengio and Haffner, Gradient-Based Learning Applied to Document Recognition, 1998;
        Saito, Deep Learning from Scratch, convolutional neural networks.
    """

    def __init__(
        self,
        *,
        in_shape: Sequence[int] = (1, 28, 28),
        channels: Sequence[int] = (16, 32),
        kernel: int = 5,
        padding: int = 2,
        stride: int = 1,
        pool: str = "max",
        pool_size: int = 2,
        hidden: Sequence[int] = (128,),
        implementation: str = "torch",
        out_features: int = 10,
        task: str = "classification",
        activation: Spec = "relu",
        **recipe: Unpack[Recipe],
    ) -> None:
        given = {
            "channels": channels,
            "kernel": kernel,
            "padding": padding,
            "stride": stride,
            "pool": pool,
            "pool_size": pool_size,
            "hidden": hidden,
            "implementation": implementation,
        }
        super().__init__(
            build_network(
                MODELS.choose({"cnn": given}),
                in_shape,
                out_features,
                ACTIVATION_CATALOG.choose(activation),
                regularizer_of(recipe),
            ),
            task=task,
            **recipe,
        )


def build_network(
    model: Choice, in_shape: Sequence[int], out_features: int, activation: Choice, regularizer: Choice
) -> nn.Sequential:
    """Return the layers by name: conv_1, norm_1, activation_1, pool_1, ..., flatten, linear_1, ..., output.

    Activations and norms are counted through, so those of the first linear layer follow the last
    convolution's; a dropout has the number of the activation before it.

    Args:
        model: name and hyper-parameters; see `windows_of`.
        in_shape: (channels, height, width) of one image.
        out_features: outputs of the last layer, which nothing follows.
        activation: what follows each convolution and each hidden linear layer; before Maxout they are
            `pieces` times as wide.
        regularizer: adds `norm_i` to each (batch_norm) or `dropout_i` to the linear ones (dropout,
            dropout_per_layer: also to the flattened features).

    Returns:
        (batch, channels, height, width) to (batch, out_features), with torch's own initial values.

    Raises:
        RequestError: a window does not fit the images, or a level does not fit the layers.
    """
    try:
        windows = windows_of(model.parameters, in_shape)
    except RequestError as error:
        raise RequestError(f"{model.name}: {error}.") from None
    layers = OrderedDict(_features(windows, model.parameters, activation, regularizer))
    layers["flatten"] = nn.Flatten()
    last: Sequence[int] = windows[-1].outputs if windows else in_shape
    hidden = model.parameters["hidden"]
    assert isinstance(hidden, tuple)
    place = sum(window.kind == "convolution" for window in windows)
    widths = [math.prod(last), *map(int, hidden)]
    layers.update(_linear_layers(widths, place, activation, regularizer))
    layers["output"] = nn.Linear(widths[-1], out_features)
    return nn.Sequential(layers)


def _features(
    windows: Sequence[Window], parameters: Mapping[str, Value], activation: Choice, regularizer: Choice
) -> dict[str, nn.Module]:
    """Return the convolutions, norms, activations and pools by name."""
    layers: dict[str, nn.Module] = {}
    counts = {"convolution": 0, "pool": 0}
    for window in windows:
        counts[window.kind] += 1
        i = counts[window.kind]
        if window.kind == "pool":
            layers[f"pool_{i}"] = POOLS[str(parameters["pool"])](window.kernel)
            continue
        function, pieces = _activation(activation, maps=True)
        convolve = CONVOLUTIONS[str(parameters.get("implementation", "torch"))]
        filters = window.outputs[0]
        layers[f"conv_{i}"] = convolve(
            *(window.inputs[0], filters * pieces, window.kernel),
            stride=window.stride,
            padding=window.padding,
        )
        norms = _norms(batch_norm_of_maps, filters * pieces, filters, regularizer)
        layers.update(_around(i, function, norms))
    return layers


def _linear_layers(
    widths: Sequence[int], place: int, activation: Choice, regularizer: Choice
) -> dict[str, nn.Module]:
    """Return the hidden linear layers by name; `place` activations stand before them."""
    dropouts = regularizers.dropouts(regularizer, widths[1:])
    layers = {f"dropout_{place}": dropouts[0]} if 0 in dropouts else {}
    for i, (in_features, width) in enumerate(itertools.pairwise(widths), start=1):
        function, pieces = _activation(activation, maps=False)
        layers[f"linear_{i}"] = nn.Linear(in_features, width * pieces)
        norms = _norms(regularizers.batch_norm, width * pieces, width, regularizer)
        layers.update(_around(place + i, function, norms))
        if i in dropouts:
            layers[f"dropout_{place + i}"] = dropouts[i]
    return layers


def _around(i: int, function: nn.Module, norms: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Return an activation with the norm before or after it."""
    layers = {f"norm_{i}": norms["before"]} if "before" in norms else {}
    layers[f"activation_{i}"] = function
    return layers | ({f"norm_{i}": norms["after"]} if "after" in norms else {})


def _norms(
    make: Callable[..., nn.Module], before: int, after: int, regularizer: Choice
) -> dict[str, nn.Module]:
    """Return the norm of a layer by its position, as wide as what it gets there; none without batch norm."""
    if regularizer.name != "batch_norm":
        return {}
    position = str(regularizer.parameters["position"])
    return {position: make({"before": before, "after": after}[position], **regularizer.parameters)}


def batch_norm_of_maps(
    channels: int, eps: float = 1e-5, momentum: float = 0.1, position: str = "before"
) -> nn.Module:
    """gamma (z - mean) / sqrt(variance + eps) + beta, for each channel over batch, height and width.

    Args:
        channels: of the maps.
        eps: added to the variance, 1e-5 by default.
        momentum: share of the newest batch in the running averages, 0.1 by default.
        position: `before` (the default) or `after` the activation: where the model puts the layer.

    Returns:
        `nn.BatchNorm2d`: (batch, channels, height, width) to the same shape.

    References:
        Ioffe and Szegedy, Batch Normalization, ICML 2015, 3.2.
    """
    return nn.BatchNorm2d(channels, eps=eps, momentum=momentum)


def _activation(choice: Choice, *, maps: bool) -> tuple[nn.Module, int]:
    """Return the activation, over channels where it follows a convolution, and its pieces."""
    options: dict[str, Any] = dict(choice.parameters)
    function = ACTIVATIONS[choice.name](**options)
    if not isinstance(function, Maxout):
        return function, 1
    if function.match != "units":
        raise RequestError(
            f"activation maxout: match: expected units for a convolutional network, got {function.match!r}; "
            "give fewer channels instead."
        )
    return (ChannelMaxout(**options) if maps else function), function.pieces
