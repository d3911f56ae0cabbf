"""Regularizers against autograd of their formulas, torch's layers and Lightning's own early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from recipebench.errors import RequestError
from recipebench.lightning_modules import MLP, LinearRegression, SoftmaxRegression
from recipebench.lightning_modules.catalog import REGULARIZERS as CATALOG
from recipebench.lightning_modules.optimizers import OPTIMIZERS
from recipebench.lightning_modules.regularizers import (
    LAYER_TYPES,
    LAYERS,
    PENALTIES,
    PENALTY_GRADIENTS,
    DropoutAtTest,
    batch_norm,
    dropout,
    early_stopping,
    l1,
    l2,
)

SIZES: dict[str, Any] = {"in_features": 5, "hidden": [4, 3], "out_features": 2, "init_seed": 0}


def batch(rows: int = 6) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(rows, 5, generator=g), torch.randint(2, (rows,), generator=g)


def penalty_by_hand(name: str, weights: list[Tensor], strength: float) -> Tensor:
    if name == "l1":
        return torch.stack([strength * w.abs().sum() for w in weights]).sum()
    return torch.stack([strength / 2 * torch.linalg.matrix_norm(w, "fro") ** 2 for w in weights]).sum()


def test_penalties_of_hand_worked_numbers() -> None:
    weights = [torch.tensor([[1.0, -2.0], [0.0, 3.0]]), torch.tensor([[-4.0]])]

    assert float(l1(weights, strength=0.1)) == pytest.approx(0.1 * (1 + 2 + 3 + 4))
    assert float(l2(weights, strength=0.1)) == pytest.approx(0.05 * (1 + 4 + 9 + 16))


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_is_taken_over_weights_and_not_over_biases(name: str) -> None:
    model = MLP(**SIZES, regularizer={name: {"strength": 0.3}}, initializer="torch_default")
    network = model.network
    weights = [network.get_parameter(f"{n}.weight").detach() for n in ("linear_1", "linear_2", "output")]

    expected = penalty_by_hand(name, weights, 0.3)
    with torch.no_grad():
        for layer in network.children():
            if isinstance(layer, nn.Linear):
                layer.bias.fill_(1e6)

    assert float(model.penalty().detach()) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("name", PENALTIES)
def test_gradients_of_a_penalty_are_those_of_the_formula(name: str) -> None:
    model = MLP(**SIZES, regularizer={name: {"strength": 0.3}})
    plain = MLP(**SIZES)
    inputs, targets = batch()

    model.training_step((inputs, targets), 0)["loss"].backward()
    loss = F.cross_entropy(plain(inputs), targets) + penalty_by_hand(name, plain.weights(), 0.3)
    loss.backward()

    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-7)


@pytest.mark.parametrize("name", PENALTIES)
def test_written_gradients_carry_the_bits_of_autograd(name: str) -> None:
    w = torch.randn(40, 7, generator=torch.Generator().manual_seed(3))
    w[0, 0] = 0.0
    leaf = w.clone().requires_grad_()

    PENALTIES[name]([leaf], strength=0.37).backward()

    assert leaf.grad is not None
    assert torch.equal(PENALTY_GRADIENTS[name](w, strength=0.37), leaf.grad)


def test_every_penalty_has_its_gradient() -> None:
    assert set(PENALTIES) == set(PENALTY_GRADIENTS)


@pytest.mark.parametrize("name", [name for name in CATALOG if name not in PENALTIES])
def test_the_others_add_nothing_to_the_loss(name: str) -> None:
    assert float(MLP(**SIZES, regularizer=name).penalty()) == 0.0


def test_l2_is_the_weight_decay_of_sgd_on_weights(configured: Callable[[LightningModule], Any]) -> None:
    """One step with l2 shrinks weights as torch's weight_decay does, and leaves biases alone."""
    inputs, targets = batch()
    after = {}
    for name in ("none", "l2", "weight_decay"):
        strength = {} if name == "none" else {"strength": 0.5}
        model = MLP(**SIZES, regularizer={name: strength}, initializer="torch_default")
        optimizer = configured(model)
        model.training_step((inputs, targets), 0)["loss"].backward()
        optimizer.step()
        after[name] = model.state_dict()

    weight, bias = "network.linear_1.weight", "network.linear_1.bias"
    assert torch.allclose(after["l2"][weight], after["weight_decay"][weight], atol=1e-7)
    assert not torch.allclose(after["l2"][weight], after["none"][weight], atol=1e-4)
    assert torch.equal(after["l2"][bias], after["none"][bias])
    assert not torch.allclose(after["weight_decay"][bias], after["none"][bias], atol=1e-4)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weight_decay_reaches_the_optimizer(
    optimizer: str, configured: Callable[[LightningModule], Any]
) -> None:
    decayed = MLP(**SIZES, regularizer={"weight_decay": {"strength": 0.07}}, optimizer=optimizer)
    plain = MLP(**SIZES, optimizer=optimizer)

    assert configured(decayed).defaults["weight_decay"] == 0.07
    assert configured(plain).defaults["weight_decay"] == (0.01 if optimizer == "adamw" else 0.0)


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 0.9])
def test_dropout_zeroes_a_share_p_and_keeps_the_mean(p: float) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        dropped = dropout(p=p)(torch.ones(200, 500))

    n = dropped.numel()
    kept = sorted({0.0, 1 / (1 - p)} if p else {1.0})
    assert dropped.unique().tolist() == pytest.approx(kept)
    assert float((dropped == 0).double().mean()) == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n))
    assert float(dropped.mean()) == pytest.approx(1, abs=4 * math.sqrt(p / (1 - p) / n))


