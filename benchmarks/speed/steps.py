"""What the speed suite times: a training step in its parts, alone and in a pack, on batches made up here."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import Trainer
from torch import Tensor
from torch.optim import Optimizer

from recipebench.lightning_modules import MLP
from recipebench.lightning_modules.initializers import initialize_network
from recipebench.lightning_modules.packed import Inputs, PackedModule

Work = Callable[[], object]
"""What is timed: a call without arguments."""

BATCHES = 8
"""Different batches that training goes through in turn, over and over."""

ORDERS = 5
"""Members of a pack share so many orders of the batches, as in a suite with so many seeds."""

SPREAD = 0.3
"""Standard deviation of the inputs."""

GENTLE = {"sgd": {"lr": 0.01}}
"""The optimizer where none is compared: at this rate hardly a level of one's own diverges."""

SHARED_FLOATS = 2**14
"""Batches of at least so many floats are shared by members of one order, as in `PackBatches`."""


@dataclass(frozen=True)
class Shape:
    """A perceptron and its batches.

    Args:
        features: numbers in an input.
        hidden: widths of the hidden layers.
        classes: outputs in classification; in regression there is one.
        batch_size: samples.
    """

    features: int
    hidden: tuple[int, ...]
    classes: int
    batch_size: int

    def label(self, task: str = "classification") -> str:
        """Name widths and batch size.

        Example:
            >>> WIDE.label("regression")
            '784-128-64-1, batch 128'
        """
        widths = (self.features, *self.hidden, self.classes if task == "classification" else 1)
        return f"{'-'.join(map(str, widths))}, batch {self.batch_size}"


WIDE = Shape(784, (128, 64), 10, 128)
NARROW = Shape(64, (32,), 10, 32)


