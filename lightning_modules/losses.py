"""The losses that are compared: functions of outputs and targets that return the loss of every sample.

A loss looks at one sample at a time: the value of a row does not depend on the other rows of the batch,
so many models' batches can be laid end to end. What is minimized is the mean over the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """(o - y)²: torch's `MSELoss`, without the half of the notes; its gradient is 2 (o - y).

    Args:
        outputs: (batch, values) predictions.
        targets: like `outputs`.

    Returns:
        (batch,), the mean over the values of a sample.

    Example:
        >>> mse(torch.tensor([[3.0]]), torch.tensor([[1.0]]))
        tensor([4.])

    References:
        `torch.nn.MSELoss`; Lee, Machine Learning, regression.
    """
    return F.mse_loss(outputs, targets, reduction="none").mean(1)


def half_mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """(o - y)² / 2, so that the gradient is the error o - y itself: `mse` at half the learning rate.

    Args:
        outputs: (batch, values) predictions.
        targets: like `outputs`.

    Returns:
        (batch,), the mean over the values of a sample.

    References:
        Zhang, Lipton, Li and Smola, Dive into Deep Learning, linear neural networks; Saito, Deep Learning
        from Scratch, learning.
    """
    return mse(outputs, targets) / 2


def l1(outputs: Tensor, targets: Tensor) -> Tensor:
    """|o - y|: a gradient of ±1 however large the error, 0 where there is none; torch's `L1Loss`.

    Args:
        outputs: (batch, values) predictions.
        targets: like `outputs`.

    Returns:
        (batch,), the mean over the values of a sample.

    References:
        `torch.nn.L1Loss`; Zhang, Lipton, Li and Smola, Dive into Deep Learning, linear neural networks.
    """
    return F.l1_loss(outputs, targets, reduction="none").mean(1)


def huber(outputs: Tensor, targets: Tensor, delta: float = 1.0) -> Tensor:
    """e² / 2 for |e| < delta, else delta (|e| - delta / 2), e = o - y: torch's `HuberLoss`.

    The gradient is e clipped to ±delta.

    Args:
        outputs: (batch, values) predictions.
        targets: like `outputs`.
        delta: error from which on the loss is a straight line, 1 by default.

    Returns:
        (batch,), the mean over the values of a sample.

    References:
        Huber, Robust Estimation of a Location Parameter, 1964; Zhang, Lipton, Li and Smola, Dive into Deep
        Learning, linear neural networks (delta 1).
    """
    return F.huber_loss(outputs, targets, reduction="none", delta=delta).mean(1)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """-log softmax(o)_y, in nats: torch's `CrossEntropyLoss`; its gradient by o is softmax(o) - one_hot(y).

    Args:
        outputs: (batch, classes) logits.
        targets: (batch,) int64 classes.

    Returns:
        (batch,).

    References:
        `torch.nn.CrossEntropyLoss`; Zhang, Lipton, Li and Smola, Dive into Deep Learning, linear neural
        networks; Ng, Improving Deep Neural Networks, 3.9.
    """
    return F.cross_entropy(outputs, targets, reduction="none")


def label_smoothing(outputs: Tensor, targets: Tensor, epsilon: float = 0.1, form: str = "torch") -> Tensor:
    """-sum over k of t_k log softmax(o)_k: cross-entropy whose targets t leave a little to every class.

    The forms differ in t, K being the number of classes (at epsilon 0 all are `cross_entropy`):

    - `torch`: 1 - epsilon + epsilon / K on the true class, epsilon / K on the others;
    - `corrected`: 1 - epsilon on the true class, epsilon / (K - 1) on the others;
    - `notes`: 1 - epsilon on the true class, epsilon / K on the others, as lecture notes have it: the
      targets add up to 1 - epsilon / K only.

    Args:
        outputs: (batch, classes) logits, two classes or more.
        targets: (batch,) int64 classes.
        epsilon: what is taken from the true class before it is shared out, 0.1 by default.
        form: `torch` (the default), `corrected` or `notes`.

    Returns:
        (batch,).

    Raises:
        KeyError: there is no such form.

    References:
        Szegedy et al., Rethinking the Inception Architecture, CVPR 2016; `torch.nn.CrossEntropyLoss`;
        Li, Dive into Deep Learning (lectures), softmax regression, questions (0.9 on the true class).
    """
    if form == "torch":
        return F.cross_entropy(outputs, targets, reduction="none", label_smoothing=epsilon)
    classes = outputs.shape[1]
    other = epsilon / {"corrected": classes - 1, "notes": classes}[form]
    true = 1 - epsilon - other
    log_likelihoods = outputs.log_softmax(1)
    chosen = log_likelihoods.gather(1, targets.unsqueeze(1)).squeeze(1)
    return -(true * chosen + other * log_likelihoods.sum(1))


def bce(outputs: Tensor, targets: Tensor) -> Tensor:
    """-[t log f + (1 - t) log(1 - f)], f = sigmoid(o), t = 1 for the true class and 0 for the others.

    One logistic regression for each class against the rest, averaged over the classes: torch's
    `BCEWithLogitsLoss` on one-hot targets, up to rounding. (The last bits of that one's gradient depend
    on where in the batch a number stands; those of a softmax over two scores do not.) With the columns
    (-s / 2, s / 2) of a two-class model it is the logistic loss of s / 2.

    Args:
        outputs: (batch, classes) logits.
        targets: (batch,) int64 classes.

    Returns:
        (batch,), the mean over the classes.

    References:
        Lee, Machine Learning, logistic regression; `torch.nn.BCEWithLogitsLoss`.
    """
    pairs = torch.stack([torch.zeros_like(outputs), outputs], dim=2)  # softmax of (0, o) is sigmoid of o
    true = _one_hot(outputs, targets).long()
    return F.cross_entropy(pairs.flatten(0, 1), true.flatten(), reduction="none").view_as(outputs).mean(1)


def one_hot_mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over k of (o_k - t_k)², t the one-hot target: least squares as a classifier.

    Args:
        outputs: (batch, classes), as they are, without a softmax.
        targets: (batch,) int64 classes.

    Returns:
        (batch,), the mean over the classes.

    References:
        Zhang, Lipton, Li and Smola, Dive into Deep Learning, linear neural networks (from regression to
        classification); Lee, Machine Learning, classification.
    """
    return mse(outputs, _one_hot(outputs, targets))


