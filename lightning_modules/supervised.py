"""What all models that learn from (input, target) pairs share: loss, penalty, optimizer and steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from pytorch_lightning import Callback, LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from recipebench.errors import RequestError, unknown
from recipebench.levels import Choice
from recipebench.lightning_modules import regularizers
from recipebench.lightning_modules.activations import Maxout
from recipebench.lightning_modules.catalog import INITIALIZERS, OPTIMIZERS, REGULARIZERS
from recipebench.lightning_modules.initializers import initialize
from recipebench.lightning_modules.optimizers import OPTIMIZERS as OPTIMIZER_FACTORIES
from recipebench.lightning_modules.scores import Scores

Spec = str | Mapping[str, Any] | Choice
"""A level by name, `{name: {hyper-parameter: value}}`, or a `Choice`."""

LOSSES = {"classification": "cross-entropy of logits", "regression": "squared error"}
"""The tasks, and the loss of one sample in each."""


class SupervisedModule(LightningModule):
    """A network with its loss, penalty and optimizer: the plain way to train, and the measure of packs.

    Args:
        network: maps (batch, ...) float32 inputs to (batch, out_features) outputs.
        task: `classification` (outputs are logits, targets int64 (batch,)) or `regression`
            (targets float32 (batch, 1)).
        initializer: how linear layers start; a level of the catalog.
        regularizer: a level of the catalog; layers that it needs are in `network` already.
        optimizer: a level of the catalog.
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
        initializer: Spec,
        regularizer: Spec,
        optimizer: Spec,
        init_seed: int | None = None,
    ) -> None:
        super().__init__()
        if task not in LOSSES:
            raise RequestError(unknown("task", task, LOSSES))
        self.network = network
        self.task = task
        self.initializer = INITIALIZERS.choose(initializer)
        self.regularizer = REGULARIZERS.choose(regularizer)
        self.optimizer = OPTIMIZERS.choose(optimizer)
        self.scores = Scores(task)
        self._check_layers()
        seed = int(torch.randint(2**62, ())) if init_seed is None else init_seed
        self._initialize(seed)

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's outputs: (batch, out_features)."""
        outputs: Tensor = self.network(x)
        return outputs

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the data loss of every sample: cross-entropy -log softmax(o)_y in nats, or (o - y)².

        Args:
            outputs: (batch, out_features) logits, or (batch, 1) predictions.
            targets: (batch,) int64, or (batch, 1) float32.

        Returns:
            (batch,) float32; its mean is what torch's `CrossEntropyLoss` or `MSELoss` returns.
        """
        if self.task == "classification":
            return F.cross_entropy(outputs, targets, reduction="none")
        return F.mse_loss(outputs, targets, reduction="none").mean(1)

    def penalty(self) -> Tensor:
        """Return the penalty on the weights (0 where the regularizer has none); biases go free."""
        term = regularizers.PENALTIES.get(self.regularizer.name)
        if term is None:
            return torch.zeros(())
        return term(self.weights(), **self.regularizer.parameters)

    def weights(self) -> list[Tensor]:
        """Return the weight matrices of the linear layers, in their order."""
        return [layer.weight for layer in self.network.modules() if isinstance(layer, nn.Linear)]

    def finite(self) -> Tensor:
        """Return whether all parameters are finite, (1,) bool; a pack returns one value a member."""
        return torch.stack([torch.isfinite(p).all() for p in self.parameters()]).all().unsqueeze(0)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the mean loss plus penalty to minimize, and for the record the losses and the penalty."""
        inputs, targets = batch
        losses = self.losses(self(inputs), targets)
        penalty = self.penalty()
        return {"loss": losses.mean() + penalty, "losses": losses.detach(), "penalty": penalty.detach()}

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add a batch to the validation scores."""
        self._score(batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add a batch to the test scores."""
        self._score(batch)

    def on_validation_epoch_start(self) -> None:
        """Forget what an interrupted evaluation left."""
        self.scores.reset()

    def on_test_epoch_start(self) -> None:
        """Forget what an interrupted evaluation left."""
        self.scores.reset()

    def on_validation_epoch_end(self) -> None:
        """Log `validation_loss` and `validation_accuracy` (or `validation_mse`, `validation_r2`)."""
        self._log("validation")

    def on_test_epoch_end(self) -> None:
        """Log `test_loss` and `test_accuracy` (or `test_mse`, `test_r2`)."""
        self._log("test")

    def configure_optimizers(self) -> Optimizer:
        """Return the stock torch optimizer with the recipe's hyper-parameters."""
        return OPTIMIZER_FACTORIES[self.optimizer.name](self.parameters(), **self.optimizer_options())

    def optimizer_options(self) -> dict[str, Any]:
        """Return the optimizer's hyper-parameters, a regularizer's option such as weight decay included.

        The regularizer's strength replaces a decay that the optimizer has by itself (AdamW's).
        """
        options = dict(self.optimizer.parameters)
        if option := regularizers.OPTIMIZER_OPTIONS.get(self.regularizer.name):
            options[self.regularizer.name] = self.regularizer.parameters[option]
        return options

    def configure_callbacks(self) -> list[Callback]:
        """Return the callbacks that the regularizer needs (early stopping)."""
        make = regularizers.CALLBACKS.get(self.regularizer.name)
        return make(**self.regularizer.parameters) if make else []

    def _check_layers(self) -> None:
        needed = regularizers.LAYER_TYPES.get(self.regularizer.name)
        if needed and not any(isinstance(layer, needed) for layer in self.network.modules()):
            raise RequestError(
                f"regularizer {self.regularizer.name}: expected a network with hidden layers that hold "
                f"{needed.__name__}, got one without."
            )

    def _initialize(self, seed: int) -> None:
        layers = list(self.network.named_modules())
        for i, (name, layer) in enumerate(layers):
            if isinstance(layer, nn.Linear):
                later = [m for _, m in layers[i + 1 :] if isinstance(m, nn.Linear | Maxout)]
                pieces = later[0].pieces if later and isinstance(later[0], Maxout) else 1
                chosen = self.initializer
                initialize(
                    layer, name, initializer=chosen.name, seed=seed, pieces=pieces, **chosen.parameters
                )

    def _score(self, batch: tuple[Tensor, Tensor]) -> None:
        inputs, targets = batch
        outputs = self(inputs)
        self.scores.update(outputs, targets, self.losses(outputs, targets))

    def _log(self, split: str) -> None:
        self.log_dict({f"{split}_{name}": value for name, value in self.scores.compute().items()})
