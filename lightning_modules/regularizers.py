"""The regularizers that are compared: what each adds to the loss, the layers, the optimizer or the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor, nn

from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.lightning_modules.shapes import dropout_problem
from recipebench.lightning_modules.stopping import has_converged


def l1(weights: Iterable[Tensor], strength: float = 1e-5) -> Tensor:
    """strength * sum |w| over all weights, not biases; subgradient 0 at 0.

    Args:
        weights: the weight matrices, of any shapes.
        strength: factor of the sum, 1e-5 by default.

    Returns:
        A scalar, to be added to the mean loss.

    Example:
        >>> l1([torch.tensor([[1.0, -2.0]])], strength=0.5)
        tensor(1.5000)

    References:
        Tibshirani, Regression Shrinkage and Selection via the Lasso, 1996; Ng, Improving Deep Neural
        Networks, 1.4.
    """
    return strength * _total(w.abs().sum() for w in weights)


def l2(weights: Iterable[Tensor], strength: float = 1e-4) -> Tensor:
    """(strength / 2) * sum w² over all weights, not biases, whatever the batch size.

    Args:
        weights: the weight matrices, of any shapes.
        strength: its gradient is strength * w; 1e-4 by default.

    Returns:
        A scalar, to be added to the mean loss.

    Example:
        >>> l2([torch.tensor([[1.0, -2.0]])], strength=0.5)
        tensor(1.2500)

    References:
        Hoerl and Kennard, Ridge Regression, 1970; Ng, Improving Deep Neural Networks, 1.4.
    """
    return strength / 2 * _total(w.square().sum() for w in weights)


def _total(terms: Iterable[Tensor]) -> Tensor:
    """Sum scalars from left to right; the order fixes the bits."""
    return sum(terms, start=torch.zeros(()))


class DropoutAtTest(nn.Dropout):
    """h m in training, (1 - p) h in eval mode: dropout that is scaled in tests instead of in training.

    The noise m is drawn as `nn.Dropout` draws it. What the next layer gets has the same mean in training
    and in tests, as with `nn.Dropout`, but 1 - p times as large; the factor that makes it so is the share
    that is kept, 1 - p, not the share p that is dropped.

    Shape:
        (batch, units) to the same shape.

    References:
        Srivastava et al., Dropout, JMLR 2014, 4; Saito, Deep Learning from Scratch, dropout.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that nn.Dropout has
        """Drop in training, scale down in eval mode."""
        if self.training and self.p > 0:
            return input * torch.empty_like(input).bernoulli_(1 - self.p)
        return input if self.training else input * (1 - self.p)


def dropout(p: float = 0.5, scaling: str = "inverted") -> nn.Module:
    """h m / (1 - p), m = 0 with probability p, else 1, for every number anew; the identity in eval mode.

    Args:
        p: probability of dropping an output (Ng's keep_prob is 1 - p), 0.5 by default.
        scaling: `inverted` (the default) divides by 1 - p in training; `at_test` trains with h m and
            multiplies by 1 - p in eval mode.

    Returns:
        `nn.Dropout` or `DropoutAtTest`: (batch, units) to the same shape; tests see the mean of training.

    Raises:
        KeyError: there is no such scaling.

    References:
        Srivastava et al., Dropout, JMLR 2014; Ng, Improving Deep Neural Networks, 1.6; Saito, Deep Learning
        from Scratch, dropout (at_test).
    """
    kinds: dict[str, type[nn.Dropout]] = {"inverted": nn.Dropout, "at_test": DropoutAtTest}
    return kinds[scaling](p)


def dropout_per_layer(p: Sequence[float] = (0.0, 0.5, 0.3)) -> list[nn.Module]:
    """h m / (1 - p_l), m = 0 with probability p_l, else 1: `dropout` with a probability for each layer.

    Args:
        p: probabilities of dropping, of the input and of each hidden layer in turn; 0, 0.5 and 0.3 by
            default: keep_prob 1, 0.5 and 0.7.

    Returns:
        `nn.Dropout` for the input and for each hidden layer.

    References:
        Ng, Improving Deep Neural Networks, 1.6.
    """
    return [nn.Dropout(probability) for probability in p]


def dropouts(regularizer: Choice, hidden: Sequence[int]) -> dict[int, nn.Module]:
    """Return the dropout layers that a regularizer adds to linear layers, by place; none if it is another.

    Args:
        regularizer: `dropout`: one in each hidden layer; `dropout_per_layer`: one on the input, too.
        hidden: units of each hidden layer.

    Returns:
        0 for what goes into the first linear layer, i for hidden layer i.

    Raises:
        RequestError: `dropout_per_layer` has a wrong number of probabilities.

    Example:
        >>> dropouts(Choice("dropout_per_layer", {"p": (0.0, 0.5)}), hidden=[128])
        {0: Dropout(p=0.0, inplace=False), 1: Dropout(p=0.5, inplace=False)}
    """
    options: dict[str, Any] = dict(regularizer.parameters)
    if regularizer.name == "dropout":
        return {i: dropout(**options) for i in range(1, len(hidden) + 1)}
    if regularizer.name != "dropout_per_layer":
        return {}
    if problem := dropout_problem(options["p"], hidden):
        raise RequestError(problem)
    return dict(enumerate(dropout_per_layer(**options)))


