"""What all models that learn from (input, target) pairs share: loss, penalty, optimizer and steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import torch
from pytorch_lightning import Callback
from torch import Tensor, nn

from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.lightning_modules import regularizers
from recipebench.lightning_modules.catalog import (
    DEFAULT_LOSS,
    DEFAULTS,
    INITIALIZERS,
    LOSSES,
    OPTIMIZERS,
    REGULARIZERS,
    SCHEDULES,
)
from recipebench.lightning_modules.initializers import initialize_network
from recipebench.lightning_modules.losses import LOSSES as LOSS_FUNCTIONS
from recipebench.lightning_modules.recorded import SteppedModule
from recipebench.lightning_modules.scored import ScoredModule

Spec = str | Mapping[str, Any] | Choice
"""A level by name, `{name: {hyper-parameter: value}}`, or a `Choice`."""


class Training(TypedDict, total=False):
    """How a model starts, and how it is trained on a loss of its own; see `SupervisedModule`."""

    initializer: Spec
    regularizer: Spec
    optimizer: Spec
    schedule: Spec
    init_seed: int | None


class Recipe(Training, total=False):
    """The options that all models trained by gradient descent have; see `SupervisedModule`."""

    loss: Spec | None


def regularizer_of(recipe: Recipe) -> Choice:
    """Return the regularizer that a recipe names, or the default: what the layers of a network depend on.

    Example:
        >>> regularizer_of({"optimizer": "adam"}).name
        'none'
    """
    return REGULARIZERS.choose(recipe.get("regularizer", DEFAULTS["regularizer"]))


class SupervisedModule(SteppedModule, ScoredModule):
    """A network with its loss, penalty and optimizer: the plain way to train, and the measure of packs.

    Args:
        network: maps (batch, ...) float32 inputs to (batch, out_features) outputs.
        task: `classification` (outputs are logits, targets int64 (batch,)) or `regression`
            (targets float32 (batch, 1)).
        initializer: how linear layers start; a level of the catalog.
        regularizer: a level of the catalog; layers that it needs are in `network` already.
        optimizer: a level of the catalog.
        loss: a level of the catalog; None for the usual one of the task.
        schedule: a level of the catalog: how the learning rate changes from epoch to epoch.
        init_seed: names the streams of the initial draws; None draws one from torch's global generator.

    Raises:
        RequestError: the task, a level or a hyper-parameter is not known, or the network lacks the
            layer that the regularizer is made of.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        task: str,
        initializer: Spec = "he",
        regularizer: Spec = "none",
        optimizer: Spec = "sgd",
        loss: Spec | None = None,
        schedule: Spec = "constant",
        init_seed: int | None = None,
    ) -> None:
        super().__init__(task)
        self.network = network
        self.initializer = INITIALIZERS.choose(initializer)
        self.regularizer = REGULARIZERS.choose(regularizer)
        self.optimizer = OPTIMIZERS.choose(optimizer)
        self.loss = LOSSES.choose(DEFAULT_LOSS[task] if loss is None else loss)
        self.schedule = SCHEDULES.choose(schedule)
        self._check_loss()
        self._check_layers()
        seed = int(torch.randint(2**62, ())) if init_seed is None else init_seed
        initialize_network(network, self.initializer, seed)

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's outputs: (batch, out_features)."""
        outputs: Tensor = self.network(x)
        return outputs

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the data loss of every sample, as the level `loss` has it.

        Args:
            outputs: (batch, out_features) logits, or (batch, 1) predictions.
            targets: (batch,) int64, or (batch, 1) float32.

        Returns:
            (batch,) float32; what is minimized is its mean, plus the penalty.
        """
        losses: Tensor = LOSS_FUNCTIONS[self.loss.name](outputs, targets, **self.loss.parameters)
        return losses

    def penalty(self) -> Tensor:
        """Return the penalty on the weights (0 where the regularizer has none); biases go free."""
        term = regularizers.PENALTIES.get(self.regularizer.name)
        if term is None:
            return torch.zeros((), device=self.device)
        return term(self.weights(), **self.regularizer.parameters)

    def weights(self) -> list[Tensor]:
        """Return the weights of the linear layers and convolutions, in their order."""
        kinds = (nn.Linear, nn.Conv2d)
        return [layer.weight for layer in self.network.modules() if isinstance(layer, kinds)]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the mean loss plus penalty to minimize, and for the record the losses and the penalty."""
        inputs, targets = batch
        losses = self.losses(self(inputs), targets)
        penalty = self.penalty()
        return {"loss": losses.mean() + penalty, "losses": losses.detach(), "penalty": penalty.detach()}

    def optimizer_options(self) -> dict[str, Any]:
        """Return the optimizer's hyper-parameters, a regularizer's option such as weight decay included.

        The regularizer's strength replaces a decay that the optimizer has by itself (AdamW's).
        """
        options = super().optimizer_options()
        if option := regularizers.OPTIMIZER_OPTIONS.get(self.regularizer.name):
            options[self.regularizer.name] = self.regularizer.parameters[option]
        return options

    def configure_callbacks(self) -> list[Callback]:
        """Return the callbacks that the regularizer needs (early stopping)."""
        make = regularizers.CALLBACKS.get(self.regularizer.name)
        return make(**self.regularizer.parameters) if make else []

    def _check_loss(self) -> None:
        if self.task not in LOSSES[self.loss.name].tasks:
            fits = ", ".join(name for name, level in LOSSES.items() if self.task in level.tasks)
            raise RequestError(f"loss {self.loss.name}: expected a loss for {self.task}: {fits}.")

    def _check_layers(self) -> None:
        needed = regularizers.LAYER_TYPES.get(self.regularizer.name)
        if needed and not any(isinstance(layer, needed) for layer in self.network.modules()):
            raise RequestError(
                f"regularizer {self.regularizer.name}: expected a network with hidden layers that hold "
                f"{' or '.join(kind.__name__ for kind in needed)}, got one without."
            )
