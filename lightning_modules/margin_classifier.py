"""A margin classifier: one linear layer whose true class must lead by a margin (Zhang et al., D2L, 3.4)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Unpack

from torch import nn

from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.supervised import SupervisedModule, Training


class MarginClassifier(SupervisedModule):
    """o = W x + b, trained on (1 / K) sum over k ≠ y of max(0, margin - o_y + o_k): o_y - o_k >= margin.

    Once the true class leads all others by the margin, a sample has no more say.

    Args:
        margin: by how much the score of the true class is to exceed each other.
        in_features: numbers in one input, all dimensions but the first flattened.
        out_features: K, classes.
        **recipe: initializer, regularizer, optimizer, schedule, init_seed; see `SupervisedModule`.

    Shape:
        (batch, ...) float32, in_features numbers each, to (batch, out_features) scores o, no logits.

    Raises:
        RequestError: a level or one of its hyper-parameters is not known, or needs a hidden layer.

    Example:
        >>> MarginClassifier(in_features=64, margin=0.5).loss
        Choice(name='multi_margin', parameters={'margin': 0.5})

    References:
        Li, Dive into Deep Learning (lectures), softmax regression: o_y - o_i above a margin; Weston and
        Watkins 1999; `torch.nn.MultiMarginLoss`.
    """

    def __init__(
        self,
        *,
        margin: float = 1.0,
        in_features: int = 784,
        out_features: int = 10,
        **recipe: Unpack[Training],
    ) -> None:
        MODELS.choose({"margin_classifier": {"margin": margin}})
        layers = OrderedDict(flatten=nn.Flatten(), output=nn.Linear(in_features, out_features))
        super().__init__(
            nn.Sequential(layers), task="classification", loss={"multi_margin": {"margin": margin}}, **recipe
        )
