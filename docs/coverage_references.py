"""The references of the coverage table: numpy, scikit-learn, plain torch loops and closed forms.

From the project come what a run starts from (the split, the order of the samples, the initial weights) and
nothing that it computes: layers, losses, penalties, steps and scores are those of other libraries, or
written out here. Exceptions say so.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from coverage_loops import (
    Array,
    Fitted,
    batches_of,
    fitted,
    inputs_of,
    opened,
    optimizer_of,
    options_of,
    plain,
    split_of,
    start_of,
    started,
    tensors_of,
)
from coverage_rows import Row
from torch import nn

from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.training import train
from recipebench.datamodules.catalog import DATA
from recipebench.lightning_modules.model_catalog import MODELS

RUNS = 10
"""Independent runs where start and order are not the project's."""

PROBED = 1000
"""Samples that probes look at: the first of the training samples."""


class Spread(NamedTuple):
    """The mean of independent runs, their standard deviation and their number."""

    value: float
    sd: float
    runs: int


Compute = Callable[[Sequence[Cell], Row], "float | Spread"]
_F = TypeVar("_F", bound=Callable[..., Any])

LIBRARIES: dict[str, tuple[str, ...]] = {}
"""By function, the distributions that it computes with."""


def computed_with(*libraries: str) -> Callable[[_F], _F]:
    """Register the distributions that a reference is computed with; none for a closed form."""

    def register(function: _F) -> _F:
        LIBRARIES[function.__name__] = libraries
        return function

    return register


def versions(name: str) -> dict[str, str]:
    """Return the installed versions of what a reference is computed with."""
    return {library: importlib.metadata.version(library) for library in LIBRARIES[name]}


# Models with one right answer


@computed_with("scikit-learn")
def perceptron_of_scikit_learn(cells: Sequence[Cell], row: Row) -> float:
    """Return the test accuracy of a perceptron that sees one sample after the other."""
    from sklearn.linear_model import Perceptron  # type: ignore[import-untyped]

    (cell,) = cells
    x, y = inputs_of(cell), opened(cell).train.targets.numpy()
    model = Perceptron(shuffle=False, tol=None)
    for epoch in range(1, cell.epochs + 1):
        order = opened(cell).order(epoch).numpy()
        model.partial_fit(x[order], y[order], classes=[0, 1])
    return float(model.score(*split_of(cell, "test")))


@computed_with("numpy")
def least_squares(cells: Sequence[Cell], row: Row) -> float:
    """Return the test mean squared error of the least squares."""
    (x, y), (test_x, test_y) = (split_of(cells[0], split) for split in ("train", "test"))
    return float(((_linear_fit(x, y)(test_x) - test_y) ** 2).mean())


def _linear_fit(x: Array, y: Array) -> Callable[[Array], Array]:
    """Return the shortest of the linear functions with the least squared error."""
    center, level = x.mean(0), y.mean(0)
    weights = np.linalg.lstsq(x - center, y - level, rcond=None)[0]
    return lambda new: (new - center) @ weights + level


@computed_with("numpy")
def polynomial_test_error(cells: Sequence[Cell], row: Row) -> float:
    """Return the test mean squared error of a polynomial."""
    return _polynomial_error(cells[0])


@computed_with("numpy")
def ratio_of_polynomials(cells: Sequence[Cell], row: Row) -> float:
    """Return the test error of the first cell's polynomial over that of the second's."""
    first, second = (_polynomial_error(cell) for cell in cells)
    return first / second


def _polynomial_error(cell: Cell) -> float:
    (x, y), (test_x, test_y) = (split_of(cell, split) for split in ("train", "test"))
    fitted = np.polynomial.Polynomial.fit(x[:, 0], y[:, 0], options_of(cell.model)["degree"])
    return float(((fitted(test_x[:, 0]) - test_y[:, 0]) ** 2).mean())


@computed_with("scikit-learn")
def least_squares_on_signs(cells: Sequence[Cell], row: Row) -> float:
    """Return the test accuracy of the sign of a linear regression on +1 and -1."""
    from sklearn.linear_model import LinearRegression

    (x, y), (test_x, test_y) = (split_of(cells[0], split) for split in ("train", "test"))
    scores = LinearRegression().fit(x, 2 * y - 1).predict(test_x)
    return float(((scores > 0) == test_y).mean())


