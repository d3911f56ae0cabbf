"""The ensemble of packs in JAX: perceptrons under `vmap`, an epoch as one compiled `scan`."""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np

Arrays = dict[str, Any]
"""Weights (members of an order, orders, ...) by name."""

PRECISIONS = {"32-true": "highest", "tf32": "tensorfloat32"}
"""How JAX calls the precision of matrix products."""


class _Jax:
    """JAX, imported when it is first needed: this module can be read where it is not installed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # tools that look at this module ask for such names
            raise AttributeError(name)
        return getattr(importlib.import_module("jax"), name)


jax = _Jax()

ADAM = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
SGD = {"lr": 0.1}


class Ensemble:
    """K perceptrons with relu and cross-entropy, trained on one data set in several orders.

    Member k takes order k modulo the number of orders, so that K is a multiple of it. Orders share their
    batches, which lets the compiler see one product for all members of an order.

    Args:
        layers: weights (K, out, in) and biases (K, out) of each layer, in turn.
        images: (samples, features) uint8.
        labels: (samples,) int64.
        orders: how many orders there are.
        scale: what images are divided by.
        optimizer: `sgd` or `adam`, at the rates of `SGD` and `ADAM`.
        precision: a key of `PRECISIONS`.
        batch_size: samples in a step.
    """

    def __init__(
        self,
        layers: Sequence[tuple[np.ndarray, np.ndarray]],
        images: np.ndarray,
        labels: np.ndarray,
        *,
        orders: int,
        scale: float,
        optimizer: str,
        precision: str,
        batch_size: int,
    ) -> None:
        self._images, self._labels = jax.numpy.asarray(images), jax.numpy.asarray(labels)
        self._scale, self._batch_size, self._orders = scale, batch_size, orders
        self.weights: list[tuple[Any, Any]] = [
            (_by_order(w.transpose(0, 2, 1), orders), _by_order(b, orders)) for w, b in layers
        ]
        zeros = jax.tree.map(jax.numpy.zeros_like, self.weights)
        self._state: Any = (jax.numpy.zeros(()), zeros, jax.tree.map(jax.numpy.zeros_like, zeros))
        update = {"sgd": _sgd, "adam": _adam}[optimizer]
        self._scan = jax.jit(partial(self._steps, update), donate_argnums=(0, 1))
        self._precision = PRECISIONS[precision]

    def epoch(self, indices: np.ndarray) -> np.ndarray:
        """Train an epoch; return the mean losses, (steps, K).

        Args:
            indices: (orders, samples) of the training samples.
        """
        whole = indices.shape[1] // self._batch_size * self._batch_size
        losses = []
        with jax.default_matmul_precision(self._precision):
            for part in (indices[:, :whole], indices[:, whole:]):
                if part.shape[1]:
                    size = min(self._batch_size, part.shape[1])
                    steps = jax.numpy.asarray(part.reshape(self._orders, -1, size).swapaxes(0, 1))
                    self.weights, self._state, found = self._scan(self.weights, self._state, steps)
                    losses.append(found)
        return np.concatenate([np.asarray(each).reshape(len(each), -1) for each in losses])

    def _steps(self, update: Callable[..., Any], weights: Any, state: Any, steps: Any) -> Any:
        def step(carried: Any, chosen: Any) -> Any:
            old, kept = carried
            x = self._images[chosen].astype(jax.numpy.float32) / self._scale
            (_, losses), grads = jax.value_and_grad(_total, has_aux=True)(old, x, self._labels[chosen])
            return update(old, grads, kept), losses

        (weights, state), losses = jax.lax.scan(step, (weights, state), steps)
        return weights, state, losses


def _by_order(array: np.ndarray, orders: int) -> Any:
    """(K, ...) to (members of an order, orders, ...)."""
    return jax.numpy.asarray(array.reshape(-1, orders, *array.shape[1:]))


def _loss(layers: Any, x: Any, y: Any) -> Any:
    """Return the mean cross-entropy of one perceptron on one batch."""
    *hidden, (last, bias) = layers
    for weight, shift in hidden:
        x = jax.nn.relu(x @ weight + shift)
    chosen = jax.numpy.take_along_axis(jax.nn.log_softmax(x @ last + bias), y[:, None], 1)
    return -chosen.mean()


def _total(layers: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """Return the sum over all members, whose gradient is that of each, and their losses."""
    of_orders = jax.vmap(_loss)
    losses = jax.vmap(of_orders, in_axes=(0, None, None))(layers, x, y)
    return losses.sum(), losses


def _sgd(weights: Any, grads: Any, state: Any) -> Any:
    return jax.tree.map(lambda w, g: w - SGD["lr"] * g, weights, grads), state


def _adam(weights: Any, grads: Any, state: Any) -> Any:
    time_, means, squares = state
    b1, b2 = ADAM["beta1"], ADAM["beta2"]
    time_ = time_ + 1
    means = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, means, grads)
    squares = jax.tree.map(lambda s, g: b2 * s + (1 - b2) * g * g, squares, grads)

    def moved(w: Any, m: Any, s: Any) -> Any:
        root = jax.numpy.sqrt(s / (1 - b2**time_)) + ADAM["eps"]
        return w - ADAM["lr"] * (m / (1 - b1**time_)) / root

    return jax.tree.map(moved, weights, means, squares), (time_, means, squares)


def timed_epochs(ensemble: Ensemble, orders: Sequence[np.ndarray]) -> tuple[list[float], np.ndarray]:
    """Train an epoch for each order; return seconds a epoch, compilation in the first, and all losses."""
    seconds, losses = [], []
    for indices in orders:
        start = time.perf_counter()
        losses.append(ensemble.epoch(indices))  # on this machine: it has waited for the device
        seconds.append(time.perf_counter() - start)
    return seconds, np.concatenate(losses)


def versions() -> Mapping[str, str]:
    """Return JAX's version and the devices that it found."""
    found = sorted({device.device_kind for device in jax.devices()})
    return {"jax": metadata.version("jax"), "devices": ", ".join(itertools.islice(found, 4))}
