"""A multilayer perceptron from scratch: every layer with its own forward and backward pass.

Source: Saito, Deep Learning from Scratch, backpropagation: affine, activation and loss layers, run through
forwards and then backwards. For regression the last layer is the squared error without the half, as in
the concise form.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recipebench.errors import RequestError
from recipebench.lightning_modules.catalog import ACTIVATIONS, REGULARIZERS
from recipebench.lightning_modules.mlp import build_network
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.scratch import ScratchModule, drawn
from recipebench.lightning_modules.softmax_regression_scratch import cross_entropy, softmax
from recipebench.lightning_modules.supervised import Spec


class ScratchLayer(nn.Module):
    """A layer with both passes; `backward` follows a `forward`, whose values it needs."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = torch.empty(0)

    def backward(self, grad: Tensor) -> Tensor:
        """Return the derivative of the cost by the inputs from `grad`, that by the outputs."""
        raise NotImplementedError

    def gradients(self) -> dict[str, Tensor]:
        """Return what the last `backward` found for the layer's own parameters, by name."""
        return {}


class Flatten(ScratchLayer):
    """(batch, ...) to (batch, features)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the inputs as rows."""
        self._kept = x
        return x.flatten(1)

    def backward(self, grad: Tensor) -> Tensor:
        """Return the derivatives in the inputs' shape."""
        return grad.view_as(self._kept)


