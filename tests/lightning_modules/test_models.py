"""Models in a bare Trainer against closed forms, scikit-learn and plain loops; obstacles to packs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.linear_model  # type: ignore[import-untyped]
import torch
from pytorch_lightning import Trainer
from torch import Tensor, nn

from recipebench.datamodules import Digits, SyntheticRegression
from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.lightning_modules import MLP, LinearRegression, SoftmaxRegression, create
from recipebench.lightning_modules.optimizers import OPTIMIZERS
from recipebench.lightning_modules.packed import obstacle

# Learning ----------------------------------------------------------------------------------------


def test_linear_regression_finds_the_least_squares_solution_and_the_teacher(
    bare_trainer: Callable[..., Trainer], training_data: Callable[[Any], tuple[Tensor, Tensor]]
) -> None:
    data = SyntheticRegression(batch_size=1000)
    x, y = training_data(data)
    design = np.column_stack([x.double().numpy(), np.ones(len(x))])
    (w1, w2, b), *_ = np.linalg.lstsq(design, y.double().numpy()[:, 0])
    model = LinearRegression(in_features=2, init_seed=0)

    bare_trainer(150).fit(model, datamodule=data)

    layer: Any = model.network.get_submodule("output")
    weights, bias = layer.weight[0].tolist(), layer.bias.item()
    assert [*weights, bias] == pytest.approx([w1, w2, b], abs=1e-5)
    teacher = [weights[0] * data.target_std, weights[1] * data.target_std]
    assert teacher == pytest.approx([2, -3.4], abs=0.01)
    assert bias * data.target_std + data.target_mean == pytest.approx(4.2, abs=0.01)


def test_softmax_regression_finds_scikit_learns_solution(
    bare_trainer: Callable[..., Trainer], training_data: Callable[[Any], tuple[Tensor, Tensor]]
) -> None:
    data, strength = Digits(batch_size=2000), 0.01
    x, y = training_data(data)
    model = SoftmaxRegression(
        in_features=64,
        regularizer={"l2": {"strength": strength}},
        optimizer={"nesterov": {"lr": 0.5, "momentum": 0.95}},
        init_seed=0,
    )

    bare_trainer(400, limit_val_batches=0).fit(model, datamodule=data)

    # scikit-learn minimizes C * sum of losses + 1/2 |W|², we the mean of losses + strength / 2 |W|²
    theirs = sklearn.linear_model.LogisticRegression(C=1 / (len(x) * strength), tol=1e-6, max_iter=5000)
    theirs.fit(x.flatten(1).double().numpy(), y.numpy())
    with torch.no_grad():
        probabilities = model(x).softmax(1)
    expected = torch.from_numpy(theirs.predict_proba(x.flatten(1).double().numpy())).float()
    assert float((probabilities - expected).abs().max()) < 1e-3


def test_a_small_network_learns_the_digits(bare_trainer: Callable[..., Trainer]) -> None:
    data = Digits(batch_size=32)
    model = MLP(in_features=64, hidden=[32], optimizer={"momentum": {"lr": 0.05}}, init_seed=0)
    trainer = bare_trainer(15)

    trainer.fit(model, datamodule=data)
    (scores,) = trainer.test(model, datamodule=data, verbose=False)

    assert scores["test_accuracy"] > 0.93
    assert scores["test_loss"] < 0.3


def test_a_network_learns_what_a_line_cannot(bare_trainer: Callable[..., Trainer]) -> None:
    data = SyntheticRegression(teacher="nonlinear", batch_size=32)
    recipe: dict[str, Any] = {"in_features": 2, "init_seed": 0, "optimizer": {"adam": {"lr": 0.01}}}
    results = {}
    for name, model in {
        "line": LinearRegression(**recipe),
        "network": MLP(hidden=[32], out_features=1, task="regression", activation="tanh", **recipe),
    }.items():
        trainer = bare_trainer(30)
        trainer.fit(model, datamodule=data)
        (scores,) = trainer.test(model, datamodule=data, verbose=False)
        results[name] = scores["test_r2"]

    assert results["network"] > 0.98
    assert results["line"] < 0.85


RECIPES: list[dict[str, Any]] = [
    {},
    {"activation": "sigmoid", "optimizer": "adam", "initializer": "xavier"},
    {"activation": "maxout", "optimizer": "rmsprop"},
    {"activation": "prelu", "optimizer": "adamw", "regularizer": "weight_decay"},
    {"activation": "tanh", "regularizer": "batch_norm", "optimizer": "nesterov"},
    {"regularizer": {"dropout": {"p": 0.3}}, "optimizer": "momentum"},
]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_bare_trainer_is_a_plain_loop(recipe: dict[str, Any], bare_trainer: Callable[..., Trainer]) -> None:
    """The Trainer adds nothing: the same weights as from a loop in plain PyTorch, bit for bit."""
    data = Digits(batch_size=100)
    data.setup()
    trained, looped = (MLP(in_features=64, hidden=[10, 7], init_seed=1, **recipe) for _ in range(2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bare_trainer(2, num_sanity_val_steps=0, limit_val_batches=0).fit(trained, datamodule=data)

    network, loss = looped.network.train(), nn.CrossEntropyLoss()
    optimizer = OPTIMIZERS[looped.optimizer.name](network.parameters(), **looped.optimizer_options())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for epoch in (1, 2):
            for rows in data.order(epoch).split(100):
                optimizer.zero_grad()
                loss(network(data.float_inputs(data.train.inputs[rows])), data.train.targets[rows]).backward()
                optimizer.step()

    for name, value in trained.state_dict().items():
        assert torch.equal(value, looped.state_dict()[name]), name


# Shapes and requests -----------------------------------------------------------------------------


def test_models_have_the_sizes_that_are_asked_for() -> None:
    shapes = {
        "plain": MLP(in_features=20, hidden=[7, 5], out_features=3),
        "maxout": MLP(in_features=20, hidden=[7, 5], out_features=3, activation={"maxout": {"pieces": 3}}),
        "no hidden layer": MLP(in_features=20, hidden=[], out_features=3),
        "softmax": SoftmaxRegression(in_features=20, out_features=3),
        "line": LinearRegression(in_features=20),
    }

    weights = {name: [tuple(w.shape) for w in model.weights()] for name, model in shapes.items()}

    assert weights == {
        "plain": [(7, 20), (5, 7), (3, 5)],
        "maxout": [(21, 20), (15, 7), (3, 5)],
        "no hidden layer": [(3, 20)],
        "softmax": [(3, 20)],
        "line": [(1, 20)],
    }
    for name, model in shapes.items():
        assert model(torch.zeros(4, 1, 5, 4)).shape == (4, 1 if name == "line" else 3)


def test_the_headline_network_has_its_109386_parameters() -> None:
    assert sum(p.numel() for p in MLP().parameters()) == 784 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10


def test_outputs_are_the_formula() -> None:
    model = MLP(in_features=3, hidden=[4], out_features=2, activation="tanh", initializer="torch_default")
    x = torch.randn(5, 3)
    w1, b1, w2, b2 = model.parameters()

    assert torch.allclose(model(x), torch.tanh(x @ w1.T + b1) @ w2.T + b2, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "rleu"}, "Unknown activation 'rleu'. .* Did you mean 'relu'?"),
        ({"initializer": "hee"}, "Unknown initializer 'hee'. .* Did you mean 'he'?"),
        (
            {"regularizer": {"dropout": {"p": 2}}},
            "regularizer dropout: p: expected a number between 0 and 0.99",
        ),
        ({"optimizer": {"adam": {"momentum": 0.9}}}, "Unknown hyper-parameter 'momentum'"),
        ({"task": "clasification"}, "Unknown task 'clasification'. .* Did you mean 'classification'?"),
        ({"task": "regression"}, "mlp: out_features: expected 1 for regression, got 10"),
        (
            {"hidden": [128, 0]},
            r"model mlp: hidden: expected a list of positive whole numbers, got \[128, 0\]",
        ),
        ({"hidden": [12.5]}, r"model mlp: hidden: expected a list of positive whole numbers, got \[12.5\]"),
    ],
    ids=str,
)
def test_a_wrong_request_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        MLP(**options)


@pytest.mark.parametrize(
    ("name", "task", "kind"),
    [
        ("mlp", "classification", MLP),
        ("mlp", "regression", MLP),
        ("linear_regression", "regression", LinearRegression),
        ("softmax_regression", "classification", SoftmaxRegression),
    ],
)
def test_create_hands_a_recipe_to_the_model(name: str, task: str, kind: type[MLP]) -> None:
    hidden = name == "mlp"
    recipe: dict[str, Any] = {
        "activation": Choice("maxout", {"pieces": 3}) if hidden else None,
        "initializer": Choice("small_gaussian", {"std": 0.5}),
        "regularizer": Choice("l1", {"strength": 0.2}),
        "optimizer": Choice("sgd", {"lr": 0.7}),
    }
    model: Any = create(
        Choice(name, {"hidden": (6,)} if hidden else {}),
        task=task,
        in_shape=(5,),
        out_features=1 if task == "regression" else 4,
        init_seed=3,
        **recipe,
    )

    assert type(model) is kind
    assert model.task == task
    assert {f: getattr(model, f) for f in recipe if f != "activation"} == {
        f: choice for f, choice in recipe.items() if f != "activation"
    }
    assert model(torch.zeros(2, 5)).shape == (2, 1 if task == "regression" else 4)
    assert [tuple(w.shape)[1] for w in model.weights()] == ([5, 6] if hidden else [5])


# Packs -------------------------------------------------------------------------------------------


class OwnLinear(nn.Linear):
    """A linear layer that may compute anything."""


class OwnStep(MLP):
    """A model with a training step of its own."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        return super().training_step(batch, batch_idx)