@computed_with("numpy")
def bayes_rule_on_counts(cells: Sequence[Cell], row: Row) -> float:
    """Return the test log loss of P(box | color) ~ P(color | box) P(box), all by counting."""
    (x, y), (test_x, test_y) = (split_of(cells[0], split) for split in ("train", "test"))
    counts = np.array([[(x[y == box].argmax(1) == color).sum() for color in (0, 1)] for box in (0, 1)])
    posterior = counts / counts.sum(0)  # P(color | box) P(box) is the share of both together
    return float(-np.log(posterior[test_y, test_x.argmax(1)]).mean())


@computed_with("scipy")
def gaussian_densities(cells: Sequence[Cell], row: Row) -> float:
    """Return the test log loss of Bayes' rule with a Gaussian for each class."""
    from scipy.special import log_softmax  # type: ignore[import-untyped]
    from scipy.stats import multivariate_normal  # type: ignore[import-untyped]

    (cell,) = cells
    options = options_of(cell.model)
    (x, y), (test_x, test_y) = (split_of(cell, split) for split in ("train", "test"))
    classes = range(y.max() + 1)
    priors = [(y == c).mean() for c in classes]
    own = [np.cov(x[y == c].T, bias=True) for c in classes]
    pooled = sum(share * covariance for share, covariance in zip(priors, own, strict=True))
    used = [pooled] * len(own) if options["covariance"] == "shared" else own
    ridge = options["ridge"] * np.eye(x.shape[1])
    joint = [
        multivariate_normal(x[y == c].mean(0), used[c] + ridge).logpdf(test_x) + np.log(priors[c])
        for c in classes
    ]
    return float(-log_softmax(np.stack(joint, 1), 1)[np.arange(len(test_y)), test_y].mean())


@computed_with("scikit-learn")
def gaussian_naive_bayes(cells: Sequence[Cell], row: Row) -> float:
    """Return the test accuracy of GaussianNB."""
    from sklearn.naive_bayes import GaussianNB  # type: ignore[import-untyped]

    return float(GaussianNB().fit(*split_of(cells[0], "train")).score(*split_of(cells[0], "test")))


@computed_with("scikit-learn")
def bernoulli_naive_bayes(cells: Sequence[Cell], row: Row) -> float:
    """Return the test accuracy of BernoulliNB."""
    from sklearn.naive_bayes import BernoulliNB

    options = options_of(cells[0].model)
    model = BernoulliNB(alpha=options["alpha"], binarize=options["threshold"])
    return float(model.fit(*split_of(cells[0], "train")).score(*split_of(cells[0], "test")))


@computed_with("numpy")
def one_hot_least_squares(cells: Sequence[Cell], row: Row) -> float:
    """Return the test accuracy of least squares on one-hot classes."""
    (x, y), (test_x, test_y) = (split_of(cells[0], split) for split in ("train", "test"))
    return float((_linear_fit(x, np.eye(y.max() + 1)[y])(test_x).argmax(1) == test_y).mean())


@computed_with("scikit-learn")
def five_neighbors(cells: Sequence[Cell], row: Row) -> float:
    """Return the test accuracy of KNeighborsClassifier."""
    from sklearn.neighbors import KNeighborsClassifier  # type: ignore[import-untyped]

    model = KNeighborsClassifier(options_of(cells[0].model)["k"]).fit(*split_of(cells[0], "train"))
    return float(model.score(*split_of(cells[0], "test")))


@computed_with("pandas")
def averages_of_pandas(cells: Sequence[Cell], row: Row) -> float:
    """Return the test mean squared error of the last exponentially weighted mean of every window."""
    x, y = split_of(cells[0], "test")
    alpha = 1 - options_of(cells[0].model)["beta"]
    means = pd.DataFrame(x.T).ewm(alpha=alpha, adjust=True).mean().iloc[-1].to_numpy()
    return float(((means - y[:, 0]) ** 2).mean())