def batch_norm(width: int, eps: float = 1e-5, momentum: float = 0.1, position: str = "before") -> nn.Module:
    """gamma (z - mean) / sqrt(variance + eps) + beta, for each unit over the batch.

    Mean and (biased) variance are the batch's in training, running averages in eval mode; gamma (1 at
    first) and beta (0) are learned. Torch refuses to train on a batch of one sample.

    Args:
        width: units.
        eps: added to the variance, 1e-5 by default.
        momentum: share of the newest batch in the running averages, 0.1 by default.
        position: `before` (the default) or `after` the activation: where the model puts the layer, and of
            no consequence in it.

    Returns:
        `nn.BatchNorm1d`: (batch, width) to the same shape.

    References:
        Ioffe and Szegedy, Batch Normalization, ICML 2015; Ng, Improving Deep Neural Networks, 3.4 (before
        the activation, though both are debated).
    """
    return nn.BatchNorm1d(width, eps=eps, momentum=momentum)


def early_stopping(patience: int = 3) -> list[Callback]:
    """Stop after `patience` epochs without a lower validation loss and go back to the best weights.

    The run ends when the validation loss was not below its minimum for `patience` validations in a
    row. Both callbacks act on validations: a trainer that runs none trains on.

    Args:
        patience: validations without improvement that are borne, 3 by default, as Lightning's.

    Returns:
        Lightning's `EarlyStopping` on `validation_loss` with min_delta 0, and `RestoreBest`.

    References:
        Prechelt, Early Stopping - But When?, 1998; Ng, Improving Deep Neural Networks, 1.8.
    """
    stop = EarlyStopping("validation_loss", patience=patience, min_delta=0.0, check_on_train_epoch_end=False)
    return [stop, RestoreBest()]


class RestoreBest(Callback):
    """Keep the weights of the lowest validation loss, the first on ties, and put them back after the fit.

    Attributes:
        best: the lowest validation loss so far, infinite at first.
        state: the weights that it was measured with, empty at first.
    """

    def __init__(self) -> None:
        self.best = torch.inf
        self.state: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the weights when the validation loss is lower than ever before."""
        loss = float(trainer.callback_metrics["validation_loss"])
        if not trainer.sanity_checking and loss < self.best:
            self.best = loss
            self.state = {name: t.clone() for name, t in pl_module.state_dict().items()}

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the best weights back."""
        if self.state:
            pl_module.load_state_dict(self.state)


def convergence_stopping(tolerance: float = 0.01, patience: int = 1) -> list[Callback]:
    """Stop once the training loss changed by less than `tolerance` of itself, `patience` epochs in a row.

    The training loss of an epoch is the mean over its samples of what was minimized, penalty included,
    as it was when each batch came up. The last weights are kept.

    Args:
        tolerance: relative change that counts as none, 0.01 by default.
        patience: how many epochs in a row must bring so small a change, 1 by default.

    Returns:
        `ConvergenceStopping`.

    References:
        Li, Dive into Deep Learning (lectures), linear regression, questions (about 1 %).
    """
    return [ConvergenceStopping(tolerance, patience)]


class ConvergenceStopping(Callback):
    """Stop the fit when `has_converged` says so of the epochs' training losses.

    Args:
        tolerance: relative change that counts as none.
        patience: how many epochs in a row must bring so small a change.

    Attributes:
        losses: the training loss of each epoch so far.
    """

    def __init__(self, tolerance: float, patience: int) -> None:
        self.tolerance = tolerance
        self.patience = patience
        self.losses: list[float] = []
        self._batches: list[tuple[Tensor, Tensor]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier fit."""
        self.losses, self._batches = [], []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the losses and the penalty that the optimizer saw."""
        self._batches.append((outputs["losses"].double(), outputs["penalty"].double()))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the epoch's mean and stop if it hardly differs from the last."""
        losses = torch.cat([each for each, _ in self._batches])
        penalties = torch.stack([penalty * len(each) for each, penalty in self._batches])
        self._batches = []
        self.losses.append(float((losses.sum() + penalties.sum()) / len(losses)))
        if has_converged(self.losses, self.tolerance, self.patience):
            trainer.should_stop = True


PENALTIES: dict[str, Callable[..., Tensor]] = {"l1": l1, "l2": l2}
"""Regularizers that add a term to the loss: functions of (weights, **hyper-parameters)."""

PENALTY_GRADIENTS: dict[str, Callable[..., Tensor]] = {
    "l1": lambda w, strength: w.sign().mul_(strength),
    "l2": lambda w, strength: w.mul(strength),
}
"""The gradient of each penalty by one weight matrix, with the bits that autograd gives."""

LAYERS: dict[str, Callable[..., nn.Module | list[nn.Module]]] = {
    "dropout": dropout,
    "dropout_per_layer": dropout_per_layer,
    "batch_norm": batch_norm,
}
"""Regularizers that put layers into the network."""

LAYER_TYPES: dict[str, tuple[type[nn.Module], ...]] = {
    "dropout": (nn.Dropout,),
    "dropout_per_layer": (nn.Dropout,),
    "batch_norm": (nn.BatchNorm1d, nn.BatchNorm2d),
}
"""The types of these layers: a network that is to be so regularized must have one of them."""

CALLBACKS: dict[str, Callable[..., list[Callback]]] = {
    "early_stopping": early_stopping,
    "convergence_stopping": convergence_stopping,
}
"""Regularizers that act on the run."""

OPTIMIZER_OPTIONS = {"weight_decay": "strength"}
"""Regularizers that are an option of the optimizer, with the hyper-parameter that it takes."""
