"""What is trained: an ordinary LightningModule for each documented model, and the levels compared."""

from __future__ import annotations

import importlib
from typing import Any

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
