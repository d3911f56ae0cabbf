"""Deep convolutional network of small stacked filters: blocks of 3x3 convolutions, a pool after each.

Source: Saito, Deep Learning from Scratch, deep learning; Simonyan and Zisserman 2015 (VGG).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from recipebench.lightning_modules.catalog import ACTIVATIONS as ACTIVATION_CATALOG
from recipebench.lightning_modules.cnn import build_network
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.supervised import Recipe, Spec, SupervisedModule, regularizer_of


class DeepCNN(SupervisedModule):
    """Blocks of convolutions that keep the maps' size (padding (kernel - 1) / 2), each closed by a pool.

    Two stacked 3x3 filters see 5x5 pixels, as one 5x5 filter does, with 2 * 9 = 18 weights in place of
    25 for each pair of channels, and an activation between them: `geometry.RECEPTIVE_FIELDS` holds the
    parameters to compare.

    Args:
        in_shape: (channels, height, width) of one image.
        blocks: filters of the convolutions of each block; with Maxout, channels after the maximum.
        convs_per_block: convolutions in a block, each followed by an activation.
        kernel: height and width of the filters, odd.
        pool: what closes a block: `max`, `average` or `none`.
        pool_size: height and width of a pool's windows, which do not overlap.
        hidden: units of each hidden linear layer after the blocks.
        out_features: classes.
        activation: a level of the catalog; Maxout takes the maximum over channels.
        task: `classification` or `regression`.
        **recipe: initializer, regularizer, optimizer, loss, schedule, init_seed; see `SupervisedModule`.

    Shape:
        (batch, channels, height, width) float32 to (batch, out_features).

    Raises:
        RequestError: a level or a hyper-parameter is wrong, or a window does not fit the images.

    Example:
        >>> [name for name, _ in DeepCNN(blocks=[4], hidden=[]).network.named_children()]
        ['conv_1', 'activation_1', 'conv_2', 'activation_2', 'pool_1', 'flatten', 'output']

    References:
        Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR
        2015; Saito, Deep Learning from Scratch, deep learning.
    """

    def __init__(
        self,
        *,
        in_shape: Sequence[int] = (1, 28, 28),
        blocks: Sequence[int] = (16, 32),
        convs_per_block: int = 2,
        kernel: int = 3,
        pool: str = "max",
        pool_size: int = 2,
        hidden: Sequence[int] = (128,),
        out_features: int = 10,
        task: str = "classification",
        activation: Spec = "relu",
        **recipe: Unpack[Recipe],
    ) -> None:
        given = {
            "blocks": blocks,
            "convs_per_block": convs_per_block,
            "kernel": kernel,
            "pool": pool,
            "pool_size": pool_size,
            "hidden": hidden,
        }
        super().__init__(
            build_network(
                MODELS.choose({"deep_cnn": given}),
                in_shape,
                out_features,
                ACTIVATION_CATALOG.choose(activation),
                regularizer_of(recipe),
            ),
            task=task,
            **recipe,
        )