@computed_with("scikit-learn")
def logistic_regression_of_scikit_learn(cells: Sequence[Cell], row: Row) -> float:
    """Return the test log loss of LogisticRegression; C = 1 / (samples · strength)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss  # type: ignore[import-untyped]

    (cell,) = cells
    (x, y), (test_x, test_y) = (split_of(cell, split) for split in ("train", "test"))
    c = 1 / (len(x) * options_of(cell.model)["strength"])
    model = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(x, y)
    return float(log_loss(test_y, model.predict_proba(test_x)))


@computed_with("numpy")
def entropy_of_the_classes(cells: Sequence[Cell], row: Row) -> float:
    """Return the entropy of the training classes, in nats."""
    shares = np.bincount(split_of(cells[0], "train")[1]) / len(split_of(cells[0], "train")[1])
    return float(-(shares * np.log(shares)).sum())


# Closed forms


@computed_with()
def lenet_5(cells: Sequence[Cell], row: Row) -> float:
    """Return the accuracy of LeNet-5 (LeCun, Bottou, Bengio and Haffner 1998, figure 9)."""
    return 1 - 0.0095


@computed_with()
def every_ball_caught(cells: Sequence[Cell], row: Row) -> float:
    """Return the return of a game in which the ball is caught."""
    return 1.0


@computed_with()
def toy_in_closed_form(cells: Sequence[Cell], row: Row) -> float:
    """Return |w - 10|: every step on (w - 10)² takes the factor 1 - 2 lr."""
    return float(10 * (1 - 2 * _rate(cells[0])) ** _steps(cells[0]))


@computed_with()
def bowl_in_closed_form(cells: Sequence[Cell], row: Row) -> float:
    """Return |(u, v)|: every step on u² / c + v² takes the factors 1 - 2 lr / c and 1 - 2 lr."""
    rate, steps = _rate(cells[0]), _steps(cells[0])
    u, v = -7 * (1 - 2 * rate / options_of(cells[0].data)["condition"]) ** steps, 2 * (1 - 2 * rate) ** steps
    return math.hypot(u, v)


@computed_with()
def root_of_two(cells: Sequence[Cell], row: Row) -> float:
    """Return the root of 2/n over 1/n."""
    return math.sqrt(2)


@computed_with()
def rates_by_formula(cells: Sequence[Cell], row: Row) -> float:
    """Return the mean rate of epoch 12 of inverse time, exponential, root, staircase, manual and none."""
    return 0.1 * (1 / (1 + 0.3 * 12) + 0.8**12 + 12**-0.5 + 0.5 ** (11 // 4) + 0.1**2 + 1) / 6


@computed_with()
def nine_tenths_of_mnist(cells: Sequence[Cell], row: Row) -> float:
    """Return the training images that are left beside the validation images."""
    return 60_000 - 60_000 // 10


@computed_with("numpy")
def mean_of_a_geometric_grid(cells: Sequence[Cell], row: Row) -> float:
    """Return the mean of five rates from 0.0001 to 1, spaced by factors."""
    return float(np.geomspace(1e-4, 1, 5).mean())


@computed_with()
def steps_of_short_batches(cells: Sequence[Cell], row: Row) -> float:
    """Return the steps that only a kept short batch gives: one an epoch."""
    return 15 * (math.ceil(1294 / 100) - 1294 // 100)


@computed_with()
def bytes_by_hand(cells: Sequence[Cell], row: Row) -> float:
    """Return the bytes that a sample leaves in 784-128-64-10: float32 numbers, and its class as int64."""
    return 4 * (784 + 128 + 64 + 10) + 8


@computed_with()
def rows_of_the_card(cells: Sequence[Cell], row: Row) -> float:
    """Return the cells of the full card of the suite quick."""
    return 4 * 2 * 5 * 5 * 2 * 3


def _rate(cell: Cell) -> float:
    assert cell.optimizer is not None
    return float(options_of(cell.optimizer)["lr"])


def _steps(cell: Cell) -> int:
    return cell.epochs * int(options_of(cell.data)["steps_per_epoch"])


# Recurrences in numpy


@computed_with("numpy")
def walk_on_the_bowl(cells: Sequence[Cell], row: Row) -> float:
    """Return where an optimizer stands on u² / condition + v² after a walk from (-7, 2)."""
    (cell,) = cells
    assert cell.optimizer is not None
    curvature = 2 / np.array([options_of(cell.data)["condition"], 1.0])
    step = RECURRENCES[cell.optimizer.name](**options_of(cell.optimizer))
    w = np.array([-7.0, 2.0])
    for t in range(1, _steps(cell) + 1):
        w = w - step(curvature * w, t)
    return float(np.linalg.norm(w))


Recurrence = Callable[[Array, int], Array]


def _averaged(lr: float, momentum: float) -> Recurrence:
    v = np.zeros(2)

    def step(g: Array, t: int) -> Array:
        nonlocal v
        v = momentum * v + (1 - momentum) * g
        return lr * v

    return step


def _nesterov(lr: float, momentum: float) -> Recurrence:
    v = np.zeros(2)

    def step(g: Array, t: int) -> Array:
        nonlocal v
        v = momentum * v + g
        return lr * (g + momentum * v)

    return step


def _adagrad(lr: float, eps: float) -> Recurrence:
    s = np.zeros(2)

    def step(g: Array, t: int) -> Array:
        nonlocal s
        s = s + g**2
        return lr * g / (np.sqrt(s) + eps)

    return step


def _rmsprop(lr: float, alpha: float, eps: float) -> Recurrence:
    s = np.zeros(2)

    def step(g: Array, t: int) -> Array:
        nonlocal s
        s = alpha * s + (1 - alpha) * g**2
        return lr * g / (np.sqrt(s) + eps)

    return step


def _adam(lr: float, beta1: float, beta2: float, eps: float) -> Recurrence:
    v, s = np.zeros(2), np.zeros(2)

    def step(g: Array, t: int) -> Array:
        nonlocal v, s
        v, s = beta1 * v + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2
        return lr * v / (1 - beta1**t) / (np.sqrt(s / (1 - beta2**t)) + eps)

    return step


RECURRENCES: dict[str, Callable[..., Recurrence]] = {
    "momentum_averaged": _averaged,
    "nesterov": _nesterov,
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,
    "adam": _adam,
}
"""The update rules as the notes write them, by the name of the level."""


@computed_with("numpy")
def walk_from_the_saddle(cells: Sequence[Cell], row: Row) -> float:
    """Return the distance to (0, ±1) of gradient descent on x² / 2 + y⁴ / 4 - y² / 2."""
    x, y = opened(cells[0]).surface.start.tolist()
    rate = _rate(cells[0])
    for _ in range(_steps(cells[0])):
        x, y = x - rate * x, y - rate * (y**3 - y)
    return math.hypot(x, abs(y) - 1)


@computed_with("numpy")
def logistic_regression_in_numpy(cells: Sequence[Cell], row: Row) -> float:
    """Return the test loss of steps down (1/n) Xᵀ(f - y)."""
    (cell,) = cells
    x, y = inputs_of(cell), opened(cell).train.targets.numpy()
    weight, bias = (parameter.ravel() for parameter in start_of(cell))
    for epoch in range(1, cell.epochs + 1):
        for rows in batches_of(cell, epoch):
            error = 1 / (1 + np.exp(-(x[rows] @ weight + bias))) - y[rows]
            weight = weight - _rate(cell) * x[rows].T @ error / len(rows)
            bias = bias - _rate(cell) * error.mean()
    test_x, test_y = split_of(cell, "test")
    return float(np.logaddexp(0, (1 - 2 * test_y) * (test_x @ weight + bias)).mean())


@computed_with("numpy")
def softmax_regression_in_numpy(cells: Sequence[Cell], row: Row) -> float:
    """Return the test loss of steps down (1/n) (p - t)ᵀ X."""
    (cell,) = cells
    x, y = inputs_of(cell).reshape(-1, opened(cell).in_features), opened(cell).train.targets.numpy()
    weight, bias = start_of(cell)
    for epoch in range(1, cell.epochs + 1):
        for rows in batches_of(cell, epoch):
            error = _softmax(x[rows] @ weight.T + bias)
            error[np.arange(len(rows)), y[rows]] -= 1
            weight = weight - _rate(cell) * error.T @ x[rows] / len(rows)
            bias = bias - _rate(cell) * error.mean(0)
    test_x, test_y = split_of(cell, "test")
    return _cross_entropy(test_x @ weight.T + bias, test_y)


@computed_with("numpy")
def first_overflow(cells: Sequence[Cell], row: Row) -> float:
    """Return the first step with a loss that is not finite, softmax taken literally in float32."""
    (cell,) = cells
    x, y = inputs_of(cell).astype(np.float32), opened(cell).train.targets.numpy()
    weight, bias = (parameter.astype(np.float32) for parameter in start_of(cell))
    rate = np.float32(_rate(cell))
    batches = itertools.chain.from_iterable(batches_of(cell, epoch) for epoch in range(1, cell.epochs + 1))
    with np.errstate(all="ignore"):
        for step, rows in enumerate(batches, start=1):
            exponentials = np.exp(x[rows] @ weight.T + bias)
            error = exponentials / exponentials.sum(1, keepdims=True)
            if not np.isfinite(np.log(error[np.arange(len(rows)), y[rows]])).all():
                return step
            error[np.arange(len(rows)), y[rows]] -= 1
            weight = weight - rate * (error.T @ x[rows] / np.float32(len(rows)))
            bias = bias - rate * error.mean(0)
    raise AssertionError(f"{cell.id}: no loss was infinite.")


@computed_with("numpy")
def power_of_the_scale(cells: Sequence[Cell], row: Row) -> float:
    """Return the test loss of scale^(depth - 1) W x: all layers but the last multiply by the scale."""
    options = options_of(cells[0].model)
    weight, bias = start_of(cells[0])[-2:]
    x, y = split_of(cells[0], "test")
    return _cross_entropy(options["scale"] ** (options["depth"] - 1) * x @ weight.T + bias, y)


@computed_with("numpy")
def norm_of_differences(cells: Sequence[Cell], row: Row) -> float:
    """Return the norm of [J(W + ε) - J(W - ε)] / 2ε for every entry of the output layer's W."""
    hidden, y, parameters = _forward(cells[0], np.tanh)
    weight, bias = parameters[-2:]
    epsilon, differences = 1e-5, []
    for place in np.ndindex(weight.shape):
        ends = []
        for sign in (1, -1):
            moved = weight.copy()
            moved[place] += sign * epsilon
            ends.append(_cross_entropy(hidden[-1] @ moved.T + bias, y))
        differences.append((ends[0] - ends[1]) / (2 * epsilon))
    return float(np.linalg.norm(differences))


