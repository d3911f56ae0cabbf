"""Transfer learning: a CNN whose filters were trained on other images, with new linear layers on top.

Source: Saito, Deep Learning from Scratch, deep learning (trained weights as initial values, trained again
on the new data: fine tuning); Yosinski, Clune, Bengio and Lipson 2014.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from recipebench.errors import RequestError
from recipebench.lightning_modules.catalog import ACTIVATIONS as ACTIVATION_CATALOG
from recipebench.lightning_modules.cnn import CNN, build_network
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.supervised import Recipe, Spec, SupervisedModule, regularizer_of


class TransferCNN(SupervisedModule):
    """A `CNN` that starts from the features of one trained on other images.

    The features are the layers before `flatten`: convolutions and their norms, running statistics
    included. The linear layers and the output, of the new number of classes, start anew. Frozen
    features are not trained: no gradient, no penalty's gradient, no decay, and norms that stand still, in
    eval mode. Images may have another size than those of the first data set, not other channels.

    Training comes in two parts, of which the first is another model's::

        model = TransferCNN(source="mnist", freeze="features")
        teacher = model.pretraining_module(in_shape=(1, 28, 28), out_features=10)
        Trainer(max_epochs=model.pretrain_epochs).fit(teacher, MNIST())
        model.adopt(teacher)
        Trainer(max_epochs=5).fit(model, FashionMNIST())

    Args:
        source: the data set that the features are trained on first.
        pretrain_epochs: how many epochs that takes.
        freeze: `features` (they stay as adopted) or `none` (all is trained on).
        features: trained weights by the names of `CNN.network`'s state (`conv_1.weight`, ...), adopted at
            once; None leaves it to `adopt`. Names of other layers are left out.
        in_shape: (channels, height, width) of the new images.
        channels: filters of each convolution; this and what follows as in `CNN`.
        kernel: height and width of a filter.
        padding: zeros on each side.
        stride: pixels from one place of a filter to the next.
        pool: `max`, `average` or `none`.
        pool_size: height and width of a pool, and its stride.
        hidden: units of the linear layers.
        out_features: classes of the new data set.
        task: `classification` or `regression`; this and what follows holds for both trainings.
        activation: a level of the catalog; Maxout takes the maximum over channels.
        **recipe: initializer, regularizer, optimizer, loss, schedule, init_seed; see `SupervisedModule`.

    Attributes:
        pretraining: the options of the CNN that is trained first.
        adopted: a bool tensor, part of the state: whether the features are trained ones.

    Shape:
        (batch, channels, height, width) float32 to (batch, out_features).

    Raises:
        RequestError: a level or a hyper-parameter is wrong, a window does not fit the images, or
            `features` lacks a weight or has one of another shape.

    Example:
        >>> model = TransferCNN(in_shape=(1, 8, 8), channels=[4], freeze="features")
        >>> model.adopt(model.pretraining_module(in_shape=(1, 28, 28), out_features=10))
        >>> [name for name, p in model.network.named_parameters() if not p.requires_grad]
        ['conv_1.weight', 'conv_1.bias']

    References:
        Yosinski, Clune, Bengio and Lipson, How Transferable Are Features in Deep Neural Networks?, NeurIPS
        2014; Saito, Deep Learning from Scratch, deep learning.
    """

    adopted: Tensor

    def __init__(
        self,
        *,
        source: str = "mnist",
        pretrain_epochs: int = 3,
        freeze: str = "none",
        features: Mapping[str, Tensor] | None = None,
        in_shape: Sequence[int] = (1, 28, 28),
        channels: Sequence[int] = (16, 32),
        kernel: int = 5,
        padding: int = 2,
        stride: int = 1,
        pool: str = "max",
        pool_size: int = 2,
        hidden: Sequence[int] = (128,),
        out_features: int = 10,
        task: str = "classification",
        activation: Spec = "relu",
        **recipe: Unpack[Recipe],
    ) -> None:
        layers: dict[str, Any] = {
            "channels": channels,
            "kernel": kernel,
            "padding": padding,
            "stride": stride,
            "pool": pool,
            "pool_size": pool_size,
            "hidden": hidden,
        }
        own = {"source": source, "pretrain_epochs": pretrain_epochs, "freeze": freeze}
        model = MODELS.choose({"transfer_cnn": {**own, **layers}})
        network = build_network(
            model,
            in_shape,
            out_features,
            ACTIVATION_CATALOG.choose(activation),
            regularizer_of(recipe),
        )
        super().__init__(network, task=task, **recipe)
        self.source, self.pretrain_epochs, self.freeze_policy = source, pretrain_epochs, freeze
        self.pretraining = {**layers, "task": task, "activation": activation, **recipe}
        self.register_buffer("adopted", torch.tensor(False))
        for parameter in self.features.parameters():
            parameter.requires_grad_(freeze != "features")
        if features is not None:
            self._adopt(features)

    @property
    def features(self) -> nn.Sequential:
        """The layers before `flatten`, which were trained on the other images."""
        names = [name for name, _ in self.network.named_children()]
        assert isinstance(self.network, nn.Sequential)
        features = self.network[: names.index("flatten")]
        assert isinstance(features, nn.Sequential)
        return features

    def pretraining_module(self, *, in_shape: Sequence[int], out_features: int) -> CNN:
        """Return the CNN whose features this model takes: same layers, same recipe, same streams.

        Args:
            in_shape: (channels, height, width) of the images of `source`.
            out_features: classes of `source`.

        Raises:
            RequestError: a window does not fit those images.
        """
        return CNN(in_shape=in_shape, out_features=out_features, **self.pretraining)

    def adopt(self, trained: CNN) -> None:
        """Take the features of a trained CNN: a copy of their weights and running statistics.

        Args:
            trained: what `pretraining_module` returned, after its fit.

        Raises:
            RequestError: its features have other names or shapes.
        """
        self._adopt(trained.network.state_dict())

    def on_fit_start(self) -> None:
        """Refuse to train on untrained features: that would be a CNN under another name."""
        if not self.adopted:
            raise RequestError(
                "transfer_cnn: expected trained features, got none: pass features=..., or train "
                "pretraining_module(...) first and adopt(...) it."
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's outputs, (batch, out_features); frozen features are in eval mode always."""
        if self.freeze_policy == "features":
            self.features.eval()
        return super().forward(x)

    def _adopt(self, weights: Mapping[str, Tensor]) -> None:
        own = self.features.state_dict()
        for name, value in own.items():
            if name not in weights:
                known = ", ".join(sorted(weights)) or "nothing"
                raise RequestError(f"transfer_cnn: features: expected {name}, got {known}.")
            if weights[name].shape != value.shape:
                raise RequestError(
                    f"transfer_cnn: features: {name}: expected shape {tuple(value.shape)}, "
                    f"got {tuple(weights[name].shape)}."
                )
        self.features.load_state_dict({name: weights[name] for name in own})
        self.adopted.fill_(True)
