"""Tables that scikit-learn ships: wine, breast cancer, iris and diabetes, verified before use."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

import numpy as np
import torch

from recipebench.datamodules.base import Samples, TensorDataModule
from recipebench.datamodules.catalog import FACTS
from recipebench.datamodules.generate import Array, rows, standardized
from recipebench.errors import RequestError


class Table(TensorDataModule):
    """Real-valued features (n, features) float32, and one class a row.

    There is no official test set: 0.2 of the rows are held out, drawn by `seed`. `standardized` inputs
    use each feature's mean and standard deviation over the training split.

    Args:
        **options: see `TensorDataModule`.

    Raises:
        RequestError: an option has the wrong type or value; scikit-learn ships other data.
    """

    def load(self) -> tuple[Samples, None]:
        """Return the features, float32 (n, features), and their classes, int64 (n,)."""
        features, targets = _table(self.name)
        return Samples(rows(features), torch.from_numpy(targets.astype(np.int64))), None


class Wine(Table):
    """Wine: 178 wines of three growers, 13 chemical measurements.

    References:
        Aeberhard and Forina, Wine, UCI, 1992.
    """

    name = "wine"
    facts = FACTS["wine"]


class BreastCancer(Table):
    """Breast cancer: 569 tumors, 30 measurements of cell nuclei; class 0 malignant, class 1 benign.

    References:
        Wolberg, Mangasarian, Street and Street, Breast Cancer Wisconsin (Diagnostic), UCI, 1993.
    """

    name = "breast_cancer"
    facts = FACTS["breast_cancer"]


class Iris(Table):
    """Iris: 150 flowers of three species, length and width of sepal and petal in centimeters.

    References:
        Fisher, The use of multiple measurements in taxonomic problems, 1936.
    """

    name = "iris"
    facts = FACTS["iris"]


class Diabetes(Table):
    """Diabetes: 442 patients, ten raw features; target: progression of the disease after one year.

    The features are the raw ones (age in years, sex as 1 or 2, body mass index, blood pressure and six
    blood serum values), not scikit-learn's scaled ones. Targets are standardized over all 442 rows.

    Args:
        **options: see `TensorDataModule`.

    Attributes:
        target_mean: subtracted from the targets (0 before `setup`).
        target_std: by which they were then divided (1 before `setup`).

    Raises:
        RequestError: an option has the wrong type or value; scikit-learn ships other data.

    References:
        Efron, Hastie, Johnstone and Tibshirani, Least Angle Regression, 2004.
    """

    name = "diabetes"
    facts = FACTS["diabetes"]
    target_mean = 0.0
    target_std = 1.0

    def load(self) -> tuple[Samples, None]:
        """Return the features, float32 (442, 10), and the standardized targets, float32 (442, 1)."""
        features, targets = _table(self.name)
        standard, self.target_mean, self.target_std = standardized(targets)
        return Samples(rows(features), standard), None


_OPTIONS: dict[str, dict[str, Any]] = {"diabetes": {"scaled": False}}


@cache
def _table(name: str) -> tuple[Array, Array]:
    """Return scikit-learn's features (n, features) and targets (n,), whole numbers of classes included."""
    from sklearn import datasets  # type: ignore[import-untyped]

    bunch = getattr(datasets, f"load_{name}")(**_OPTIONS.get(name, {}))
    features, targets = bunch.data.astype("<f8"), bunch.target.astype("<f8")
    actual = hashlib.sha256(features.tobytes() + targets.tobytes()).hexdigest()
    expected = FACTS[name].content
    if actual != expected:
        raise RequestError(
            f"{name}: expected scikit-learn's table with SHA-256 {expected}, got {actual}. "
            "Install a scikit-learn that ships the original data."
        )
    return features, targets
