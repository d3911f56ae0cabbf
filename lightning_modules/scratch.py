"""What the models from scratch share: a backward pass written out by hand, and gradient descent likewise."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from recipebench.errors import RequestError
from recipebench.lightning_modules.catalog import INITIALIZERS, OPTIMIZERS
from recipebench.lightning_modules.initializers import initialize_network
from recipebench.lightning_modules.scored import ScoredModule
from recipebench.lightning_modules.supervised import Spec


class ScratchModule(ScoredModule):
    """A model whose backward pass is written out, stepped by w <- w - lr g: no autograd, no torch.optim.

    Subclasses give `forward` and `backpropagate`. All is computed in the type of the parameters:
    `.double()` makes it float64.

    Args:
        task: see `ScoredModule`.
        optimizer: `sgd`, the one that is written out here, with its rate.

    Raises:
        RequestError: the task or the optimizer is not known, or it is another optimizer.

    References:
        Zhang, Lipton, Li and Smola, Dive into Deep Learning, linear neural networks (from scratch).
    """

    def __init__(self, task: str, *, optimizer: Spec) -> None:
        super().__init__(task)
        self.automatic_optimization = False
        self.optimizer = OPTIMIZERS.choose(optimizer)
        if self.optimizer.name != "sgd":
            raise RequestError(
                f"{type(self).__name__}: optimizer: expected sgd, the one that is written out, "
                f"got {self.optimizer.name}."
            )

    @abstractmethod
    def backpropagate(self, inputs: Tensor, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the gradient of the batch's mean loss by every parameter, under the parameter's name.

        Args:
            inputs: (batch, ...).
            outputs: (batch, out_features), what `forward` has just made of them.
            targets: (batch,) int64 or (batch, 1).
        """

    @torch.no_grad()
    def gradients(self, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the gradient of the mean loss by every parameter, forward and backward pass in one."""
        return self.backpropagate(inputs, self(inputs), targets)

    @torch.no_grad()
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Step down the gradient of one batch; return the losses before the step, and no penalty."""
        inputs, targets = batch
        outputs = self(inputs)
        losses = self.losses(outputs, targets)
        rate = self.learning_rate()
        gradients = self.backpropagate(inputs, outputs, targets)
        for name, parameter in self.named_parameters():
            parameter.sub_(rate * gradients[name])
        return {"loss": losses.mean(), "losses": losses, "penalty": torch.zeros_like(losses[0])}

    def learning_rate(self) -> float:
        """Return the rate of the steps."""
        rate = self.optimizer.parameters["lr"]
        assert isinstance(rate, float)
        return rate

    def configure_optimizers(self) -> list[Any]:
        """Return no torch optimizers: the step is written out above."""
        return []


def drawn(network: nn.Module, *, initializer: Spec, init_seed: int | None) -> dict[str, nn.Parameter]:
    """Return the weights and biases that the concise form starts with, so that both forms agree.

    Args:
        network: of the concise form, made for its initial draw alone; it is changed.
        initializer: a level of the catalog.
        init_seed: names the streams of the draws; None draws one from torch's global generator.

    Returns:
        By name in the network, as parameters that no gradient of autograd reaches.
    """
    seed = int(torch.randint(2**62, ())) if init_seed is None else init_seed
    initialize_network(network, INITIALIZERS.choose(initializer), seed)
    network.requires_grad_(False)
    return dict(network.named_parameters())