def probability_mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over k of (p_k - t_k)², p = softmax(o), t one-hot: the squared loss on probabilities.

    With two classes it is (f - y)², f = sigmoid(o_1 - o_0): logistic regression with the squared loss,
    whose gradient vanishes not only near the target but also far away from it.

    Args:
        outputs: (batch, classes) logits.
        targets: (batch,) int64 classes.

    Returns:
        (batch,), the mean over the classes.

    References:
        Brier, Verification of Forecasts Expressed in Terms of Probability, 1950; Lee, Machine Learning,
        logistic regression (why not the squared error).
    """
    return mse(outputs.softmax(1), _one_hot(outputs, targets))


def multi_margin(outputs: Tensor, targets: Tensor, margin: float = 1.0) -> Tensor:
    """Sum over k ≠ y of max(0, margin - o_y + o_k), divided by the classes: torch's `MultiMarginLoss`.

    Args:
        outputs: (batch, classes) scores.
        targets: (batch,) int64 classes.
        margin: by how much the true class is to lead, 1 by default.

    Returns:
        (batch,).

    References:
        Weston and Watkins, Support Vector Machines for Multi-Class Pattern Recognition, 1999;
        `torch.nn.MultiMarginLoss`.
    """
    return F.multi_margin_loss(outputs, targets, margin=margin, reduction="none")


def perceptron(outputs: Tensor, targets: Tensor) -> Tensor:
    """max over k of o_k, minus o_y: 0 where the answer is right, else by how much the wrong one leads.

    With a linear model and sgd this is Rosenblatt's learning rule: only wrong answers move the weights,
    toward the true class and away from the answer. On a tie the first of the largest is the answer, so a
    right answer never moves anything.

    Args:
        outputs: (batch, classes) scores.
        targets: (batch,) int64 classes.

    Returns:
        (batch,).

    References:
        Rosenblatt, The Perceptron, 1958; Collins, Discriminative Training Methods for Hidden Markov
        Models, EMNLP 2002 (several classes).
    """
    return outputs.max(1).values - outputs.gather(1, targets.unsqueeze(1)).squeeze(1)


def _one_hot(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.zeros_like(outputs).scatter_(1, targets.unsqueeze(1), 1.0)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "mse": mse,
    "half_mse": half_mse,
    "l1": l1,
    "huber": huber,
    "cross_entropy": cross_entropy,
    "label_smoothing": label_smoothing,
    "bce": bce,
    "one_hot_mse": one_hot_mse,
    "probability_mse": probability_mse,
    "multi_margin": multi_margin,
    "perceptron": perceptron,
}
"""Every loss by name: a function of (outputs, targets, **hyper-parameters) that returns (batch,)."""

END_TO_END = frozenset(LOSSES)
"""Losses that give a sample the same bits in whatever batch, so that one call can serve many modules."""
