"""Transfer learning: what is adopted, what is frozen, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer

from recipebench.datamodules import Digits
from recipebench.errors import RequestError
from recipebench.lightning_modules.cnn import CNN
from recipebench.lightning_modules.transfer import TransferCNN

DIGITS = (1, 8, 8)
SMALL: dict[str, Any] = {"channels": [4, 6], "kernel": 3, "padding": 1, "hidden": [8], "init_seed": 0}


@pytest.fixture
def train(bare_trainer: Callable[..., Trainer]) -> Callable[..., None]:
    """Train on digits: `train(model, epochs)`."""

    def run(model: Any, epochs: int = 1) -> None:
        bare_trainer(epochs).fit(model, datamodule=Digits(batch_size=64))

    return run


def small(**options: Any) -> TransferCNN:
    return TransferCNN(**{**SMALL, "in_shape": DIGITS, "optimizer": {"adam": {"lr": 0.01}}, **options})


@pytest.fixture
def trained_cnn(train: Callable[..., None]) -> Callable[[TransferCNN], CNN]:
    """Train the network whose features a model takes, for an epoch."""

    def run(model: TransferCNN) -> CNN:
        cnn = model.pretraining_module(in_shape=DIGITS, out_features=10)
        train(cnn)
        return cnn

    return run


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


@pytest.mark.parametrize("regularizer", ["none", "batch_norm", "l2", "weight_decay"])
def test_frozen_features_stay_as_they_were_trained(
    regularizer: str, train: Callable[..., None], trained_cnn: Callable[[TransferCNN], CNN]
) -> None:
    model = small(freeze="features", regularizer=regularizer, out_features=10)
    cnn = trained_cnn(model)
    model.adopt(cnn)
    n = len(model.features)
    linear: Any = model.network
    before = linear.linear_1.weight.detach().clone()

    train(model)

    network: Any = cnn.network
    assert_equal(state(model.features), state(network[:n]))
    assert not torch.equal(linear.linear_1.weight, before)


def test_frozen_features_stand_still_in_a_plain_loop() -> None:
    model = small(freeze="features", regularizer="batch_norm")
    model.adopt(model.pretraining_module(in_shape=DIGITS, out_features=10))
    before = state(model.features)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)

    for seed in range(3):
        model.train()
        x = torch.randn(8, *DIGITS, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        model.losses(model(x), torch.arange(8)).mean().backward()
        optimizer.step()

    assert_equal(state(model.features), before)


def test_features_that_are_not_frozen_start_as_trained_and_move(
    train: Callable[..., None], trained_cnn: Callable[[TransferCNN], CNN]
) -> None:
    model = small(freeze="none", regularizer="batch_norm")
    cnn = trained_cnn(model)
    network: Any = cnn.network
    model.adopt(cnn)
    start = state(model.features)
    assert_equal(start, state(network[: len(model.features)]))

    train(model)

    moved = state(model.features)
    assert all(not torch.equal(moved[name], start[name]) for name in start)
    assert_equal(state(network[: len(model.features)]), start)  # a copy: the first model is left alone


def test_the_head_is_new_and_has_the_new_classes(trained_cnn: Callable[[TransferCNN], CNN]) -> None:
    model = small(in_shape=(1, 28, 28), out_features=3)
    untouched: Any = small(in_shape=(1, 28, 28), out_features=3).network
    model.adopt(trained_cnn(model))

    head: Any = model.network
    assert head.output.out_features == 3
    assert torch.equal(head.linear_1.weight, untouched.linear_1.weight)
    assert torch.equal(head.output.weight, untouched.output.weight)


def test_the_first_training_has_the_same_layers_and_recipe() -> None:
    model = small(activation="tanh", regularizer="batch_norm", schedule="constant", pool="average")

    cnn = model.pretraining_module(in_shape=(1, 28, 28), out_features=7)

    network: Any = cnn.network
    assert repr(network[: len(model.features)]) == repr(model.features)
    assert network.output.out_features == 7
    for name in ("initializer", "regularizer", "optimizer", "loss", "schedule"):
        assert getattr(cnn, name) == getattr(model, name)


def test_features_can_be_given_as_tensors_and_come_back_from_a_checkpoint(
    trained_cnn: Callable[[TransferCNN], CNN],
) -> None:
    donor = trained_cnn(small())
    model = small(features=donor.network.state_dict(), freeze="features")
    network: Any = donor.network
    assert_equal(state(model.features), state(network[: len(model.features)]))

    restored = small(freeze="features")
    restored.load_state_dict(model.state_dict())

    assert_equal(state(restored), state(model))
    restored.on_fit_start()


def test_the_same_bits_twice(train: Callable[..., None], trained_cnn: Callable[[TransferCNN], CNN]) -> None:
    results = []
    for _ in range(2):
        model = small(freeze="none")
        model.adopt(trained_cnn(model))
        train(model)
        results.append(state(model))
    assert_equal(*results)


def test_transferred_features_beat_untrained_ones_when_frozen(train: Callable[..., None]) -> None:
    losses = []
    for epochs in (0, 8):
        model = small(freeze="features", init_seed=1)
        cnn = model.pretraining_module(in_shape=DIGITS, out_features=10)
        if epochs:
            train(cnn, epochs)
        model.adopt(cnn)
        train(model, 4)
        losses.append(float(model.trainer.callback_metrics["validation_loss"]))
    assert losses[1] < losses[0]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({}, "features: expected conv_1.weight, got nothing"),
        ({"conv_1.weight": torch.zeros(4, 1, 3, 3)}, "features: expected conv_1.bias, got conv_1.weight"),
        (
            {"conv_1.weight": torch.zeros(4, 3, 3, 3)},
            r"conv_1.weight: expected shape \(4, 1, 3, 3\), got \(4, 3, 3, 3\)",
        ),
    ],
)
def test_features_that_do_not_fit_are_refused(features: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        small(features=features)


def test_untrained_features_are_refused(train: Callable[..., None]) -> None:
    with pytest.raises(RequestError, match="expected trained features, got none"):
        train(small())
    with pytest.raises(RequestError, match=r"Unknown value 'cifar'\. Known: digits, fashion_mnist, mnist"):
        small(source="cifar")
    with pytest.raises(RequestError, match=r"Unknown value 'all'\. Known: features, none"):
        small(freeze="all")
