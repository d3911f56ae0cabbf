"""All packed forms; a new one is a module of its own, imported here."""

from recipebench.lightning_modules.packed.base import Inputs, PackedLayer, layer_obstacle, pack_layer
from recipebench.lightning_modules.packed.convolution import (
    PackedAvgPool2d,
    PackedChannelMaxout,
    PackedConv2d,
    PackedIm2colConv2d,
    PackedMaxPool2d,
)
from recipebench.lightning_modules.packed.elementwise import (
    PackedLeakyReLU,
    PackedReLU,
    PackedSigmoid,
    PackedStep,
    PackedTanh,
)
from recipebench.lightning_modules.packed.linear import PackedLinear
from recipebench.lightning_modules.packed.per_member import PerMember
from recipebench.lightning_modules.packed.selections import (
    PackedDropout,
    PackedDropoutAtTest,
    PackedFlatten,
    PackedHardmax,
    PackedMaxout,
)
from recipebench.lightning_modules.packed.two_columns import PackedTwoColumns

__all__ = [
    "Inputs",
    "PackedAvgPool2d",
    "PackedChannelMaxout",
    "PackedConv2d",
    "PackedDropout",
    "PackedDropoutAtTest",
    "PackedFlatten",
    "PackedHardmax",
    "PackedIm2colConv2d",
    "PackedLayer",
    "PackedLeakyReLU",
    "PackedLinear",
    "PackedMaxPool2d",
    "PackedMaxout",
    "PackedReLU",
    "PackedSigmoid",
    "PackedStep",
    "PackedTanh",
    "PackedTwoColumns",
    "PerMember",
    "layer_obstacle",
    "pack_layer",
]
