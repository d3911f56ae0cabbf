"""Trains K plain modules at once and changes nothing but the time."""

from recipebench.lightning_modules.packed.base import Inputs
from recipebench.lightning_modules.packed.module import PackedModule, obstacle

__all__ = ["Inputs", "PackedModule", "obstacle"]