@computed_with("numpy")
def decades_of_the_chain_rule(cells: Sequence[Cell], row: Row) -> float:
    """Return log10 of the norm of dJ/dW of the first layer over that of the last, for sigmoids."""
    hidden, y, parameters = _forward(cells[0], lambda z: 1 / (1 + np.exp(-z)))
    weights, biases = parameters[::2], parameters[1::2]
    back = _softmax(hidden[-1] @ weights[-1].T + biases[-1])
    back[np.arange(len(y)), y] -= 1
    back /= len(y)
    norms = []
    for weight, a in zip(reversed(weights), reversed(hidden), strict=True):
        norms.append(float(np.linalg.norm(back.T @ a)))
        back = back @ weight * a * (1 - a)
    return math.log10(norms[-1] / norms[0])


def _forward(cell: Cell, activation: Callable[[Array], Array]) -> tuple[list[Array], Array, list[Array]]:
    """Return what every layer is fed, the classes and the weights, on the samples that probes look at."""
    x, y = split_of(cell, "train")
    parameters, fed = start_of(cell), [x[:PROBED]]
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        fed.append(activation(fed[-1] @ weight.T + bias))
    return fed, y[:PROBED], parameters


def _softmax(outputs: Array) -> Array:
    exponentials = np.exp(outputs - outputs.max(1, keepdims=True))
    normalized: Array = exponentials / exponentials.sum(1, keepdims=True)
    return normalized


