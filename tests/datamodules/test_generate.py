"""The draws and the arithmetic of generated data sets, and what all of those sets promise."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch

from recipebench.datamodules import DATA_MODULES, TensorDataModule, create
from recipebench.datamodules.catalog import DATA, FACTS
from recipebench.datamodules.generate import cosine, normal, sine, standardized, uniform
from recipebench.levels import Choice

FROZEN = {
    "two_gaussians": "e1fe2748a66333dcea5d9afbd10b0734fa43c4b3d7b8c308a546aa3d4fa0fee2",
    "moons": "bfaece672bec482b1641bbaba31bb1f8bbc3c8afc368e9fe654ff1c5515c7b7d",
    "circles": "51f3b42fce64515cf4f3acdc0f3d59dad2c51d189b9ff0e71623989894299fed",
    "gates": "b80c5ec9314e90bf05c445315d2f2787c1f855197e9e2a23d33ff1100de2cc69",
    "curve": "d7f0e376250ad71844ee8223838a5ef97a478dfbaddede3625979ededce92d0e",
    "house_prices": "70cfe0c567634bb79aa716c9ad768bdf7a56660cff589b666e55246407bcb4c2",
    "temperatures": "e2451d000a13374fa883606faf34e9f0a2aa5f6caeddcb27784e567262eacc80",
    "two_boxes": "3f34b04f2bdd1a44f1f82905575012d55b7e417ad4b129d8f3a177ad48375b3b",
}


def made(name: str, seed: int = 0, **parameters: Any) -> TensorDataModule:
    data = create(Choice(name, parameters), seed=seed)
    data.setup()
    return data


def content(data: TensorDataModule) -> str:
    return hashlib.sha256(
        data.train.inputs.numpy().tobytes() + data.train.targets.numpy().tobytes()
    ).hexdigest()


def test_sine_and_cosine_are_numpys() -> None:
    turns = np.concatenate([np.linspace(-3, 3, 10_001), [0.25, -0.25, 0.5, -0.5, 1e-9]])

    assert sine(turns) == pytest.approx(np.sin(2 * np.pi * turns), abs=1e-14)
    assert cosine(turns) == pytest.approx(np.cos(2 * np.pi * turns), abs=1e-14)


def test_streams_are_named_and_go_on() -> None:
    assert (uniform("a", "x", (100, 3))[:7] == uniform("a", "x", (7, 3))).all()
    assert (normal("a", "x", (100,))[:7] == normal("a", "x", (7,))).all()
    assert not (uniform("a", "x", (9,)) == uniform("a", "y", (9,))).any()
    assert not (uniform("a", "x", (9,)) == uniform("b", "x", (9,))).any()


def test_standardized_by_hand() -> None:
    column, mean, std = standardized(np.array([1.0, 3.0, 5.0, 7.0]))

    assert (mean, std) == (4.0, pytest.approx(5**0.5))
    assert column[:, 0].tolist() == pytest.approx([-3 / 5**0.5, -1 / 5**0.5, 1 / 5**0.5, 3 / 5**0.5])


@pytest.mark.parametrize("name", FROZEN)
def test_the_default_data_are_frozen(name: str) -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    state = torch.get_rng_state()

    data = made(name)

    assert content(data) == FROZEN[name]
    assert torch.equal(torch.get_rng_state(), state)
    assert len(data.train.targets) == FACTS[name].train
    assert data.train.inputs.shape[1:] == FACTS[name].shape


@pytest.mark.parametrize("name", FROZEN)
def test_the_seed_changes_the_split_and_not_the_data(name: str) -> None:
    first, second = made(name), made(name, seed=1)

    assert content(first) == content(second)
    assert not torch.equal(first.test.indices, second.test.indices)


@pytest.mark.parametrize("name", FROZEN)
def test_smaller_sets_are_the_first_of_larger_ones(name: str) -> None:
    small, large = ({"n": 60}, {"n": 500}) if name != "temperatures" else ({"years": 1}, {"years": 4})
    first, second = made(name, **small), made(name, **large)
    count = len(first.train.targets)

    assert torch.equal(first.train.inputs, second.train.inputs[:count])
    ours, theirs = (
        data.train.targets.double() * getattr(data, "target_std", 1) + getattr(data, "target_mean", 0)
        for data in (first, second)
    )
    assert torch.allclose(ours, theirs[:count], rtol=1e-5)


def test_all_generated_data_sets_are_held_to_this() -> None:
    generated = {name for name, facts in FACTS.items() if facts.content == f"{name} generator 1"}
    tensors = {name for name in generated if issubclass(DATA_MODULES[name], TensorDataModule)}
    tasks = {name for name in tensors if DATA[name].tasks[0] in ("classification", "regression")}

    assert tasks == {*FROZEN, "synthetic_regression"}
