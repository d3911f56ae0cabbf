"""Wine, breast cancer, iris and diabetes against scikit-learn's own arrays."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from sklearn import datasets  # type: ignore[import-untyped]

from recipebench.datamodules import BreastCancer, Diabetes, Iris, Wine, tabular
from recipebench.datamodules.catalog import FACTS, data_sha256
from recipebench.datamodules.tabular import Table
from recipebench.errors import RequestError
from recipebench.levels import Choice

CLASSES = [(Wine, 178, 13, [59, 71, 48]), (BreastCancer, 569, 30, [212, 357]), (Iris, 150, 4, [50, 50, 50])]


@pytest.mark.parametrize(("cls", "n", "features", "counts"), CLASSES)
def test_features_and_classes_are_scikit_learns(
    cls: type[Table], n: int, features: int, counts: list[int]
) -> None:
    data = cls()
    data.setup()
    bunch = getattr(datasets, f"load_{cls.name}")()

    assert data.train.inputs.shape == (n, features)
    assert (data.train.inputs.dtype, data.train.targets.dtype) == (torch.float32, torch.int64)
    assert (data.train.inputs.numpy() == bunch.data.astype(np.float32)).all()
    assert (data.train.targets.numpy() == bunch.target).all()
    assert data.train.targets.bincount().tolist() == counts
    assert (data.task, data.in_features, data.out_features) == ("classification", features, len(counts))
    assert (FACTS[cls.name].train, FACTS[cls.name].shape) == (n, (features,))


def test_diabetes_has_raw_features_and_standardized_targets() -> None:
    data = Diabetes()
    data.setup()
    bunch = datasets.load_diabetes(scaled=False)

    assert (data.train.inputs.numpy() == bunch.data.astype(np.float32)).all()
    assert data.train.inputs.shape == (FACTS["diabetes"].train, 10)
    targets = data.train.targets.double()
    assert targets.shape == (442, 1)
    assert targets.mean().item() == pytest.approx(0, abs=1e-7)
    assert targets.std(unbiased=False).item() == pytest.approx(1, abs=1e-7)
    raw = targets[:, 0].numpy() * data.target_std + data.target_mean
    assert raw == pytest.approx(bunch.target, abs=1e-4)
    assert (data.target_mean, data.target_std) == pytest.approx((bunch.target.mean(), bunch.target.std()))


def test_least_squares_on_standardized_diabetes_explains_what_is_known() -> None:
    data = Diabetes(inputs="standardized")
    data.setup()
    features = data.float_inputs(data.train.inputs).double().numpy()
    targets = data.train.targets[:, 0].double().numpy()
    design = np.column_stack([features, np.ones(442)])

    fitted = design @ np.linalg.lstsq(design, targets, rcond=None)[0]

    assert 1 - (targets - fitted).var() / targets.var() == pytest.approx(0.5177, abs=1e-4)  # Efron et al.


@pytest.mark.parametrize("name", ["wine", "breast_cancer", "iris", "diabetes"])
def test_contents_are_identified_by_their_bytes(name: str) -> None:
    options = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(datasets, f"load_{name}")(**options)
    content = bunch.data.astype("<f8").tobytes() + bunch.target.astype("<f8").tobytes()

    assert hashlib.sha256(content).hexdigest() == FACTS[name].content == data_sha256(Choice(name, {}))


def test_another_table_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bunch = datasets.load_wine()
    bunch.data[0, 0] += 1
    monkeypatch.setattr("sklearn.datasets.load_wine", lambda: bunch)
    tabular._table.cache_clear()

    with pytest.raises(RequestError, match=r"^wine: expected scikit-learn's table with SHA-256 c7e84e8e"):
        Wine().setup()