class Affine(ScratchLayer):
    """y = x Wᵀ + b; dx = dy W, dW = dyᵀ x, db = the sum of dy over the batch.

    Args:
        weight: W (outputs, inputs).
        bias: b (outputs,).

    Example:
        >>> layer = Affine(nn.Parameter(torch.tensor([[2.0, 3.0]])), nn.Parameter(torch.tensor([1.0])))
        >>> with torch.no_grad():
        ...     (layer(torch.tensor([[1.0, 10.0]])), layer.backward(torch.tensor([[1.0]])))
        (tensor([[33.]]), tensor([[2., 3.]]))
        >>> layer.gradients()
        {'weight': tensor([[ 1., 10.]]), 'bias': tensor([1.])}
    """

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self._gradients: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return x Wᵀ + b and keep x."""
        self._kept = x
        return x @ self.weight.T + self.bias

    def backward(self, grad: Tensor) -> Tensor:
        """Return dy W and keep dW and db."""
        self._gradients = {"weight": grad.T @ self._kept, "bias": grad.sum(0)}
        return grad @ self.weight

    def gradients(self) -> dict[str, Tensor]:
        """Return dW and db."""
        return self._gradients


class Sigmoid(ScratchLayer):
    """y = 1 / (1 + exp(-x)); dx = dy y (1 - y)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return y and keep it."""
        self._kept = 1 / (1 + (-x).exp())
        return self._kept

    def backward(self, grad: Tensor) -> Tensor:
        """Return dy y (1 - y)."""
        return grad * self._kept * (1 - self._kept)


class Tanh(ScratchLayer):
    """y = tanh(x); dx = dy (1 - y²)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return y and keep it."""
        self._kept = x.tanh()
        return self._kept

    def backward(self, grad: Tensor) -> Tensor:
        """Return dy (1 - y²)."""
        return grad * (1 - self._kept.square())


class ReLU(ScratchLayer):
    """y = max(0, x); dx = dy where x > 0, else 0."""

    def forward(self, x: Tensor) -> Tensor:
        """Return y and keep where x is positive."""
        self._kept = x > 0
        return x.clamp_min(0)

    def backward(self, grad: Tensor) -> Tensor:
        """Return dy where x was positive."""
        return grad * self._kept


LAYERS: dict[str, type[ScratchLayer]] = {"sigmoid": Sigmoid, "tanh": Tanh, "relu": ReLU}
"""The activations that are written out, by the names of their levels."""


class SoftmaxWithLoss:
    """Softmax and cross-entropy in one, so that do = (p - t) / n: the error itself, t the one-hot targets."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the losses: (batch, classes) and (batch,) int64 to (batch,)."""
        return cross_entropy(outputs, targets)

    def backward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the derivative of the mean loss by the outputs."""
        error = softmax(outputs)
        error[torch.arange(len(outputs)), targets] -= 1
        return error / len(outputs)


class SquaredError:
    """(o - y)², do = 2 (o - y) / n."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the losses: (batch, 1) and (batch, 1) to (batch,)."""
        return (outputs - targets).square().sum(1)

    def backward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the derivative of the mean loss by the outputs."""
        return 2 / len(outputs) * (outputs - targets)


class MLPScratch(ScratchModule):
    """The network of `MLP`, with backpropagation layer by layer: what autograd does, in the open.

    Equal to `MLP` with `sgd`, from the same initial draw and up to rounding; the names in the
    `state_dict` are the same.

    Args:
        in_features: numbers in one input, all dimensions but the first flattened.
        hidden: units of each hidden layer.
        out_features: classes, or 1 for regression.
        activation: `sigmoid`, `tanh` or `relu`.
        task: `classification` or `regression`.
        initializer: how the weights start.
        optimizer: `sgd` with its rate.
        init_seed: names the streams of the initial draws; None draws one from torch's global generator.

    Shape:
        (batch, ...), in_features numbers each, to (batch, out_features).

    Raises:
        RequestError: a level or a width is wrong, is not written out here, or regression has several
            outputs.

    Example:
        >>> list(MLPScratch(in_features=4, hidden=[3]).network.state_dict())
        ['linear_1.weight', 'linear_1.bias', 'output.weight', 'output.bias']

    References:
        Saito, Deep Learning from Scratch, backpropagation.
    """

    def __init__(
        self,
        *,
        in_features: int = 784,
        hidden: Sequence[int] = (128, 64),
        out_features: int = 10,
        task: str = "classification",
        activation: Spec = "relu",
        initializer: Spec = "he",
        optimizer: Spec = "sgd",
        init_seed: int | None = None,
    ) -> None:
        super().__init__(task, optimizer=optimizer)
        MODELS.choose({"mlp_scratch": {"hidden": hidden}})
        if task == "regression" and out_features != 1:
            raise RequestError(f"mlp_scratch: out_features: expected 1 for regression, got {out_features!r}.")
        function = ACTIVATIONS.choose(activation)
        make = _written_out(function.name)
        concise = build_network(in_features, hidden, out_features, function, REGULARIZERS.choose("none"))
        start = drawn(concise, initializer=initializer, init_seed=init_seed)
        self.network = nn.Sequential(OrderedDict(flatten=Flatten()))
        for i in range(1, len(hidden) + 1):
            name = f"linear_{i}"
            self.network.add_module(name, Affine(start[f"{name}.weight"], start[f"{name}.bias"]))
            self.network.add_module(f"activation_{i}", make())
        self.network.add_module("output", Affine(start["output.weight"], start["output.bias"]))
        self._last = SoftmaxWithLoss() if task == "classification" else SquaredError()

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of the last affine layer: (batch, out_features)."""
        outputs: Tensor = self.network(x)
        return outputs

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of every sample, (batch,): cross-entropy, or squared error."""
        return self._last.forward(outputs, targets)

    def backpropagate(self, inputs: Tensor, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Run backwards through the layers that the last forward pass went through."""
        grad, found = self._last.backward(outputs, targets), {}
        for name, layer in reversed(list(self.network.named_children())):
            assert isinstance(layer, ScratchLayer)
            grad = layer.backward(grad)
            found.update({f"network.{name}.{own}": g for own, g in layer.gradients().items()})
        return found


def _written_out(activation: str) -> type[ScratchLayer]:
    if activation not in LAYERS:
        raise RequestError(
            f"mlp_scratch: activation: expected one written out here: {', '.join(LAYERS)}, got {activation}."
        )
    return LAYERS[activation]
