"""What is trained: an ordinary LightningModule for each documented model, and the levels compared."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recipebench.lightning_modules.activations import ACTIVATIONS as ACTIVATIONS
    from recipebench.lightning_modules.initializers import INITIALIZERS as INITIALIZERS
    from recipebench.lightning_modules.linear_regression import LinearRegression as LinearRegression
    from recipebench.lightning_modules.mlp import MLP as MLP
    from recipebench.lightning_modules.models import MODELS as MODELS
    from recipebench.lightning_modules.models import create as create
    from recipebench.lightning_modules.optimizers import OPTIMIZERS as OPTIMIZERS
    from recipebench.lightning_modules.softmax_regression import SoftmaxRegression as SoftmaxRegression
    from recipebench.lightning_modules.supervised import SupervisedModule as SupervisedModule

_HOMES = {
    "LinearRegression": "linear_regression",
    "MLP": "mlp",
    "SoftmaxRegression": "softmax_regression",
    "SupervisedModule": "supervised",
    "ACTIVATIONS": "activations",
    "INITIALIZERS": "initializers",
    "OPTIMIZERS": "optimizers",
    "MODELS": "models",
    "create": "models",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a model only when it is asked for: reading the catalog loads no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