def _cross_entropy(outputs: Array, y: Array) -> float:
    return float(-np.log(_softmax(outputs)[np.arange(len(y)), y]).mean())


# Plain torch


@computed_with("torch")
def network(cells: Sequence[Cell], row: Row) -> float:
    """Return the number of a network that was trained by a plain loop."""
    assert isinstance(row.column, str)
    return fitted(cells[0]).score(row.column)


@computed_with("torch")
def mean_of_networks(cells: Sequence[Cell], row: Row) -> float:
    """Return the mean of that number over several networks."""
    return statistics.fmean(network([cell], row) for cell in cells)


@computed_with("torch")
def variance_of_a_network(cells: Sequence[Cell], row: Row) -> float:
    """Return the validation error less the training error."""
    done = fitted(cells[0])
    return done.score("train_accuracy") - done.score("validation_accuracy")


@computed_with("torch")
def rate_with_the_lowest_loss(cells: Sequence[Cell], row: Row) -> float:
    """Return the rate of the cell with the lowest validation loss."""
    losses = [network([cell], row) for cell in cells]
    return _rate(cells[int(np.argmin(losses))])


@computed_with("torch")
def ratio_of_ranges(cells: Sequence[Cell], row: Row) -> float:
    """Return the range over the rates, at the first cell's batch size, over that over batch sizes."""
    found = {(_rate(cell), cell.batch_size): network([cell], row) for cell in cells}
    middle = next(size for _, size in found)
    rate = next(rate for rate, size in found if size != middle)
    by_rate = [value for (_, size), value in found.items() if size == middle]
    by_size = [value for (other, _), value in found.items() if other == rate]
    return (max(by_rate) - min(by_rate)) / (max(by_size) - min(by_size))