def make_batches(shape: Shape, task: str, device: str, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Draw batches whose targets a linear teacher gives, so that there is something to learn.

    Args:
        shape: of inputs and batches.
        task: `classification` (int64 classes) or `regression` (float32 of variance 1).
        device: where they are to lie.
        seed: of the draws; the teacher is the same for all.

    Returns:
        `BATCHES` pairs of inputs (batch, features), normal with the standard deviation of MNIST's pixels,
        and targets (batch,) or (batch, 1).
    """
    teacher = torch.randn(shape.features, shape.classes, generator=torch.Generator().manual_seed(0))
    shares = torch.linspace(-1, 1, shape.classes)  # some classes come more often: biases learn too
    generator = torch.Generator().manual_seed(1 + seed)
    found = []
    for _ in range(BATCHES):
        inputs = SPREAD * torch.randn(shape.batch_size, shape.features, generator=generator)
        scores = inputs @ teacher / (SPREAD * shape.features**0.5)
        targets = (scores + shares).argmax(1) if task == "classification" else scores[:, :1]
        found.append((inputs.to(device), targets.to(device)))
    return found


class Alone:
    """A module by itself, ready for every part of its training step.

    Args:
        shape: of the network and its batches.
        device: where it is trained.
        task: `classification` or `regression`.
        **levels: of the recipe's factors, by name; the usual defaults for the others.
    """

    def __init__(self, shape: Shape, device: str, task: str = "classification", **levels: str) -> None:
        self.module = member(shape, device, task, 0, **levels)
        self.given = make_batches(shape, task, device)
        self.turn = itertools.cycle(self.given)
        self.optimizer: Optimizer = self.module.configure_optimizers()

    def loss(self) -> Tensor:
        """Return the loss of the next batch, penalty included, in training mode: the forward pass."""
        return self.module.training_step(next(self.turn), 0)["loss"]

    def step(self) -> None:
        """Change the weights once."""
        self.optimizer.zero_grad()
        self.loss().backward()
        self.optimizer.step()

    def backward(self) -> Work:
        """Return the backward pass through one forward pass, which can be repeated."""
        loss, weights = self.loss(), list(self.module.parameters())
        return lambda: torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)

    def update(self) -> Work:
        """Return the optimizer's own part of a step, on gradients that stay."""
        self.loss().backward()
        return self.optimizer.step

    def checked_step(self) -> Work:
        """Return the step once it has lowered the loss in a pass over all batches.

        Raises:
            AssertionError: it has not.
        """
        before = self._mean_loss()
        for _ in self.given:
            self.step()
        check_learning(before, self._mean_loss())
        return self.step

    def initialization(self) -> Work:
        """Return the initial draw of all weights."""
        network, level = self.module.network, self.module.initializer
        seeds = itertools.count()
        return lambda: initialize_network(network, level, next(seeds))

    @torch.no_grad()
    def _mean_loss(self) -> Tensor:
        """Return the loss over all batches, (1,), in training mode and always under the same noise."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            losses = [self.module.training_step(batch, 0)["loss"] for batch in self.given]
        return torch.stack(losses).mean().unsqueeze(0)


class Together:
    """A pack of modules with one recipe and different initial draws, ready for its step.

    Args:
        shape: of the networks and their batches.
        members: how many.
        device: where they are trained.
        **levels: of the recipe's factors, by name; the usual defaults for the others.
    """

    def __init__(self, shape: Shape, members: int, device: str, **levels: str) -> None:
        orders = [k % ORDERS for k in range(members)]
        modules = [member(shape, device, "classification", k, **levels) for k in range(members)]
        self.pack = PackedModule(modules, noise_seeds=range(members))
        self.pack.trainer = _trainer()
        self.optimizers: list[Optimizer] = self.pack.configure_optimizers()
        self.given = list(_shared_out(shape, device, orders))
        self.turn = itertools.cycle(self.given)

    def step(self) -> Tensor:
        """Change the weights of all members once; return their mean losses before, (members,)."""
        return self.pack.step(*next(self.turn))[0].mean(1)

    def update(self) -> Work:
        """Return the optimizers' own part of a step, on gradients that stay."""
        self.step()

        def update() -> None:
            for optimizer in self.optimizers:
                optimizer.step()

        return update

    def checked_step(self) -> Work:
        """Return the step once it has lowered every member's loss from one pass over all batches to the next.

        Raises:
            AssertionError: it has not.
        """
        first, second = (torch.stack([self.step() for _ in self.given]).mean(0) for _ in range(2))
        check_learning(first, second)
        return self.step


def member(shape: Shape, device: str, task: str = "classification", seed: int = 0, **levels: Any) -> MLP:
    """Return the module that is trained, on its device.

    Args:
        shape: of the network.
        device: where it is to lie.
        task: `classification` or `regression`.
        seed: of the initial draw.
        **levels: of the recipe's factors, by name; the usual defaults for the others, but `GENTLE`.
    """
    outputs = shape.classes if task == "classification" else 1
    levels.setdefault("optimizer", GENTLE)
    module = MLP(
        in_features=shape.features,
        hidden=shape.hidden,
        out_features=outputs,
        task=task,
        init_seed=seed,
        **levels,
    )
    return module.to(device)


def check_learning(before: Tensor, after: Tensor) -> None:
    """Raise unless every loss has fallen: what learns nothing, or something else, is not worth timing.

    Example:
        >>> check_learning(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 2.5]))
        Traceback (most recent call last):
        AssertionError: It learned nothing: loss 2.0000 before, 2.5000 after.
    """
    for first, last in zip(before.tolist(), after.tolist(), strict=True):
        if not last < first:
            raise AssertionError(f"It learned nothing: loss {first:.4f} before, {last:.4f} after.")


def synchronized(work: Work, device: str) -> Work:
    """Return work that has ended when it returns, also where a device computes by itself meanwhile."""
    if device != "cuda":
        return work

    def timed() -> None:
        work()
        torch.cuda.synchronize()

    return timed


def _shared_out(shape: Shape, device: str, orders: list[int]) -> Iterator[tuple[Inputs, Tensor]]:
    """Yield what a pack takes in each step: the batch of its own order for every member."""
    drawn = [make_batches(shape, "classification", device, seed) for seed in range(max(orders) + 1)]
    for step in zip(*drawn, strict=True):
        inputs = [step[order][0] for order in orders]
        targets = torch.stack([step[order][1] for order in orders])
        yield (inputs if inputs[0].numel() >= SHARED_FLOATS else torch.stack(inputs)), targets


@functools.cache
def _trainer() -> Trainer:
    """Return a trainer that only says how many epochs there are."""
    return Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
