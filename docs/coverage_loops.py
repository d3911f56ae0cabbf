"""What references start from, and a plain torch loop that trains from it; see `coverage_references`.

From the project come the split, the order of the samples, the draws of augmentation and the initial weights,
and nothing that is computed from them.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from recipebench import datamodules, lightning_modules
from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.training import OPTIONS
from recipebench.datamodules.catalog import data_key
from recipebench.levels import Choice
from recipebench.lightning_modules.catalog import FACTORS
from recipebench.seeds import seed_for

Array = NDArray[Any]

_F = TypeVar("_F", bound=Callable[..., Any])

KEPT = 4
"""Cells whose data stay in memory."""


# What a run starts from


def _kept_by_cell(function: _F) -> _F:
    """Keep what a function of a cell has returned, for the last few cells."""
    kept: dict[tuple[Any, ...], Any] = {}

    @functools.wraps(function)
    def remember(cell: Cell, *others: Any) -> Any:
        key = (cell.id, *others)
        if key not in kept:
            while len(kept) >= KEPT:
                kept.pop(next(iter(kept)))
            kept[key] = function(cell, *others)
        return kept[key]

    return cast("_F", remember)


@_kept_by_cell
def opened(cell: Cell) -> Any:
    """Return the data module of a cell, set up."""
    options = {name: getattr(cell, name) for name in OPTIONS if getattr(cell, name) is not None}
    data = datamodules.create(cell.data, data_dir=None, **options)
    data.setup("fit")
    return data


def untrained(cell: Cell) -> nn.Module:
    """Return the module of a cell as it is before training; only its weights are used."""
    data = opened(cell)
    with torch.random.fork_rng(devices=[]):
        return lightning_modules.create(
            cell.model,
            task=data.facts.task,
            in_shape=data.facts.shape,
            out_features=data.facts.out_features,
            **{factor: getattr(cell, factor) for factor in FACTORS},
            init_seed=seed_for("init", data_key(cell.data.name, cell.data.parameters), cell.seed),
        )


def start_of(cell: Cell) -> list[Array]:
    """Return the initial weights and biases of a cell, layer by layer, in float64."""
    return [p.detach().double().numpy() for p in untrained(cell).parameters()]


def options_of(choice: Choice | None) -> dict[str, Any]:
    """Return the hyper-parameters of a level."""
    assert choice is not None
    return dict(choice.parameters)


def inputs_of(cell: Cell) -> Array:
    """Return all samples of a cell's file in float64: images by their constants, features by scikit-learn."""
    data = opened(cell)
    return _scaled(cell, data.train.inputs.double().numpy())


def _scaled(cell: Cell, raw: Array) -> Array:
    data = opened(cell)
    x: Array = raw / data.facts.scale
    if cell.inputs == "unit":
        return x
    if not data.facts.per_feature:
        return (x - data.facts.mean) / data.facts.std
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

    fitted = StandardScaler().fit(data.train.inputs.double().numpy()[data.train.indices.numpy()])
    scaled: Array = fitted.transform(raw)
    return scaled


def split_of(cell: Cell, split: str) -> tuple[Array, Array]:
    """Return inputs (flat, float64) and targets of a split."""
    part = getattr(opened(cell), split)
    indices = part.indices.numpy()
    x = _scaled(cell, part.inputs[part.indices].double().numpy())
    return x.reshape(len(indices), -1), part.targets[part.indices].numpy()


def batches_of(cell: Cell, epoch: int) -> Iterator[Array]:
    """Yield the rows of every batch of an epoch."""
    order = opened(cell).order(epoch).numpy()
    for first in range(0, len(order), cell.batch_size):
        yield order[first : first + cell.batch_size]


# Plain torch


@dataclass
class Fitted:
    """A network that a plain loop has trained.

    Args:
        cell: the recipe.
        network: the layers.
        fit_losses: the mean loss that the optimizer saw, by epoch.
        validation_losses: after every epoch.
    """

    cell: Cell
    network: nn.Sequential
    fit_losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)

    @torch.no_grad()
    def score(self, column: str) -> float:
        """Return `<split>_loss`, `<split>_accuracy` or `<split>_mse`."""
        split, _, metric = column.partition("_")
        x, y = tensors_of(self.cell, split, True)
        self.network.eval()
        outputs = torch.cat([self.network(part) for part in x.split(1000)])
        if metric == "accuracy":
            return float((outputs.argmax(1) == y).double().mean())
        if metric == "mse":
            return float((outputs - y).double().square().mean())
        return float(criterion_of(self.cell)(outputs.double(), y if y.dtype == torch.int64 else y.double()))