class OwnLoss(MLP):
    """A model with a loss of its own."""

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 2 * super().losses(outputs, targets)


def with_layer(name: str, layer: nn.Module) -> MLP:
    model = MLP(in_features=4, hidden=[4])
    model.network.add_module(name, layer)
    return model


def with_hook() -> MLP:
    model = MLP(in_features=4, hidden=[4])
    model.network.get_submodule("activation_1").register_forward_hook(lambda *args: None)
    return model


def with_weight_norm() -> MLP:
    model = MLP(in_features=4, hidden=[4])
    nn.utils.parametrizations.weight_norm(model.network.get_submodule("linear_1"))
    return model


def with_old_weight_norm() -> MLP:
    model = MLP(in_features=4, hidden=[4])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(model.network.get_submodule("linear_1"))
    return model


def with_another_network() -> MLP:
    model = MLP(in_features=4, hidden=[4])
    model.network = nn.ModuleDict({"only": nn.Linear(4, 4)})
    return model


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (with_layer("linear_1", OwnLinear(4, 4)), "layer linear_1 (OwnLinear) has no packed form"),
        (with_layer("extra", nn.GELU()), "layer extra (GELU) has no packed form"),
        (with_hook(), "layer activation_1 (ReLU) has a hook or a forward of its own"),
        (with_weight_norm(), "layer linear_1 (ParametrizedLinear) has no packed form"),
        (with_old_weight_norm(), "layer linear_1 (Linear) has a hook or a forward of its own"),
        (OwnStep(), "OwnStep has a training_step of its own"),
        (OwnLoss(), "OwnLoss has a losses of its own"),
        (with_another_network(), "its network is not a plain chain of layers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_model_that_may_mean_something_else_is_kept_out_of_packs(model: MLP, reason: str) -> None:
    assert obstacle(model) == reason


@pytest.mark.parametrize("model", [MLP, SoftmaxRegression, LinearRegression])
def test_plain_models_can_be_packed(model: Any) -> None:
    assert obstacle(model()) is None
