"""All packed forms; a new one is a module of its own, imported here."""

from recipebench.lightning_modules.packed.base import Inputs, PackedLayer, layer_obstacle, pack_layer
from recipebench.lightning_modules.packed.elementwise import (
    PackedLeakyReLU,
    PackedReLU,
    PackedSigmoid,
    PackedTanh,
)
from recipebench.lightning_modules.packed.linear import PackedLinear
from recipebench.lightning_modules.packed.per_member import PerMember
from recipebench.lightning_modules.packed.selections import PackedDropout, PackedFlatten, PackedMaxout

__all__ = [
    "Inputs",
    "PackedDropout",
    "PackedFlatten",
    "PackedLayer",
    "PackedLeakyReLU",
    "PackedLinear",
    "PackedMaxout",
    "PackedReLU",
    "PackedSigmoid",
    "PackedTanh",
    "PerMember",
    "layer_obstacle",
    "pack_layer",
]
