"""The data modules by name, and the way from a choice to one of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from recipebench.datamodules.base import TensorDataModule
from recipebench.datamodules.catalog import DATA
from recipebench.datamodules.curve import Curve
from recipebench.datamodules.digits import Digits
from recipebench.datamodules.environments import CartPole, Catch
from recipebench.datamodules.gates import Gates
from recipebench.datamodules.house_prices import HousePrices
from recipebench.datamodules.mnist import MNIST, FashionMNIST
from recipebench.datamodules.plane import Circles, Moons, TwoGaussians
from recipebench.datamodules.recorded import RecordedDataModule
from recipebench.datamodules.scenes import DigitScenes
from recipebench.datamodules.surfaces import Plateau, QuadraticBowl, QuadraticToy, Saddle
from recipebench.datamodules.synthetic import SyntheticRegression
from recipebench.datamodules.tabular import BreastCancer, Diabetes, Iris, Wine
from recipebench.datamodules.temperatures import Temperatures
from recipebench.datamodules.two_boxes import TwoBoxes
from recipebench.levels import Choice

DATA_MODULES: dict[str, type[RecordedDataModule]] = {
    "synthetic_regression": SyntheticRegression,
    "digits": Digits,
    "mnist": MNIST,
    "fashion_mnist": FashionMNIST,
    "wine": Wine,
    "breast_cancer": BreastCancer,
    "iris": Iris,
    "diabetes": Diabetes,
    "two_gaussians": TwoGaussians,
    "moons": Moons,
    "circles": Circles,
    "gates": Gates,
    "curve": Curve,
    "house_prices": HousePrices,
    "temperatures": Temperatures,
    "two_boxes": TwoBoxes,
    "cartpole": CartPole,
    "catch": Catch,
    "quadratic_toy": QuadraticToy,
    "quadratic_bowl": QuadraticBowl,
    "saddle": Saddle,
    "plateau": Plateau,
    "digit_scenes": DigitScenes,
}
"""The class of every data set in `catalog.DATA`, under the same names."""


def create(choice: Choice, *, data_dir: str | Path | None = None, **options: Any) -> TensorDataModule:
    """Make the data module of a choice.

    Args:
        choice: data set and parameters.
        data_dir: handed to the data sets that are read from files; the others have no use for it.
        **options: batch_size, validation, inputs, seed and others; see `TensorDataModule`.

    Returns:
        A `TensorDataModule`; environments and surfaces, which have no samples, are another
        `RecordedDataModule`, in spite of the annotation.

    Raises:
        RequestError: the data set, a parameter or a value is not known.
        TypeError: an option is not known.

    Example:
        >>> create(Choice("digits", {}), seed=3)
        Digits(digits, seed=3)
    """
    choice = DATA.choose(choice)
    make: Callable[..., RecordedDataModule] = DATA_MODULES[choice.name]
    if "data_dir" in inspect.signature(make).parameters:
        options["data_dir"] = data_dir
    return cast("TensorDataModule", make(**choice.parameters, **options))
