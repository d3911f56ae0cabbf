"""How large a multilayer perceptron is, counted without building it; torch-free."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from recipebench.levels import Choice


def count_weights(in_features: int, hidden: Sequence[int], out_features: int, pieces: int = 1) -> int:
    """Count the weights of the linear layers, which are the multiply-adds of one sample too.

    Args:
        in_features: numbers in one input.
        hidden: units of each hidden layer.
        out_features: outputs of the last layer.
        pieces: linear pieces of each hidden unit (Maxout), 1 by default.

    Example:
        >>> count_weights(784, [128, 64], 10)
        109184
    """
    widths = [in_features, *hidden]
    inner = sum(a * b * pieces for a, b in itertools.pairwise(widths))
    return inner + widths[-1] * out_features


def count_parameters(in_features: int, hidden: Sequence[int], out_features: int, pieces: int = 1) -> int:
    """Count weights and biases of the linear layers; a PReLU's slope or batch norm's scales come on top.

    Args:
        in_features: numbers in one input.
        hidden: units of each hidden layer.
        out_features: outputs of the last layer.
        pieces: linear pieces of each hidden unit (Maxout), 1 by default.

    Example:
        >>> count_parameters(784, [128, 64], 10)
        109386
    """
    biases = sum(hidden) * pieces + out_features
    return count_weights(in_features, hidden, out_features, pieces) + biases


COUNTS: dict[str, Callable[..., int]] = {"parameters": count_parameters, "flops": count_weights}
"""What widths can be matched by; multiply-adds stand for floating point operations, two each."""


def matched_widths(
    in_features: int, hidden: Sequence[int], out_features: int, pieces: int = 1, match: str = "units"
) -> tuple[int, ...]:
    """Return hidden widths with which a Maxout network costs what one with a one-piece activation does.

    All widths are scaled by one factor, rounded, and at least 1. Of all factors, the one is taken with
    which the count comes closest to that of the network with `hidden` units and one piece; of two that
    come as close, the smaller.

    Args:
        in_features: numbers in one input.
        hidden: units of each hidden layer.
        out_features: outputs of the last layer.
        pieces: linear pieces of each hidden unit.
        match: `units` (the widths stay), `parameters` (weights and biases) or `flops` (multiply-adds).

    Raises:
        KeyError: there is no such way to match.

    Example:
        >>> matched_widths(784, [128, 64], 10, pieces=2, match="parameters")
        (67, 33)
        >>> count_parameters(784, [67, 33], 10, pieces=2)
        110018
    """
    if match == "units" or pieces == 1 or not hidden:
        return tuple(hidden)
    count = COUNTS[match]
    target = count(in_features, hidden, out_features)

    def scaled(factor: float) -> tuple[int, ...]:
        return tuple(max(1, round(width * factor)) for width in hidden)

    def cost(factor: float) -> int:
        return count(in_features, scaled(factor), out_features, pieces)

    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:  # down to neighboring floats
        low, high = (middle, high) if cost(middle) <= target else (low, middle)
    return scaled(low if target - cost(low) <= cost(high) - target else high)


def hidden_widths(
    in_features: int, hidden: Sequence[int], out_features: int, activation: Choice | None
) -> tuple[int, ...]:
    """Return the widths that a multilayer perceptron gets with an activation: `hidden`, or matched ones.

    Args:
        in_features: numbers in one input.
        hidden: units of each hidden layer, as they were asked for.
        out_features: outputs of the last layer.
        activation: what follows each hidden linear layer; None where there is none.

    Example:
        >>> hidden_widths(784, [128, 64], 10, Choice("relu", {}))
        (128, 64)
    """
    options = activation.parameters if activation else {}
    pieces, match = options.get("pieces", 1), options.get("match", "units")
    assert isinstance(pieces, int)
    return matched_widths(in_features, hidden, out_features, pieces, str(match))


def dropout_problem(probabilities: Sequence[float], hidden: Sequence[int]) -> str | None:
    """Say why `dropout_per_layer` does not fit a multilayer perceptron, and what does; None if it fits.

    Args:
        probabilities: of dropping, for the input and each hidden layer in turn.
        hidden: units of each hidden layer.

    Example:
        >>> dropout_problem([0.0, 0.5], hidden=[128, 64])
        'regularizer dropout_per_layer: p: expected 3 numbers (the input and 2 hidden layers), got 2.'
    """
    expected = 1 + len(hidden)
    if len(probabilities) == expected:
        return None
    layers = "layer" if len(hidden) == 1 else "layers"
    return (
        f"regularizer dropout_per_layer: p: expected {expected} number{'s' * (expected > 1)} "
        f"(the input and {len(hidden)} hidden {layers}), got {len(probabilities)}."
    )
