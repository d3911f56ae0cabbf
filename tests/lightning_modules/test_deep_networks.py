"""Deep and wide networks by their closed forms, and thin models against the network that they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from torch import Tensor

from recipebench.datamodules import Digits
from recipebench.errors import RequestError
from recipebench.lightning_modules import (
    MLP,
    DeepLinearNet,
    DeepStack,
    MarginClassifier,
    MaxoutNet,
    SoftmaxRegression,
    SumOfSigmoids,
)
from recipebench.lightning_modules.packed import PackedModule, obstacle
from recipebench.lightning_modules.shapes import count_parameters


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def parameters(module: Any) -> list[Tensor]:
    return [p.detach() for p in module.parameters()]


def weight(module: Any, name: str = "output") -> Any:
    return module.network.get_submodule(name).weight


def size(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


# Networks under another name ---------------------------------------------------------------------

RECIPE: dict[str, Any] = {
    "initializer": "xavier",
    "regularizer": {"dropout": {"p": 0.2}},
    "optimizer": {"momentum": {"lr": 0.01}},
    "schedule": "exponential",
    "init_seed": 5,
}


@pytest.mark.parametrize(
    ("thin", "full"),
    [
        (
            SumOfSigmoids(units=7, in_features=3, **RECIPE),
            MLP(in_features=3, hidden=[7], out_features=1, task="regression", activation="sigmoid", **RECIPE),
        ),
        (
            SumOfSigmoids(units=4, in_features=3, out_features=5, task="classification", **RECIPE),
            MLP(in_features=3, hidden=[4], out_features=5, activation="sigmoid", **RECIPE),
        ),
        (
            DeepStack(depth=4, width=6, in_features=3, out_features=5, activation="tanh", **RECIPE),
            MLP(in_features=3, hidden=[6, 6, 6, 6], out_features=5, activation="tanh", **RECIPE),
        ),
        (
            MaxoutNet(hidden=[9, 6], pieces=3, match="parameters", in_features=3, out_features=5, **RECIPE),
            MLP(
                in_features=3,
                hidden=[9, 6],
                out_features=5,
                activation={"maxout": {"pieces": 3, "match": "parameters"}},
                **RECIPE,
            ),
        ),
    ],
    ids=["sum_of_sigmoids", "several sums", "deep_stack", "maxout_net"],
)
def test_a_thin_model_is_the_network_that_it_stands_for(thin: Any, full: MLP) -> None:
    x = draw(4, 3)

    assert repr(thin.network) == repr(full.network)
    assert all(torch.equal(a, b) for a, b in zip(parameters(thin), parameters(full), strict=True))
    assert torch.equal(thin.eval()(x), full.eval()(x))
    for factor in ("initializer", "regularizer", "optimizer", "schedule", "loss", "task"):
        assert getattr(thin, factor) == getattr(full, factor)
    assert obstacle(thin) == obstacle(full)


def test_a_sum_of_sigmoids_is_its_formula() -> None:
    model = SumOfSigmoids(units=5, in_features=3, initializer="torch_default", init_seed=0).double()
    x = draw(6, 3).double()
    w, b_i, c, b = parameters(model)

    value = sum((c[0, i] * torch.sigmoid(b_i[i] + x @ w[i]) for i in range(5)), start=b)

    assert torch.allclose(model(x)[:, 0], value, rtol=0, atol=1e-14)


def test_enough_sigmoids_follow_a_curve_that_a_line_cannot() -> None:
    x = torch.linspace(-1, 1, 64).unsqueeze(1)
    y = torch.sin(4 * x)
    design = torch.cat([x, torch.ones_like(x)], 1)
    line = design @ torch.linalg.lstsq(design, y).solution
    model = SumOfSigmoids(units=16, init_seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        model.training_step((x, y), 0)["loss"].backward()
        optimizer.step()

    assert float((line - y).square().mean()) > 0.3
    assert float(model.losses(model(x), y).detach().mean()) < 1e-3


# Powers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 5, 30])
@pytest.mark.parametrize("scale", [1.5, 0.5, 1.0])
def test_a_deep_linear_net_multiplies_by_a_power(scale: float, depth: int) -> None:
    net = DeepLinearNet(depth=depth, scale=scale, in_features=3, out_features=2, init_seed=0).double()
    x, last = draw(4, 3).double(), parameters(net)[-2]

    outputs = net(x)

    assert torch.allclose(outputs, scale ** (depth - 1) * x @ last.T, rtol=1e-13, atol=0)


def test_signals_explode_and_vanish_as_worked_out_by_hand() -> None:
    x = torch.ones(1, 1)
    values = {}
    for scale in (1.5, 0.5):
        net = DeepLinearNet(depth=11, scale=scale, in_features=1, init_seed=0)
        torch.nn.init.ones_(weight(net))
        values[scale] = net(x).item()

    assert values == {1.5: pytest.approx(57.6650390625), 0.5: pytest.approx(1 / 1024)}


def test_gradients_carry_the_same_power() -> None:
    """d mean(y) / d W_1 = scale^(L - 2) W_L^T x^T, for L = 12 layers and one output."""
    for scale in (1.5, 0.5):
        net = DeepLinearNet(depth=12, scale=scale, in_features=2, init_seed=0).double()
        x, last = draw(1, 2).double(), parameters(net)[-2]
        net(x).mean().backward()
        gradient = weight(net, "linear_1").grad
        assert torch.allclose(gradient, scale**10 * last.T @ x, rtol=1e-12, atol=0)


def test_a_deep_stack_of_sigmoids_vanishes_and_one_of_relus_does_not() -> None:
    ratios = {}
    for activation, initializer in (("sigmoid", "xavier"), ("relu", "he")):
        net = DeepStack(
            depth=8, width=32, in_features=20, activation=activation, initializer=initializer, init_seed=0
        )
        net.training_step((draw(64, 20), torch.arange(64) % 10), 0)["loss"].backward()
        first, last = (weight(net, name).grad.norm() for name in ("linear_1", "linear_8"))
        ratios[activation] = float(first / last)

    assert ratios["sigmoid"] < 1e-3
    assert 0.1 < ratios["relu"] < 10


@pytest.mark.parametrize("depth", [2, 8, 30])
def test_a_stack_has_its_layers(depth: int) -> None:
    net = DeepStack(depth=depth, width=6, in_features=4, out_features=3)

    assert [tuple(w.shape) for w in net.weights()] == [(6, 4), *[(6, 6)] * (depth - 1), (3, 6)]
    assert obstacle(net) is None


@pytest.mark.parametrize("match", ["units", "parameters"])
def test_maxout_networks_are_matched_by_units_or_parameters(match: str) -> None:
    net = MaxoutNet(hidden=[40, 20], pieces=2, match=match, in_features=30)
    plain = count_parameters(30, [40, 20], 10)

    if match == "units":
        assert [w.shape[0] for w in net.weights()] == [80, 40, 10]
        assert size(net) > 1.9 * (plain - 210)
    else:
        assert size(net) == pytest.approx(plain, rel=0.05)


# Margins -----------------------------------------------------------------------------------------


def test_a_margin_classifier_is_a_linear_layer_with_torchs_loss() -> None:
    model = MarginClassifier(in_features=6, out_features=4, margin=0.7, init_seed=0)
    x, y = draw(9, 6), torch.arange(9) % 4

    loss = model.training_step((x, y), 0)["loss"]

    assert torch.allclose(loss, torch.nn.MultiMarginLoss(margin=0.7)(model(x), y))
    start = SoftmaxRegression(in_features=6, out_features=4, init_seed=0)
    assert all(torch.equal(a, b) for a, b in zip(parameters(model), parameters(start), strict=True))
    assert obstacle(model) is None


def test_samples_beyond_the_margin_have_no_say() -> None:
    model = MarginClassifier(in_features=2, out_features=2, init_seed=0)
    with torch.no_grad():
        weight(model).copy_(torch.eye(2))
    inside, beyond = torch.tensor([[0.5, 0.0]]), torch.tensor([[1.5, 0.0]])

    for x, wanted in ((inside, 0.25), (beyond, 0.0)):
        model.zero_grad()
        step = model.training_step((x, torch.tensor([0])), 0)
        step["loss"].backward()
        assert step["loss"].item() == wanted
        assert bool(weight(model).grad.any()) is (wanted > 0)


def test_a_margin_classifier_learns_the_digits(bare_trainer: Callable[..., Trainer]) -> None:
    data = Digits(batch_size=50)
    trainer = bare_trainer(15, limit_val_batches=0)
    model = MarginClassifier(in_features=64, optimizer={"momentum": {"lr": 0.1}}, init_seed=0)

    trainer.fit(model, datamodule=data)
    (scores,) = trainer.test(model, datamodule=data, verbose=False)

    assert scores["test_accuracy"] > 0.93


# Packs and requests ------------------------------------------------------------------------------

MAKERS: list[Any] = [
    lambda seed: DeepStack(depth=30, width=10, in_features=6, activation="sigmoid", init_seed=seed),
    lambda seed: DeepLinearNet(
        depth=4, scale=1.1, in_features=6, out_features=10, task="classification", init_seed=seed
    ),
    lambda seed: MaxoutNet(hidden=[10], pieces=3, in_features=6, init_seed=seed),
    lambda seed: MarginClassifier(in_features=6, init_seed=seed),
]


@pytest.mark.parametrize("make", MAKERS, ids=["deep_stack", "deep_linear_net", "maxout_net", "margin"])
def test_a_pack_has_the_bits_of_plain_pytorch(make: Any, bare_trainer: Callable[..., Trainer]) -> None:
    x, y = draw(47, 6), torch.arange(47) % 10
    members, alone = [make(k) for k in range(3)], [make(k) for k in range(3)]
    steppers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in alone]
    pack = PackedModule(members, [0, 1, 2])
    pack.trainer = bare_trainer(1, limit_val_batches=0)
    pack.configure_optimizers()

    for rows in torch.arange(47).split(10):
        losses, _ = pack.step(torch.stack([x[rows]] * 3), torch.stack([y[rows]] * 3))
        for k, (model, stepper) in enumerate(zip(alone, steppers, strict=True)):
            stepper.zero_grad()
            step = model.training_step((x[rows], y[rows]), 0)
            step["loss"].backward()
            stepper.step()
            assert torch.equal(losses[k].view(torch.int32), step["losses"].view(torch.int32))

    for member, model in zip(members, alone, strict=True):
        for a, b in zip(parameters(member), parameters(model), strict=True):
            assert torch.equal(a.contiguous().view(torch.int32), b.view(torch.int32))


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (SumOfSigmoids, {"units": 0}, "model sum_of_sigmoids: units: expected a whole number of at least 1"),
        (DeepLinearNet, {"depth": 0}, "depth: expected a whole number between 1 and 1000, got 0"),
        (DeepLinearNet, {"scale": "big"}, "scale: expected a number above 0, got 'big'"),
        (DeepLinearNet, {"regularizer": "batch_norm"}, "expected a network with hidden layers"),
        (DeepStack, {"width": 0}, "model deep_stack: width: expected a whole number of at least 1"),
        (DeepStack, {"depth": 2.5}, "depth: expected a whole number between 1 and 1000, got 2.5"),
        (MaxoutNet, {"pieces": 1}, "model maxout_net: pieces: expected a whole number between 2 and 64"),
        (MaxoutNet, {"match": "unit"}, "Unknown value 'unit'. .* Did you mean 'units'?"),
        (MarginClassifier, {"margin": 0}, "model margin_classifier: margin: expected a number above 0"),
    ],
    ids=str,
)
def test_a_wrong_request_is_refused(make: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make(**options)
