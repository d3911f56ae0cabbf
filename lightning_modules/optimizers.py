"""The optimizers that are compared: stock torch.optim wherever torch has the method, one factory a level."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, optim
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


class WithVelocity(Optimizer):
    """An optimizer that keeps one velocity for each number, 0 at first; subclasses say how it moves.

    Args:
        parameters: the numbers to train, with gradients in `.grad`.
        lr: step size, per optimizer step.
        momentum: share of the old velocity that is kept.
        weight_decay: g + weight_decay * w takes the place of g, biases too.
    """

    def __init__(self, parameters: Parameters, lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every number that has a gradient.

        Args:
            closure: computes the loss and its gradients anew, where given.

        Returns:
            What `closure` returns, or None.
        """
        with torch.enable_grad():
            loss = closure() if closure else None
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is not None:
                    g = w.grad.add(w, alpha=group["weight_decay"]) if group["weight_decay"] else w.grad
                    state = self.state[w]
                    if not state:
                        state["velocity"] = torch.zeros_like(w)
                    self.move(w, g, state["velocity"], group["lr"], group["momentum"])
        return loss

    @abstractmethod
    def move(self, w: Tensor, g: Tensor, v: Tensor, lr: float, momentum: float) -> None:
        """Change the velocity `v` and the numbers `w` in place, `g` being their gradient."""


class AveragedMomentum(WithVelocity):
    """v <- momentum * v + (1 - momentum) * g; w <- w - lr * v, v = 0 at first and not corrected for it.

    References:
        Ng, Improving Deep Neural Networks, 2.6.
    """

    def move(self, w: Tensor, g: Tensor, v: Tensor, lr: float, momentum: float) -> None:
        """Average the gradients, and step against the average."""
        v.mul_(momentum).add_(g, alpha=1 - momentum)
        w.add_(v, alpha=-lr)


class VelocityMomentum(WithVelocity):
    """v <- momentum * v - lr * g; w <- w + v, v = 0 at first.

    References:
        Saito, Deep Learning from Scratch, optimizers.
    """

    def move(self, w: Tensor, g: Tensor, v: Tensor, lr: float, momentum: float) -> None:
        """Accelerate downhill, and move by the velocity."""
        v.mul_(momentum).add_(g, alpha=-lr)
        w.add_(v)


def momentum_averaged(
    parameters: Parameters, *, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.0
) -> Optimizer:
    """v <- momentum * v + (1 - momentum) * g; w <- w - lr * v: `momentum` at the rate lr * (1 - momentum).

    Under a steady gradient a step tends to lr * g, as sgd's. (torch's `dampening` is not the same: it
    leaves the first gradient whole.)

    Args:
        parameters: the numbers to train, with gradients in `.grad`.
        lr: step size, per optimizer step, 0.1 by default.
        momentum: Ng's beta, the share of the old mean that is kept, 0.9 by default.
        weight_decay: g + weight_decay * w takes the place of g, biases too; 0 by default.

    References:
        Ng, Improving Deep Neural Networks, 2.6.
    """
    return AveragedMomentum(parameters, lr, momentum, weight_decay)


def momentum_velocity(
    parameters: Parameters, *, lr: float = 0.05, momentum: float = 0.9, weight_decay: float = 0.0
) -> Optimizer:
    """v <- momentum * v - lr * g; w <- w + v: `momentum` as long as lr stays, another path once it changes.

    A lower rate slows down only what comes: the velocity goes on with the steps of the old rate.

    Args:
        parameters: the numbers to train, with gradients in `.grad`.
        lr: step size, per optimizer step, 0.05 by default.
        momentum: share of the old velocity that is kept, 0.9 by default.
        weight_decay: g + weight_decay * w takes the place of g, biases too; 0 by default.

    References:
        Saito, Deep Learning from Scratch, optimizers; Lee, Machine Learning, recipe of deep learning.
    """
    return VelocityMomentum(parameters, lr, momentum, weight_decay)


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
    "momentum_averaged": momentum_averaged,
    "momentum_velocity": momentum_velocity,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
}
"""Every optimizer by name: a factory of (parameters, **hyper-parameters)."""

SHIPPED = frozenset(OPTIMIZERS)
"""Those that come with the package, whose bits in packs the tests compare."""

ELEMENTWISE = set(OPTIMIZERS)
"""Optimizers whose step treats every number by itself, so that one step can serve many modules.

Of others than `SHIPPED` this is what their authors say: it is held against steps by themselves.
"""
