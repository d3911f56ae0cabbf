"""The regularizers that are compared: what each adds to the loss, the layers, the optimizer or the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor, nn


def l1(weights: Iterable[Tensor], strength: float = 1e-5) -> Tensor:
    """strength * sum |w| over all weights, not biases (Tibshirani 1996; Ng 1.4).

    Example:
        >>> l1([torch.tensor([[1.0, -2.0]])], strength=0.5)
        tensor(1.5000)
    """
    return strength * _total(w.abs().sum() for w in weights)


def l2(weights: Iterable[Tensor], strength: float = 1e-4) -> Tensor:
    """(strength / 2) * sum w² over all weights, not biases (Hoerl and Kennard 1970; Ng 1.4).

    Example:
        >>> l2([torch.tensor([[1.0, -2.0]])], strength=0.5)
        tensor(1.2500)
    """
    return strength / 2 * _total(w.square().sum() for w in weights)


def _total(terms: Iterable[Tensor]) -> Tensor:
    """Sum scalars from left to right; the order fixes the bits."""
    return sum(terms, start=torch.zeros(()))


def dropout(p: float = 0.5) -> nn.Module:
    """Set a share p of a layer's outputs to 0 and divide the rest by 1 - p (Srivastava et al., JMLR 2014)."""
    return nn.Dropout(p)


def batch_norm(width: int, eps: float = 1e-5, momentum: float = 0.1) -> nn.Module:
    """(z - mean) / sqrt(variance + eps) * weight + bias over the batch (Ioffe and Szegedy, ICML 2015)."""
    return nn.BatchNorm1d(width, eps=eps, momentum=momentum)


def early_stopping(patience: int = 3) -> list[Callback]:
    """Stop after `patience` epochs without a lower validation loss and go back to the best weights.

    The run ends when the validation loss was not below its minimum for `patience` validations in a
    row (Prechelt 1998). Both callbacks act on validations: a trainer that runs none trains on.
    """
    stop = EarlyStopping("validation_loss", patience=patience, min_delta=0.0, check_on_train_epoch_end=False)
    return [stop, RestoreBest()]


class RestoreBest(Callback):
    """Keep the weights of the lowest validation loss and put them back when the fit ends."""

    def __init__(self) -> None:
        self.best = torch.inf
        self.state: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the weights when the validation loss is lower than ever before."""
        loss = float(trainer.callback_metrics["validation_loss"])
        if not trainer.sanity_checking and loss < self.best:
            self.best = loss
            self.state = {name: t.clone() for name, t in pl_module.state_dict().items()}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Put the best weights back."""
        if self.state:
            pl_module.load_state_dict(self.state)


PENALTIES: dict[str, Callable[..., Tensor]] = {"l1": l1, "l2": l2}
"""Regularizers that add a term to the loss: functions of (weights, **hyper-parameters)."""

PENALTY_GRADIENTS: dict[str, Callable[..., Tensor]] = {
    "l1": lambda w, strength: w.sign().mul_(strength),
    "l2": lambda w, strength: w.mul(strength),
}
"""The gradient of each penalty by one weight matrix, with the bits that autograd gives."""

LAYERS: dict[str, Callable[..., nn.Module]] = {"dropout": dropout, "batch_norm": batch_norm}
"""Regularizers that put a layer into every hidden layer."""

CALLBACKS: dict[str, Callable[..., list[Callback]]] = {"early_stopping": early_stopping}
"""Regularizers that act on the run."""

OPTIMIZER_OPTIONS = {"weight_decay": "strength"}
"""Regularizers that are an option of the optimizer, with the hyper-parameter that it takes."""