def test_dropout_is_off_in_eval_mode() -> None:
    model, plain = MLP(**SIZES, regularizer={"dropout": {"p": 0.9}}).eval(), MLP(**SIZES)
    inputs, _ = batch()

    assert torch.equal(model(inputs), plain(inputs))
    assert not torch.equal(model.train()(inputs), plain(inputs))


def test_every_sample_has_a_mask_of_its_own() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        dropped = dropout()(torch.ones(2, 200))

    assert not torch.equal(dropped[0], dropped[1])


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 0.8])
def test_dropout_at_test_is_inverted_dropout_but_for_the_scale(p: float) -> None:
    x = torch.randn(50, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    at_test, inverted = dropout(p=p, scaling="at_test"), dropout(p=p)
    trained = []
    for layer in (at_test, inverted):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            trained.append(layer(x))

    assert isinstance(at_test, DropoutAtTest)
    assert torch.allclose(trained[0], trained[1] * (1 - p), rtol=1e-12)
    assert torch.equal(at_test.eval()(x), x * (1 - p))
    assert torch.equal(inverted.eval()(x), x)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.8])
def test_the_factor_at_test_is_the_share_that_is_kept(p: float) -> None:
    """What the next layer gets in tests has the mean of training; p in place of 1 - p misses it."""
    layer, linear = dropout(p=p, scaling="at_test"), nn.Linear(400, 1)
    linear.weight.data.fill_(0.1)
    x = torch.ones(2000, 400)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        trained, kept = linear(layer(x)).mean(), linear(layer.eval()(x)).mean()
        literal = linear(x * p).mean()

    assert float(kept) == pytest.approx(float(trained), rel=0.01)
    assert p == 0.5 or float(literal) != pytest.approx(float(trained), rel=0.2)


def test_a_network_is_dropped_out_layer_by_layer() -> None:
    network: Any = MLP(**SIZES, regularizer={"dropout_per_layer": {"p": [0.1, 0.0, 0.7]}}).network

    assert [name for name, _ in network.named_children()] == [
        *("flatten", "dropout_0"),
        *("linear_1", "activation_1", "dropout_1"),
        *("linear_2", "activation_2", "dropout_2"),
        "output",
    ]
    assert [network.get_submodule(f"dropout_{i}").p for i in range(3)] == [0.1, 0.0, 0.7]


