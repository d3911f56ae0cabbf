"""Convolutional networks: layers in their order, refusals, im2col against torch, and what they learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from torch import nn

from recipebench.datamodules import Digits
from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.lightning_modules.cnn import CNN
from recipebench.lightning_modules.convolution import ChannelMaxout, Im2colConv2d
from recipebench.lightning_modules.deep_cnn import DeepCNN
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.models import MODELS as CLASSES
from recipebench.lightning_modules.packed import obstacle

DIGITS = (1, 8, 8)


def names(model: Any) -> list[str]:
    return [name for name, _ in model.network.named_children()]


def test_layers_stand_in_the_documented_order() -> None:
    batch_norm = CNN(channels=[4, 6], hidden=[5], regularizer="batch_norm")
    dropout = CNN(channels=[4], hidden=[5, 3], regularizer="dropout", pool="none")
    deep = DeepCNN(blocks=[4, 6], hidden=[5], regularizer="batch_norm")

    assert " ".join(names(batch_norm)) == (
        "conv_1 norm_1 activation_1 pool_1 conv_2 norm_2 activation_2 pool_2 "
        "flatten linear_1 norm_3 activation_3 output"
    )
    assert isinstance(batch_norm.network.get_submodule("norm_2"), nn.BatchNorm2d)
    assert isinstance(batch_norm.network.get_submodule("norm_3"), nn.BatchNorm1d)
    assert " ".join(names(dropout)) == (
        "conv_1 activation_1 flatten linear_1 activation_2 dropout_2 linear_2 activation_3 dropout_3 output"
    )
    assert " ".join(names(deep)) == (
        "conv_1 norm_1 activation_1 conv_2 norm_2 activation_2 pool_1 "
        "conv_3 norm_3 activation_3 conv_4 norm_4 activation_4 pool_2 "
        "flatten linear_1 norm_5 activation_5 output"
    )


def test_norms_can_stand_after_the_activation_and_are_as_wide_as_what_they_get() -> None:
    after = {"batch_norm": {"position": "after"}}
    maxout = {"maxout": {"pieces": 3}}
    model = CNN(channels=[4], hidden=[5], pool="none", regularizer=after, activation=maxout)
    before = CNN(channels=[4], hidden=[5], pool="none", regularizer="batch_norm", activation=maxout)
    layers: Any = model.network
    others: Any = before.network

    assert " ".join(names(model)) == "conv_1 activation_1 norm_1 flatten linear_1 activation_2 norm_2 output"
    assert (layers.norm_1.num_features, layers.norm_2.num_features) == (4, 5)
    assert (others.norm_1.num_features, others.norm_2.num_features) == (12, 15)
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_dropout_per_layer_begins_with_the_flattened_features() -> None:
    model = CNN(channels=[4], hidden=[5], regularizer={"dropout_per_layer": {"p": [0.2, 0.5]}})
    layers: Any = model.network

    assert " ".join(names(model)) == (
        "conv_1 activation_1 pool_1 flatten dropout_1 linear_1 activation_2 dropout_2 output"
    )
    assert (layers.dropout_1.p, layers.dropout_2.p) == (0.2, 0.5)


def test_parameters_reach_the_layers() -> None:
    network = CNN(
        in_shape=(3, 9, 13),
        channels=[4, 6],
        kernel=3,
        padding=1,
        stride=2,
        pool="average",
        pool_size=1,
        hidden=[],
        out_features=7,
    ).network
    assert repr(network.get_submodule("conv_2")) == repr(nn.Conv2d(4, 6, 3, stride=2, padding=1))
    assert repr(network.get_submodule("pool_1")) == repr(nn.AvgPool2d(1))
    assert repr(network.get_submodule("output")) == repr(nn.Linear(6 * 3 * 4, 7))
    assert network(torch.zeros(2, 3, 9, 13)).shape == (2, 7)


def test_maxout_takes_the_maximum_over_channels() -> None:
    model = CNN(in_shape=DIGITS, channels=[4], hidden=[5], activation={"maxout": {"pieces": 3}})
    layers: Any = model.network
    assert layers.conv_1.out_channels == 12
    assert isinstance(layers.activation_1, ChannelMaxout)
    assert layers.linear_1.in_features == 4 * 4 * 4
    assert layers.linear_1.out_features == 15
    assert model(torch.zeros(2, *DIGITS)).shape == (2, 10)


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        (CNN, {"stride": 4}, r"cnn: convolution 1: stride 4 does not fit 28 .* strides 1, 3, 9 and 27 fit"),
        (CNN, {"in_shape": (784,)}, r"cnn: expected images of \(channels, height, width\)"),
        (CNN, {"pool": "mean"}, "Unknown value 'mean'. Known: average, max, none"),
        (CNN, {"implementation": "fft"}, "Unknown value 'fft'. Known: im2col, torch"),
        (CNN, {"channels": [0]}, "channels: expected a list of positive whole numbers"),
        (
            CNN,
            {"hidden": [], "regularizer": "dropout"},
            "regularizer dropout: expected a network with hidden",
        ),
        (DeepCNN, {"kernel": 2}, "deep_cnn: kernel: expected an odd number"),
        (DeepCNN, {"blocks": [4, 4, 4]}, "deep_cnn: pool 3: pool_size 2 does not fit 7"),
    ],
)
def test_wrong_requests_are_refused_when_the_model_is_made(model: Any, given: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        model(**given)


@pytest.mark.parametrize("name", ["cnn", "deep_cnn"])
def test_defaults_are_those_of_the_catalog(name: str) -> None:
    made: Any = CLASSES[name]
    choice: Choice = MODELS.choose(name)
    assert repr(made().network) == repr(made(**choice.parameters).network)


def test_weights_are_those_of_convolutions_and_linear_layers() -> None:
    model = CNN(in_shape=DIGITS, channels=[4], hidden=[5], implementation="im2col", regularizer="l2")
    shapes = [tuple(w.shape) for w in model.weights()]
    assert shapes == [(4, 1, 5, 5), (5, 64), (10, 5)]


def test_filters_start_as_linear_layers_of_their_windows_do() -> None:
    model = CNN(channels=[64, 128], kernel=5, initializer="he", init_seed=3)
    again = CNN(channels=[64, 128], kernel=5, initializer="he", init_seed=3, implementation="im2col")
    xavier = CNN(channels=[64, 128], kernel=5, initializer="xavier", init_seed=3)

    weight, other = (m.network.get_parameter("conv_2.weight").detach() for m in (model, xavier))
    fan_in, fan_out = 64 * 25, 128 * 25
    assert float(weight.std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.01)
    assert float(other.std()) == pytest.approx((2 / (fan_in + fan_out)) ** 0.5, rel=0.01)
    assert not model.network.get_parameter("conv_2.bias").any()
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_im2col_trains_as_torchs_convolution_does() -> None:
    recipe: dict[str, Any] = {"in_shape": DIGITS, "channels": [4, 6], "hidden": [16], "init_seed": 0}
    optimizer = {"momentum": {"lr": 0.05}}
    results = []
    for implementation in ("torch", "im2col"):
        model = CNN(**recipe, implementation=implementation, optimizer=optimizer).double()
        if results:
            model.load_state_dict(results[0][0])
        start = {name: value.clone() for name, value in model.state_dict().items()}
        steps = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        g = torch.Generator().manual_seed(0)
        for _ in range(20):
            x = torch.randn(16, *DIGITS, generator=g, dtype=torch.float64)
            steps.zero_grad()
            model.losses(model(x), torch.randint(10, (16,), generator=g)).mean().backward()
            steps.step()
        results.append((start, [p.detach() for p in model.parameters()]))

    assert any(isinstance(layer, Im2colConv2d) for layer in model.modules())
    torch.testing.assert_close(results[1][1], results[0][1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("model", [CNN, DeepCNN])
def test_plain_chains_can_be_packed(model: Any) -> None:
    for regularizer in ("none", "l2", "dropout", "batch_norm"):
        for activation in ("relu", "tanh", "prelu", "maxout"):
            assert obstacle(model(regularizer=regularizer, activation=activation)) is None
    assert obstacle(CNN(implementation="im2col", pool="average")) is None


@pytest.mark.parametrize(
    "model",
    [
        CNN(in_shape=DIGITS, channels=[8, 16], hidden=[32], optimizer={"adam": {"lr": 0.003}}, init_seed=0),
        DeepCNN(
            in_shape=DIGITS,
            blocks=[8, 16],
            hidden=[32],
            optimizer="adam",
            regularizer="batch_norm",
            init_seed=0,
        ),
    ],
    ids=["cnn", "deep_cnn"],
)
def test_small_networks_learn_the_digits(model: Any, bare_trainer: Callable[..., Trainer]) -> None:
    data, trainer = Digits(batch_size=32), bare_trainer(6, limit_val_batches=0)

    trainer.fit(model, datamodule=data)
    (scores,) = trainer.test(model, datamodule=data, verbose=False)

    assert scores["test_accuracy"] > 0.95