@_kept_by_cell
def tensors_of(cell: Cell, split: str, own: bool = False) -> tuple[Tensor, Tensor]:
    """Return inputs and targets in float32: of all samples of the split's file, or of its `own` alone."""
    part = getattr(opened(cell), split)
    x = torch.from_numpy(_scaled(cell, part.inputs.double().numpy())).float()
    return (x[part.indices], part.targets[part.indices]) if own else (x, part.targets)


def fitted(cell: Cell, net: nn.Sequential | None = None) -> Fitted:
    """Train a network by a plain loop over the cell's batches.

    Args:
        cell: the recipe.
        net: as it starts; from the cell's own start if left out.
    """
    done = Fitted(cell, started(cell) if net is None else net)
    stops = cell.regularizer is not None and cell.regularizer.name == "early_stopping"
    x, y = tensors_of(cell, "train")
    optimizer, criterion, penalty = optimizer_of(cell, done.network), criterion_of(cell), penalty_of(cell)
    schedule = _schedule_of(cell, optimizer)
    for epoch in range(1, cell.epochs + 1):
        done.network.train()
        total = seen = 0.0
        noise = opened(cell).augmentation_noise(epoch)
        for rows in batches_of(cell, epoch):
            optimizer.zero_grad()
            loss = criterion(done.network(_moved(cell, x[rows], noise)), y[rows]) + penalty(done.network)
            loss.backward()
            optimizer.step()
            total, seen = total + float(loss.detach()) * len(rows), seen + len(rows)
        schedule.step()
        done.fit_losses.append(total / seen)
        if stops:
            done.validation_losses.append(done.score("validation_loss"))
    return done


def _moved(cell: Cell, images: Tensor, noise: torch.Generator) -> Tensor:
    """Shift every image down and right by scipy, by as many pixels as the cell's own draws say."""
    if cell.augmentation is None or cell.augmentation.name == "none":
        return images
    from scipy.ndimage import shift  # type: ignore[import-untyped]

    assert cell.augmentation.name == "translate"
    pixels: Any = options_of(cell.augmentation)["pixels"]
    draws = torch.rand(len(images), 2, generator=noise, dtype=torch.float64).numpy()
    moves = np.floor(draws * (2 * pixels + 1)) - pixels
    pairs = zip(images.numpy(), moves, strict=True)
    moved = [shift(image, (0, down, right), order=0, cval=0.0) for image, (down, right) in pairs]
    return torch.from_numpy(np.stack(moved))


def started(cell: Cell) -> nn.Sequential:
    """Return the plain network of a cell with the cell's initial weights."""
    net = plain(cell)
    theirs = list(untrained(cell).parameters())
    with torch.no_grad():
        for mine, start in zip(net.parameters(), theirs, strict=True):
            mine.copy_(start.view_as(mine))
    return net


class PlainMaxout(nn.Module):
    """The largest of neighboring pieces."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, units) from (batch, units · pieces)."""
        return x.view(len(x), -1, self.pieces).amax(2)


