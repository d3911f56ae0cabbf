"""What models are trained on: data sets as Lightning data modules, loaded only when they are asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recipebench.datamodules.base import TensorDataModule
    from recipebench.datamodules.digits import Digits
    from recipebench.datamodules.mnist import MNIST, FashionMNIST
    from recipebench.datamodules.registry import DATA_MODULES, create
    from recipebench.datamodules.synthetic import SyntheticRegression

__all__ = [
    "DATA_MODULES",
    "MNIST",
    "Digits",
    "FashionMNIST",
    "SyntheticRegression",
    "TensorDataModule",
    "create",
]

_HOMES = {
    "DATA_MODULES": "registry",
    "MNIST": "mnist",
    "Digits": "digits",
    "FashionMNIST": "mnist",
    "SyntheticRegression": "synthetic",
    "TensorDataModule": "base",
    "create": "registry",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, so that the catalog alone never imports torch (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
