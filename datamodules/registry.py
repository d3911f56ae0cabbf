"""The data modules by name, and the way from a choice to one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from recipebench.datamodules.base import TensorDataModule
from recipebench.datamodules.catalog import DATA
from recipebench.datamodules.digits import Digits
from recipebench.datamodules.mnist import MNIST, FashionMNIST
from recipebench.datamodules.synthetic import SyntheticRegression
from recipebench.levels import Choice

DATA_MODULES: dict[str, type[TensorDataModule]] = {
    "synthetic_regression": SyntheticRegression,
    "digits": Digits,
    "mnist": MNIST,
    "fashion_mnist": FashionMNIST,
}
"""The class of every data set in `catalog.DATA`, under the same names."""


def create(choice: Choice, *, data_dir: str | Path | None = None, **options: Any) -> TensorDataModule:
    """Make the data module of a choice.

    Args:
        choice: data set and parameters.
        data_dir: handed to the data sets that are read from files; the others have no use for it.
        **options: batch_size, validation, inputs, seed; see `TensorDataModule`.

    Raises:
        RequestError: the data set, a parameter or a value is not known.
        TypeError: an option is not known.

    Example:
        >>> create(Choice("digits", {}), seed=3)
        Digits(digits, seed=3)
    """
    choice = DATA.choose(choice)
    make: Callable[..., TensorDataModule] = DATA_MODULES[choice.name]
    if DATA_MODULES[choice.name].needs_files:
        options["data_dir"] = data_dir
    return make(**choice.parameters, **options)