class PlainStep(nn.Module):
    """1 above 0, else 0."""

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros and ones; no gradient."""
        return (x > 0).float()


class PlainHardmax(nn.Module):
    """1 for the largest unit, 0 for the others."""

    def forward(self, x: Tensor) -> Tensor:
        """Return one-hot rows; no gradient."""
        return F.one_hot(x.argmax(1), x.shape[1]).float()


ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "step": PlainStep,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": lambda negative_slope: nn.LeakyReLU(negative_slope),
    "prelu": lambda init: nn.PReLU(init=init),
    "maxout": lambda pieces, match: PlainMaxout(pieces),
    "hardmax": PlainHardmax,
}


def plain(cell: Cell) -> nn.Sequential:
    """Return the layers of a cell's network, with torch's own initial values."""
    facts, options = opened(cell).facts, options_of(cell.model)
    if len(facts.shape) == 3 and cell.model.name in ("cnn", "deep_cnn"):
        return _convolutional(cell)
    name = cell.model.name
    if name in ("mlp", "mlp_scratch", "maxout_net"):
        widths: Sequence[int] = options["hidden"]
    else:
        widths = [options["units"]] if name == "sum_of_sigmoids" else [options["width"]] * options["depth"]
    layers: list[nn.Module] = [nn.Flatten()]
    features = facts.in_features
    for width in widths:
        function = _activation_of(cell)
        pieces = getattr(function, "pieces", 1)
        layers.append(nn.Linear(features, width * pieces))
        if cell.regularizer is not None and cell.regularizer.name == "batch_norm":
            assert options_of(cell.regularizer)["position"] == "before"
            layers.append(nn.BatchNorm1d(width * pieces))
        layers.append(function)
        if cell.regularizer is not None and cell.regularizer.name == "dropout":
            layers.append(nn.Dropout(options_of(cell.regularizer)["p"]))
        features = width
    return nn.Sequential(*layers, nn.Linear(features, facts.out_features))


def _activation_of(cell: Cell) -> nn.Module:
    if cell.model.name == "sum_of_sigmoids":
        return nn.Sigmoid()
    if cell.model.name == "maxout_net":
        return PlainMaxout(options_of(cell.model)["pieces"])
    assert cell.activation is not None
    return ACTIVATIONS[cell.activation.name](**options_of(cell.activation))


def _convolutional(cell: Cell) -> nn.Sequential:
    options: dict[str, Any] = options_of(cell.model)
    (channels, size, _), pool = opened(cell).facts.shape, options["pool"]
    deep = cell.model.name == "deep_cnn"
    kernel, stride = options["kernel"], options.get("stride", 1)
    padding = kernel // 2 if deep else options["padding"]
    layers: list[nn.Module] = []
    for filters in options["blocks"] if deep else options["channels"]:
        for _ in range(options["convs_per_block"] if deep else 1):
            layers += [nn.Conv2d(channels, filters, kernel, stride=stride, padding=padding), nn.ReLU()]
            channels, size = filters, (size + 2 * padding - kernel) // stride + 1
        if pool != "none":
            layers.append((nn.MaxPool2d if pool == "max" else nn.AvgPool2d)(options["pool_size"]))
            size //= options["pool_size"]
    layers.append(nn.Flatten())
    widths = [channels * size * size, *options["hidden"]]
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], opened(cell).facts.out_features))


def criterion_of(cell: Cell) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the mean loss of a batch."""
    if cell.loss is None:
        return nn.CrossEntropyLoss() if opened(cell).task == "classification" else nn.MSELoss()
    return CRITERIA[cell.loss.name](**options_of(cell.loss))


def _one_class_each(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, F.one_hot(targets, outputs.shape[1]).to(outputs.dtype))


CRITERIA: dict[str, Callable[..., Callable[[Tensor, Tensor], Tensor]]] = {
    "mse": nn.MSELoss,
    "half_mse": lambda: lambda outputs, targets: F.mse_loss(outputs, targets) / 2,
    "l1": nn.L1Loss,
    "huber": lambda delta: nn.HuberLoss(delta=delta),
    "cross_entropy": nn.CrossEntropyLoss,
    "bce": lambda: _one_class_each,
    "label_smoothing": lambda epsilon, form: nn.CrossEntropyLoss(label_smoothing=epsilon),
    "multi_margin": lambda margin: nn.MultiMarginLoss(margin=margin),
}


def penalty_of(cell: Cell) -> Callable[[nn.Module], Tensor]:
    """Return what L1 adds to the loss; L2 is left to the optimizer."""
    if cell.regularizer is None or cell.regularizer.name != "l1":
        return lambda net: torch.zeros(())
    strength: Any = options_of(cell.regularizer)["strength"]
    return lambda net: strength * sum(p.abs().sum() for p in net.parameters() if p.dim() > 1)


def optimizer_of(cell: Cell, net: nn.Module) -> torch.optim.Optimizer:
    """Return torch's optimizer; under L2 weights decay and biases do not."""
    assert cell.optimizer is not None
    options: dict[str, Any] = options_of(cell.optimizer)
    decay: Any = 0.0
    if cell.regularizer is not None and cell.regularizer.name == "l2":
        decay = options_of(cell.regularizer)["strength"]
    moving = [p for p in net.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in moving if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in moving if p.dim() <= 1]},
    ]
    if cell.optimizer.name == "adam":
        betas = (options.pop("beta1"), options.pop("beta2"))
        return torch.optim.Adam(groups, betas=betas, **options)
    assert cell.optimizer.name in ("sgd", "momentum")
    return torch.optim.SGD(groups, **options)


def _schedule_of(cell: Cell, optimizer: torch.optim.Optimizer) -> Any:
    if cell.schedule is not None and cell.schedule.name == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=cell.epochs)
    assert cell.schedule is None or cell.schedule.name == "constant"
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0)
