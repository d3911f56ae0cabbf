"""What models are trained on: data sets as Lightning data modules, loaded only when they are asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recipebench.datamodules.base import TensorDataModule
    from recipebench.datamodules.curve import Curve
    from recipebench.datamodules.digits import Digits
    from recipebench.datamodules.environments import CartPole, Catch, EnvironmentDataModule
    from recipebench.datamodules.gates import Gates
    from recipebench.datamodules.house_prices import HousePrices
    from recipebench.datamodules.image_folder import ImageFolder
    from recipebench.datamodules.mnist import MNIST, FashionMNIST
    from recipebench.datamodules.plane import Circles, Moons, TwoGaussians
    from recipebench.datamodules.registry import DATA_MODULES, create
    from recipebench.datamodules.scenes import DigitScenes
    from recipebench.datamodules.surfaces import Plateau, QuadraticBowl, QuadraticToy, Saddle
    from recipebench.datamodules.synthetic import SyntheticRegression
    from recipebench.datamodules.tabular import BreastCancer, Diabetes, Iris, Wine
    from recipebench.datamodules.temperatures import Temperatures
    from recipebench.datamodules.two_boxes import TwoBoxes

__all__ = [
    "DATA_MODULES",
    "MNIST",
    "BreastCancer",
    "CartPole",
    "Catch",
    "Circles",
    "Curve",
    "Diabetes",
    "DigitScenes",
    "Digits",
    "EnvironmentDataModule",
    "FashionMNIST",
    "Gates",
    "HousePrices",
    "ImageFolder",
    "Iris",
    "Moons",
    "Plateau",
    "QuadraticBowl",
    "QuadraticToy",
    "Saddle",
    "SyntheticRegression",
    "Temperatures",
    "TensorDataModule",
    "TwoBoxes",
    "TwoGaussians",
    "Wine",
    "create",
]

_HOMES = {
    "DATA_MODULES": "registry",
    "MNIST": "mnist",
    "BreastCancer": "tabular",
    "CartPole": "environments",
    "Catch": "environments",
    "Circles": "plane",
    "Curve": "curve",
    "Diabetes": "tabular",
    "DigitScenes": "scenes",
    "Digits": "digits",
    "EnvironmentDataModule": "environments",
    "FashionMNIST": "mnist",
    "Gates": "gates",
    "HousePrices": "house_prices",
    "ImageFolder": "image_folder",
    "Iris": "tabular",
    "Moons": "plane",
    "Plateau": "surfaces",
    "QuadraticBowl": "surfaces",
    "QuadraticToy": "surfaces",
    "Saddle": "surfaces",
    "SyntheticRegression": "synthetic",
    "Temperatures": "temperatures",
    "TensorDataModule": "base",
    "TwoBoxes": "two_boxes",
    "TwoGaussians": "plane",
    "Wine": "tabular",
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
