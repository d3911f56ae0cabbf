"""Trains K plain modules at once and changes nothing but the time."""

from recipebench.lightning_modules.packed.base import Inputs
from recipebench.lightning_modules.packed.graphs import cuda_capture
from recipebench.lightning_modules.packed.module import PackedModule, mixing_obstacle, obstacle

__all__ = ["Inputs", "PackedModule", "cuda_capture", "mixing_obstacle", "obstacle"]