@computed_with("torch")
def epoch_of_early_stopping(cells: Sequence[Cell], row: Row) -> float:
    """Return the first epoch that has had no lower validation loss for `patience` epochs."""
    assert cells[0].regularizer is not None
    patience = options_of(cells[0].regularizer)["patience"]
    losses = fitted(cells[0]).validation_losses
    for epoch in range(1, len(losses) + 1):
        if epoch - (1 + int(np.argmin(losses[:epoch]))) >= patience:
            return epoch
    return len(losses)


@computed_with("torch")
def epoch_of_convergence(cells: Sequence[Cell], row: Row) -> float:
    """Return the first epoch whose training loss differs by less than `tolerance` from the one before."""
    assert cells[0].regularizer is not None
    tolerance = options_of(cells[0].regularizer)["tolerance"]
    losses = fitted(cells[0]).fit_losses
    for epoch, (before, after) in enumerate(itertools.pairwise(losses), start=2):
        if abs(after - before) < tolerance * before:
            return epoch
    return len(losses)


@computed_with("torch")
def transferred_network(cells: Sequence[Cell], row: Row) -> float:
    """Return the test accuracy of filters trained on other images and kept, under new linear layers."""
    (cell,) = cells
    options = options_of(cell.model)
    source, epochs = options.pop("source"), options.pop("pretrain_epochs")
    options.pop("freeze")
    first = _changed(cell, data=str(source), model={"cnn": options}, epochs=epochs, train_samples=None)
    second = _changed(cell, data=cell.data.name, model={"cnn": options}, epochs=cell.epochs)
    teacher = fitted(first)
    net = started(second)
    for mine, theirs in zip(net, teacher.network, strict=True):
        if isinstance(mine, nn.Conv2d):
            mine.load_state_dict(theirs.state_dict())
            mine.requires_grad_(False)
    return fitted(second, net).score("test_accuracy")


def _changed(cell: Cell, *, data: str, model: dict[str, Any], **others: Any) -> Cell:
    """Return a cell with other data and another model."""
    return dataclasses.replace(cell, data=DATA.choose(data), model=MODELS.choose(model), **others)


@computed_with("torch")
def recipe_of_torch(cells: Sequence[Cell], row: Row) -> float:
    """Return the test mean squared error of the recipe of every PyTorch tutorial."""
    (cell,) = cells
    x, y = tensors_of(cell, "train")
    dataset = torch.utils.data.TensorDataset(x, y)
    net = started(cell)
    criterion = nn.MSELoss(reduction="mean")
    optimizer = torch.optim.SGD(net.parameters(), lr=_rate(cell), momentum=0.9)
    for epoch in range(1, cell.epochs + 1):
        order = opened(cell).order(epoch).tolist()
        loader = torch.utils.data.DataLoader(dataset, batch_size=cell.batch_size, sampler=order)
        net.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            criterion(net(inputs), targets).backward()
            optimizer.step()
    net.eval()
    test_x, test_y = tensors_of(cell, "test", True)
    with torch.no_grad():
        return float(criterion(net(test_x).double(), test_y.double()))