def test_dropout_per_layer_with_one_probability_is_dropout() -> None:
    x, outputs = torch.randn(6, 5), []
    for regularizer in ({"dropout_per_layer": {"p": [0.0, 0.5, 0.5]}}, "dropout"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            outputs.append(MLP(**SIZES, regularizer=regularizer)(x))

    assert torch.equal(outputs[0], outputs[1])


def test_dropout_per_layer_that_does_not_fit_the_network_is_refused() -> None:
    with pytest.raises(RequestError, match=r"p: expected 3 numbers \(the input and 2 hidden layers\), got 1"):
        MLP(**SIZES, regularizer={"dropout_per_layer": {"p": [0.5]}})


def test_an_unknown_scaling_or_position_is_refused() -> None:
    with pytest.raises(
        RequestError, match=r"scaling: Unknown value 'inverse'\. .* Did you mean 'inverted'\?"
    ):
        MLP(**SIZES, regularizer={"dropout": {"scaling": "inverse"}})
    with pytest.raises(RequestError, match="position: Unknown value 'behind'"):
        MLP(**SIZES, regularizer={"batch_norm": {"position": "behind"}})


def test_batch_norm_standardizes_over_the_batch() -> None:
    layer = batch_norm(width=3, eps=0.1, momentum=0.25)
    z = torch.tensor([[1.0, 5.0, 0.0], [3.0, 5.0, 4.0]])

    out = layer(z)

    assert out.tolist() == [
        pytest.approx([-1 / math.sqrt(1.1), 0, -2 / math.sqrt(4.1)], abs=1e-6),
        pytest.approx([1 / math.sqrt(1.1), 0, 2 / math.sqrt(4.1)], abs=1e-6),
    ]
    averages: Any = layer
    assert averages.running_mean.tolist() == pytest.approx([0.25 * 2, 0.25 * 5, 0.25 * 2])
    assert averages.running_var.tolist() == pytest.approx([0.75 + 0.25 * 2, 0.75, 0.75 + 0.25 * 8])


@pytest.mark.parametrize(
    ("regularizer", "names"),
    [
        ("none", ["linear", "activation"]),
        ("batch_norm", ["linear", "norm", "activation"]),
        ({"batch_norm": {"position": "after"}}, ["linear", "activation", "norm"]),
        ("dropout", ["linear", "activation", "dropout"]),
    ],
)
@pytest.mark.parametrize("activation", ["relu", {"maxout": {"pieces": 3}}], ids=str)
def test_layers_stand_in_the_promised_order(regularizer: Any, names: list[str], activation: Any) -> None:
    network = MLP(**SIZES, regularizer=regularizer, activation=activation).network

    expected = ["flatten", *(f"{name}_{i}" for i in (1, 2) for name in names), "output"]
    assert [name for name, _ in network.named_children()] == expected


@pytest.mark.parametrize(("position", "expected"), [("before", [12, 9]), ("after", [4, 3])])
def test_batch_norm_is_as_wide_as_the_layer_before_it(position: str, expected: list[int]) -> None:
    regularizer = {"batch_norm": {"position": position}}
    network = MLP(**SIZES, regularizer=regularizer, activation={"maxout": {"pieces": 3}}).network

    widths: Any = [network.get_submodule(f"norm_{i}") for i in (1, 2)]
    assert [norm.num_features for norm in widths] == expected


def test_batch_norm_after_the_activation_hands_on_standardized_units() -> None:
    model = MLP(**SIZES, regularizer={"batch_norm": {"position": "after"}}).train()
    x = torch.randn(500, 5, generator=torch.Generator().manual_seed(0))

    handed_on = nn.Sequential(*list(model.network.children())[:4])(x).detach()

    assert [name for name, _ in model.network.named_children()][3] == "norm_1"
    assert torch.allclose(handed_on.mean(0), torch.zeros(4), atol=1e-5)
    assert torch.allclose(handed_on.std(0, correction=0), torch.ones(4), atol=1e-3)


def test_options_reach_the_layers() -> None:
    options: Any = {"batch_norm": {"eps": 0.5, "momentum": 0.3}}
    norm: Any = MLP(**SIZES, regularizer=options).network.get_submodule("norm_2")
    dropout: Any = MLP(**SIZES, regularizer={"dropout": {"p": 0.3}}).network.get_submodule("dropout_1")

    assert (norm.eps, norm.momentum, dropout.p) == (0.5, 0.3, 0.3)


def test_the_layers_have_their_types() -> None:
    made: dict[str, Any] = {
        "dropout": [dropout()],
        "dropout_per_layer": LAYERS["dropout_per_layer"](),
        "batch_norm": [batch_norm(width=2)],
    }

    assert set(made) == set(LAYERS) == set(LAYER_TYPES)
    for name, layers in made.items():
        assert {type(layer) for layer in layers} <= set(LAYER_TYPES[name])
    assert issubclass(DropoutAtTest, LAYER_TYPES["dropout"])


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    "make",
    [LinearRegression, SoftmaxRegression, lambda **options: MLP(hidden=[], **options)],
    ids=["linear_regression", "softmax_regression", "mlp without hidden layers"],
)
def test_a_layer_without_a_place_is_refused(make: Any, name: str) -> None:
    expected = rf"regularizer {name}: (expected a network with hidden layers|p: expected 1 number)"
    with pytest.raises(RequestError, match=expected):
        make(regularizer=name)


def test_early_stopping_watches_the_validation_loss_as_lightning_does() -> None:
    stop: Any = early_stopping(patience=7)[0]

    assert (stop.monitor, stop.patience, stop.mode, stop.min_delta) == ("validation_loss", 7, "min", 0.0)
