"""k nearest neighbors against brute force, scikit-learn and worked examples, ties included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits, load_wine  # type: ignore[import-untyped]
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor  # type: ignore[import-untyped]

from recipebench.lightning_modules import KNearestNeighbors, k_nearest_neighbors
from recipebench.lightning_modules.k_nearest_neighbors import nearest

Fit = Callable[..., Any]


def find(queries: np.ndarray, samples: np.ndarray, k: int) -> np.ndarray:
    x, y = torch.from_numpy(queries).double(), torch.from_numpy(samples).double()
    return nearest(x, y, y.square().sum(1), k).numpy()


def brute_force(queries: np.ndarray, samples: np.ndarray, k: int) -> np.ndarray:
    """All distances, without a product, and a sort that keeps the order of equals."""
    distances = np.square(queries[:, None].astype(float) - samples[None].astype(float)).sum(2)
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("k", [1, 5, 40])
@pytest.mark.parametrize("kind", ["normal", "few values", "copies", "far from 0"])
def test_the_neighbors_are_those_of_brute_force(kind: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole numbers make hundreds of exact ties; far from 0 the product |y|² - 2 x . y loses 12 digits."""
    monkeypatch.setattr(k_nearest_neighbors, "QUERIES", 7)
    monkeypatch.setattr(k_nearest_neighbors, "NUMBERS", 50)
    random = np.random.default_rng(0)
    samples, queries = {
        "normal": lambda: (random.normal(size=(200, 6)), random.normal(size=(30, 6))),
        "few values": lambda: (random.integers(0, 3, (200, 4)), random.integers(0, 3, (30, 4))),
        "copies": lambda: (np.ones((200, 3)), random.normal(size=(30, 3))),
        "far from 0": lambda: (1e6 + random.integers(0, 9, (200, 3)), 1e6 + random.integers(0, 9, (30, 3))),
    }[kind]()

    np.testing.assert_array_equal(find(queries, samples, k), brute_force(queries, samples, k))


def test_equally_distant_samples_count_in_their_order() -> None:
    samples = np.array([[2.0], [-1.0], [1.0], [0.0], [-1.0]])

    assert find(np.zeros((1, 1)), samples, 3).tolist() == [[3, 1, 2]]


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("load", [load_digits, load_wine], ids=["digits", "wine"])
def test_votes_are_scikit_learns(load: Any, k: int, fit: Fit) -> None:
    features, classes = load(return_X_y=True)
    x, y = torch.from_numpy(features).float(), torch.from_numpy(classes)
    train, test = slice(0, None, 2), slice(1, None, 2)
    model = fit(KNearestNeighbors(out_features=int(y.max()) + 1, k=k), x[train], y[train])

    shares = model(x[test])

    theirs = KNeighborsClassifier(k, algorithm="brute").fit(x[train].double().numpy(), classes[train])
    wide = x[test].double().numpy()
    distances = np.sort(np.linalg.norm(wide[:, None] - x[train].double().numpy()[None], axis=2), axis=1)
    clear = distances[:, k] - distances[:, k - 1] > 1e-9  # who votes is no matter of a tie
    assert clear.mean() > 0.95
    np.testing.assert_allclose(shares[clear].numpy(), theirs.predict_proba(wide)[clear], atol=1e-7)
    np.testing.assert_array_equal(shares[clear].argmax(1).numpy(), theirs.predict(wide)[clear])


@pytest.mark.parametrize("k", [1, 5])
def test_means_are_scikit_learns(k: int, fit: Fit) -> None:
    features, values = load_diabetes(return_X_y=True)
    x, y = torch.from_numpy(features).float(), torch.from_numpy(values).float().unsqueeze(1)
    model = fit(KNearestNeighbors(task="regression", out_features=1, k=k), x[:300], y[:300])

    theirs = KNeighborsRegressor(k, algorithm="brute").fit(x[:300].double().numpy(), y[:300].double().numpy())
    np.testing.assert_allclose(model(x[300:]).numpy(), theirs.predict(x[300:].double().numpy()), rtol=1e-6)


def test_the_nearest_of_the_training_samples_is_the_sample_itself(fit: Fit) -> None:
    features, classes = load_digits(return_X_y=True)
    x, y = torch.from_numpy(features).float(), torch.from_numpy(classes)
    assert len(np.unique(features, axis=0)) == len(features)

    model = fit(KNearestNeighbors(k=1), x, y)

    assert torch.equal(model(x).argmax(1), y)
    assert float(model.losses(model(x), y).sum()) == 0


def test_votes_and_losses_by_hand(fit: Fit) -> None:
    """The four nearest to 0 are -1, 1, 2, -2 of classes 0, 2, 2, 0: a tie, which the first class wins."""
    x = torch.tensor([[-1.0], [1.0], [2.0], [-2.0], [3.0]])

    model = fit(KNearestNeighbors(out_features=3, k=4), x, torch.tensor([0, 2, 2, 0, 1]))

    shares = model(torch.zeros(3, 1))
    assert shares.tolist() == [[0.5, 0.0, 0.5]] * 3
    assert shares.argmax(1).tolist() == [0, 0, 0]
    assert model.losses(shares, torch.tensor([0, 1, 2])).tolist() == [0.5, 1.5, 0.5]