@computed_with("torch", "scikit-learn")
def accuracy_of_exported_weights(cells: Sequence[Cell], row: Row) -> float:
    """Train a cell again, as the project does, and score its weights outside of it."""
    from sklearn.metrics import accuracy_score

    (cell,) = cells
    weights = list(train([cell], None)[0].track.module.parameters())
    layers: list[nn.Module] = [nn.Flatten()]
    for weight, bias in zip(weights[::2], weights[1::2], strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": bias})
        layers += [linear, nn.ReLU()]
    x, y = tensors_of(cell, "test", True)
    with torch.no_grad():
        return float(accuracy_score(y, nn.Sequential(*layers[:-1])(x).argmax(1)))


@computed_with("torch", "numpy")
def development_kit(cells: Sequence[Cell], row: Row) -> float:
    """Train a detector again, as the project does, and score its boxes as PASCAL VOC does."""
    (cell,) = cells
    model: Any = train([cell], None)[0].track.module.eval()
    data = opened(cell)
    found, truth = [], []
    for image, i in enumerate(data.test.indices):
        (detected,) = model.predict(data.float_inputs(data.test.inputs[i : i + 1]))
        boxes, labels, scores = (detected[name].numpy() for name in ("boxes", "labels", "scores"))
        found += [(image, int(c), float(s), box) for c, s, box in zip(labels, scores, boxes, strict=True)]
        truth += [(image, int(row[4]), row[:4].numpy()) for row in data.test.targets[i] if row[4] >= 0]
    classes = sorted({label for _, label, _ in truth})
    return statistics.fmean(
        _voc([f for f in found if f[1] == c], [t for t in truth if t[1] == c]) for c in classes
    )


def _voc(found: list[tuple[int, int, float, Array]], truth: list[tuple[int, int, Array]]) -> float:
    """Return the area under the envelope of precision over recall, sentinels and all (kit of 2010)."""
    claimed, right = set(), []
    for image, _, _, box in sorted(found, key=lambda f: -f[2]):
        overlaps = [(_overlap(box, true), k) for k, (i, _, true) in enumerate(truth) if i == image]
        best, owner = max(overlaps, default=(0.0, -1))
        right.append(best >= 0.5 and owner not in claimed)
        if right[-1]:
            claimed.add(owner)
    hits = np.cumsum(right)
    recall = np.concatenate([[0.0], hits / len(truth), [1.0]])
    precision = np.concatenate([[0.0], hits / np.arange(1, len(hits) + 1), [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall) * envelope[1:]).sum())


def _overlap(a: Array, b: Array) -> float:
    """Return intersection over union of two boxes x1, y1, x2, y2."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.clip(sides, 0, None).prod())
    return shared / (float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - shared)


# Plain torch, with draws of its own


@computed_with("torch")
def networks_of_ones_own(cells: Sequence[Cell], row: Row) -> Spread:
    """Return the test accuracy of independent runs on images: nothing is shared but the files."""
    (cell,) = cells
    found = [_run_of_ones_own(cell, seed) for seed in range(100, 100 + RUNS)]
    return Spread(statistics.fmean(found), statistics.stdev(found), RUNS)


def _run_of_ones_own(cell: Cell, seed: int) -> float:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x, y = tensors_of(cell, "train")
        validation = cell.validation if isinstance(cell.validation, int) else round(cell.validation * len(x))
        chosen = torch.randperm(len(x))[validation:][: cell.train_samples]
        done = Fitted(cell, plain(cell))
        for layer in done.network:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        optimizer = optimizer_of(cell, done.network)
        for _ in range(cell.epochs):
            done.network.train()
            for rows in chosen[torch.randperm(len(chosen))].split(cell.batch_size):
                optimizer.zero_grad()
                F.cross_entropy(done.network(x[rows]), y[rows]).backward()
                optimizer.step()
        return done.score("test_accuracy")
