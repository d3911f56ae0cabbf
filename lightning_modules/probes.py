"""What can be seen inside a network while it trains: norms of gradients and weights, and the hidden units.

Everything is measured on one batch, in eval mode (dropout off, batch norm by its running statistics), and
leaves gradients, mode, weights and random generators as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recipebench.errors import RequestError
from recipebench.lightning_modules.activations import ACTIVATIONS
from recipebench.lightning_modules.objective import Objective
from recipebench.lightning_modules.supervised import SupervisedModule

STEEP = 0.05
"""Share of its steepest slope below which a bounded activation counts as saturated."""

RATIO = 100.0
"""By how much the first and the last layer's gradients differ before they are said to vanish or explode."""

KINDS = ("gradients", "weights", "activations")
"""What can be measured."""

Flow = Literal["vanishing", "steady", "exploding"]


def probe(
    module: SupervisedModule, inputs: Tensor, targets: Tensor, kinds: Collection[str] = KINDS
) -> dict[str, float]:
    """Return probes of a module on one batch, by `<what>.<layer>`, layers as named in its network.

    grad_norm and weight_norm: see `gradient_norms`, `weight_norms`; activation_mean, activation_std, dead
    and (for sigmoid and tanh) saturated: see `hidden_units`.

    Args:
        module: any `SupervisedModule`; a pack's members are such.
        inputs: (batch, ...) float32.
        targets: (batch,) int64 or (batch, 1) float32.
        kinds: what to measure, of `KINDS`; all by default.

    Example:
        >>> from recipebench.lightning_modules import MLP
        >>> found = probe(MLP(in_features=2, hidden=[3]), torch.ones(4, 2), torch.arange(4))
        >>> [name for name in found if name.endswith("_1")]  # doctest: +NORMALIZE_WHITESPACE
        ['grad_norm.linear_1', 'weight_norm.linear_1', 'activation_mean.activation_1',
         'activation_std.activation_1', 'dead.activation_1']

    References:
        Glorot and Bengio, Understanding the Difficulty of Training Deep Feedforward Neural Networks,
        AISTATS 2010; Saito, Deep Learning from Scratch, initial values of weights.
    """
    found: dict[str, float] = {}
    if "gradients" in kinds:
        norms = gradient_norms(module, inputs, targets)
        found |= {f"grad_norm.{name}": value for name, value in norms.items()}
    if "weights" in kinds:
        found |= {f"weight_norm.{name}": value for name, value in weight_norms(module).items()}
    if "activations" in kinds:
        found |= hidden_units(module, inputs)
    return found


def gradient_norms(module: SupervisedModule, inputs: Tensor, targets: Tensor) -> dict[str, float]:
    """Return ||dJ/dW||_F of every layer with weights, J = mean loss + penalty, W its weight without bias.

    Args:
        module: any `SupervisedModule`.
        inputs: (batch, ...) float32.
        targets: (batch,) int64 or (batch, 1) float32.

    Returns:
        By layer, in the network's order; 0 where J does not depend on W. Frozen layers are left out.
    """
    weights = {name: w for name, w in _weights(module).items() if w.requires_grad}
    if not weights:
        return {}
    with _evaluating(module), torch.enable_grad():
        value = Objective(module)(inputs, targets)
        grads = torch.autograd.grad(value, list(weights.values()), allow_unused=True)
    return {name: 0.0 if g is None else float(g.norm()) for name, g in zip(weights, grads, strict=True)}


def weight_norms(module: SupervisedModule) -> dict[str, float]:
    """Return ||W||_F of every layer with weights, by layer, in the network's order."""
    return {name: float(w.detach().norm()) for name, w in _weights(module).items()}


def hidden_units(module: SupervisedModule, inputs: Tensor) -> dict[str, float]:
    """Return what the activations of every hidden layer give on one batch.

    activation_mean, activation_std: over all outputs (population standard deviation); dead: share of the
    units (channels, after a convolution) that are 0 for every sample; saturated, for sigmoid and tanh
    alone: share of the outputs where the slope is below `STEEP` of the steepest.

    Args:
        module: any `SupervisedModule`.
        inputs: (batch, ...) float32.

    Returns:
        By `<what>.<layer>`; empty without hidden layers.
    """
    outputs: dict[str, tuple[nn.Module, Tensor]] = {}
    handles = []
    for name, layer in module.network.named_modules():
        if isinstance(layer, _activation_types()):
            handles.append(layer.register_forward_hook(_keep(outputs, name)))
    try:
        with _evaluating(module), torch.no_grad():
            module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {f"{what}.{n}": v for n, kept in outputs.items() for what, v in _describe(*kept).items()}


def gradient_flow(norms: Mapping[str, float], *, ratio: float = RATIO) -> Flow:
    """Say whether gradients vanish or explode on their way back, by the first and the last layer's norm.

    vanishing: first < last / ratio; exploding: first > ratio * last; steady: neither. The gradient of a
    layer's weights is a product of what comes back to it and what it is fed, so where the activations
    grow with depth as the gradients do on their way back (ReLU, linear nets), all norms are large alike,
    and steady: then look at the norms themselves.

    Args:
        norms: gradient norms of layers in the network's order, as `gradient_norms` gives them; of other
            mappings, such as all probes or a row of the history, those named `grad_norm.<layer>` count.
        ratio: above 1.

    Raises:
        RequestError: there are fewer than two layers.

    Example:
        >>> gradient_flow({"linear_1": 1e-6, "linear_2": 1e-3, "output": 1.0})
        'vanishing'

    References:
        Ng, Improving Deep Neural Networks, 1.10; Lee, Machine Learning, recipe of deep learning.
    """
    named = [value for name, value in norms.items() if name.startswith("grad_norm.")] or list(norms.values())
    if len(named) < 2:
        raise RequestError(f"gradient_flow: expected the norms of two layers or more, got {len(named)}.")
    first, last = named[0], named[-1]
    if first * ratio < last:
        return "vanishing"
    return "exploding" if first > ratio * last else "steady"


def _weights(module: SupervisedModule) -> dict[str, Tensor]:
    """Return the weights of layers that map units to units, not of norms or activations."""
    layers = module.network.named_modules()
    return {name: layer.weight for name, layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)}


def _activation_types() -> tuple[type[nn.Module], ...]:
    return tuple({type(make()) for make in ACTIVATIONS.values()})


def _keep(
    outputs: dict[str, tuple[nn.Module, Tensor]], name: str
) -> Callable[[nn.Module, Any, Tensor], None]:
    def hook(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        outputs[name] = layer, output

    return hook


def _describe(layer: nn.Module, output: Tensor) -> dict[str, float]:
    values = output.double()
    units = (output == 0).transpose(0, 1).flatten(1)
    found = {
        "activation_mean": float(values.mean()),
        "activation_std": float(values.std(correction=0)),
        "dead": float(units.all(1).double().mean()),
    }
    slope = _relative_slope(layer, values)
    return found if slope is None else {**found, "saturated": float((slope < STEEP).double().mean())}


def _relative_slope(layer: nn.Module, y: Tensor) -> Tensor | None:
    """Return f'(x) / max f' from y = f(x); None for activations without bounds."""
    if isinstance(layer, nn.Sigmoid):
        return 4 * y * (1 - y)
    return 1 - y.square() if isinstance(layer, nn.Tanh) else None


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module in eval mode, and every part of it back into its own."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
