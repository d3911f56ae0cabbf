"""The optimizers that are compared: stock torch.optim, one factory a level."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import optim
from torch.nn import Parameter
from torch.optim import Optimizer

Parameters = Iterable[Parameter]


def sgd(parameters: Parameters, *, lr: float = 0.1, weight_decay: float = 0.0) -> Optimizer:
    """w <- w - lr * g, g the gradient of a minibatch's mean loss: `torch.optim.SGD`.

    Args:
        parameters: the numbers to train, with gradients in `.grad`.
        lr: step size, per optimizer step, 0.1 by default.
        weight_decay: g + weight_decay * w takes the place of g, biases too; 0 by default.

    References:
        Robbins and Monro, A Stochastic Approximation Method, 1951.
    """
    return optim.SGD(parameters, lr=lr, weight_decay=weight_decay)


def momentum(
    parameters: Parameters, *, lr: float = 0.05, momentum: float = 0.9, weight_decay: float = 0.0
) -> Optimizer:
    """v <- momentum * v + g; w <- w - lr * v, v = 0 at first: `torch.optim.SGD`.

    Torch's form has no factor (1 - momentum) before g: under a steady gradient a step tends to
    lr / (1 - momentum) * g, ten times sgd's at the same rate and momentum 0.9.

    Args:
        parameters: the numbers to train, with gradients in `.grad`.
        lr: step size, per optimizer step, 0.05 by default.
        momentum: share of the old velocity that is kept, 0.9 by default.
        weight_decay: g + weight_decay * w takes the place of g, biases too; 0 by default.

    References:
        Polyak, Some Methods of Speeding up the Convergence of Iteration Methods, 1964.
    """
    return optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)


def nesterov(
    parameters: Parameters, *, lr: float = 0.05, momentum: float = 0.9, weight_decay: float = 0.0
) -> Optimizer:
    """v <- momentum * v + g; w <- w - lr * (g + momentum * v): `torch.optim.SGD(nesterov=True)`.

    Args:
        parameters: the numbers to train, with gradients in `.grad`.
        lr: step size, per optimizer step, 0.05 by default.
        momentum: share of the old velocity that is kept, 0.9 by default.
        weight_decay: g + weight_decay * w takes the place of g, biases too; 0 by default.

    References:
        Nesterov 1983; Sutskever et al., On the Importance of Initialization and Momentum, ICML 2013.
    """
    return optim.SGD(parameters, lr=lr, momentum=momentum, nesterov=True, weight_decay=weight_decay)


def adagrad(
    parameters: Parameters, *, lr: float = 0.01, eps: float = 1e-10, weight_decay: float = 0.0
) -> Optimizer:
    """s <- s + g²; w <- w - lr * g / (sqrt(s) + eps), s = 0 at first: `torch.optim.Adagrad`.

    Args:
        parameters: the numbers to train, with gradients in `.grad`.
        lr: step size, per optimizer step, 0.01 by default.
        eps: added to the root, 1e-10 by default.
        weight_decay: g + weight_decay * w takes the place of g, biases too; 0 by default.

    References:
        Duchi, Hazan and Singer, Adaptive Subgradient Methods, JMLR 2011.
    """
    return optim.Adagrad(parameters, lr=lr, eps=eps, weight_decay=weight_decay)


def rmsprop(
    parameters: Parameters,
    *,
    lr: float = 1e-3,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Optimizer:
    """s <- alpha * s + (1 - alpha) * g²; w <- w - lr * g / (sqrt(s) + eps): `torch.optim.RMSprop`.

    s = 0 at first and is not corrected for it, so the first steps are up to 1 / sqrt(1 - alpha) = 10
    times as long as later ones.

    Args:
        parameters: the numbers to train, with gradients in `.grad`.
        lr: step size, per optimizer step, 0.001 by default.
        alpha: decay rate of the running mean s, 0.99 by default.
        eps: added to the root, 1e-8 by default.
        weight_decay: g + weight_decay * w takes the place of g, biases too; 0 by default.

    References:
        Tieleman and Hinton, Neural Networks for Machine Learning, lecture 6.5, 2012.
    """
    return optim.RMSprop(parameters, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay)


def adam(
    parameters: Parameters,
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Optimizer:
    """RMSprop on a running mean of gradients, both means corrected for their start: `torch.optim.Adam`.

    In step t: v <- beta1 * v + (1 - beta1) * g; s <- beta2 * s + (1 - beta2) * g²;
    w <- w - lr * v / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + eps).

    Args:
        parameters: the numbers to train, with gradients in `.grad`.
        lr: step size, per optimizer step, 0.001 by default.
        beta1: decay rate of the mean of gradients, 0.9 by default.
        beta2: decay rate of the mean of squared gradients, 0.999 by default.
        eps: added to the root, 1e-8 by default.
        weight_decay: g + weight_decay * w takes the place of g, biases too; 0 by default.

    References:
        Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.
    """
    return optim.Adam(parameters, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)


def adamw(
    parameters: Parameters,
    *,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.01,
) -> Optimizer:
    """w <- (1 - lr * weight_decay) * w, then Adam's step: `torch.optim.AdamW`.

    Args:
        parameters: the numbers to train, with gradients in `.grad`.
        lr: step size, per optimizer step, 0.001 by default.
        beta1: decay rate of the mean of gradients, 0.9 by default.
        beta2: decay rate of the mean of squared gradients, 0.999 by default.
        eps: added to the root, 1e-8 by default.
        weight_decay: decay of weights and biases, per step and unit of lr, 0.01 by default.

    References:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
    """
    return optim.AdamW(parameters, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
}
"""Every optimizer by name: a factory of (parameters, **hyper-parameters)."""

ELEMENTWISE = frozenset(OPTIMIZERS)
"""Optimizers whose step treats every number by itself, so that one step can serve many modules."""
