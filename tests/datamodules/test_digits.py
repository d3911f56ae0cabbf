"""Digits against scikit-learn's own arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

from recipebench.datamodules import Digits, digits
from recipebench.errors import RequestError


def test_images_and_classes_are_scikit_learns() -> None:
    data = Digits()
    data.prepare_data()
    data.setup()
    bunch = load_digits()

    assert data.train.inputs.dtype == torch.uint8
    assert data.train.inputs.shape == (1797, 1, 8, 8)
    assert (data.train.inputs.numpy()[:, 0] == bunch.images).all()
    assert (data.train.targets.numpy() == bunch.target).all()
    assert data.train.targets.dtype == torch.int64
    assert (data.task, data.in_features, data.out_features) == ("classification", 64, 10)


def test_inputs_are_scaled_by_16_or_standardized() -> None:
    unit, standardized = Digits(), Digits(inputs="standardized")
    unit.setup()
    images = load_digits().images

    assert (unit.float_inputs(unit.train.inputs).numpy()[:, 0] == images.astype(np.float32) / 16).all()
    pixels = standardized.float_inputs(unit.train.inputs).double()
    assert pixels.mean().item() == pytest.approx(0, abs=1e-6)
    assert pixels.std(unbiased=False).item() == pytest.approx(1, abs=1e-6)


def test_other_data_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bunch = load_digits()
    bunch.images[0, 0, 0] += 1
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda: bunch)
    digits._digits.cache_clear()

    with pytest.raises(RequestError, match=r"^digits: expected scikit-learn's digits with SHA-256 87ff0c9e"):
        Digits().setup()
