"""The optimizers that are compared: stock torch.optim, one factory a level."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import optim
from torch.nn import Parameter
from torch.optim import Optimizer

Parameters = Iterable[Parameter]


def sgd(parameters: Parameters, *, lr: float = 0.1, weight_decay: float = 0.0) -> Optimizer:
    """W <- W - lr * g, g the gradient of a minibatch: `torch.optim.SGD` (Robbins and Monro 1951)."""
    return optim.SGD(parameters, lr=lr, weight_decay=weight_decay)


def momentum(
    parameters: Parameters, *, lr: float = 0.05, momentum: float = 0.9, weight_decay: float = 0.0
) -> Optimizer:
    """V <- momentum * v + g; w <- w - lr * v: `torch.optim.SGD`, no factor (1 - momentum) (Polyak 1964)."""
    return optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)


def nesterov(
    parameters: Parameters, *, lr: float = 0.05, momentum: float = 0.9, weight_decay: float = 0.0
) -> Optimizer:
    """V <- momentum * v + g; w <- w - lr * (g + momentum * v): torch's form (Sutskever et al., ICML 2013)."""
    return optim.SGD(parameters, lr=lr, momentum=momentum, nesterov=True, weight_decay=weight_decay)


def adagrad(
    parameters: Parameters, *, lr: float = 0.01, eps: float = 1e-10, weight_decay: float = 0.0
) -> Optimizer:
    """S <- s + g²; w <- w - lr * g / (sqrt(s) + eps): `torch.optim.Adagrad` (Duchi et al., JMLR 2011)."""
    return optim.Adagrad(parameters, lr=lr, eps=eps, weight_decay=weight_decay)


def rmsprop(
    parameters: Parameters,
    *,
    lr: float = 1e-3,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Optimizer:
    """S <- alpha * s + (1 - alpha) * g²; w <- w - lr * g / (sqrt(s) + eps) (Tieleman and Hinton 2012)."""
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
    """RMSprop on a momentum average, both bias-corrected: `torch.optim.Adam` (Kingma and Ba, ICLR 2015)."""
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
    """Adam with decay beside the gradient: w <- (1 - lr * weight_decay) * w first (Loshchilov, ICLR 2019)."""
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
