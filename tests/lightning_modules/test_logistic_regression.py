"""Logistic regression by gradient descent and by Newton's method against scikit-learn and plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import sklearn.linear_model  # type: ignore[import-untyped]
import torch
import torch.nn.functional as F
from pytorch_lightning import Trainer
from torch import Tensor, nn

from recipebench.datamodules import BreastCancer, Circles
from recipebench.errors import RequestError
from recipebench.lightning_modules import (
    LogisticRegression,
    LogisticRegressionNewton,
    gradient_check,
)
from recipebench.lightning_modules.losses import probability_mse
from recipebench.lightning_modules.optimizers import OPTIMIZERS
from recipebench.lightning_modules.packed import PackedModule, obstacle
from recipebench.lightning_modules.two_columns import two_columns


def output_layer(model: LogisticRegression) -> Any:
    return model.network.get_submodule("output")


def reference(x: Tensor, y: Tensor, strength: float) -> Any:
    """Fit scikit-learn's: it minimizes C * sum of losses + |w|² / 2, we mean + strength / 2 |w|²."""
    model = sklearn.linear_model.LogisticRegression(
        C=1 / (len(x) * strength), solver="newton-cholesky", tol=1e-10, max_iter=200
    )
    return model.fit(x.double().numpy(), y.numpy())


# Two columns -------------------------------------------------------------------------------------


def test_cross_entropy_of_the_columns_is_binary_cross_entropy_of_the_score() -> None:
    score = torch.linspace(-30, 30, 41, dtype=torch.float64).unsqueeze(1)
    for target in (0, 1):
        y = torch.full((41,), target)
        ours = F.cross_entropy(two_columns(score), y, reduction="none")
        theirs = F.binary_cross_entropy_with_logits(score[:, 0], y.double(), reduction="none")
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-14)
        squared = probability_mse(two_columns(score), y)
        assert torch.allclose(squared, (score[:, 0].sigmoid() - y).square(), rtol=1e-12, atol=1e-15)


def test_a_score_of_zero_is_class_0() -> None:
    assert two_columns(torch.tensor([[0.0], [1e-30], [-1e-30]])).argmax(1).tolist() == [0, 1, 0]


# Gradient descent --------------------------------------------------------------------------------


def test_it_finds_scikit_learns_solution(
    bare_trainer: Callable[..., Trainer], training_data: Callable[[Any], tuple[Tensor, Tensor]]
) -> None:
    data, strength = BreastCancer(batch_size=1000, inputs="standardized"), 0.01
    x, y = training_data(data)
    model = LogisticRegression(
        in_features=30,
        regularizer={"l2": {"strength": strength}},
        optimizer={"nesterov": {"lr": 0.5, "momentum": 0.95}},
        init_seed=0,
    )

    bare_trainer(500, limit_val_batches=0).fit(model, datamodule=data)

    theirs = reference(x, y, strength)
    assert output_layer(model).weight[0].tolist() == pytest.approx(theirs.coef_[0], abs=1e-4)
    assert output_layer(model).bias.item() == pytest.approx(theirs.intercept_[0], abs=1e-4)
    with torch.no_grad():
        probabilities = model(x).softmax(1).numpy()
    assert np.abs(probabilities - theirs.predict_proba(x.double().numpy())).max() < 1e-4


def test_the_gradient_is_the_error_times_the_input() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(9, 4, generator=generator, dtype=torch.float64), torch.arange(9) % 2
    model = LogisticRegression(in_features=4, init_seed=0).double()

    model.training_step((x, y), 0)["loss"].backward()

    layer = output_layer(model)
    error = (x @ layer.weight[0] + layer.bias).sigmoid() - y
    assert torch.allclose(layer.weight.grad[0], (error @ x / 9), rtol=0, atol=1e-15)
    assert torch.allclose(layer.bias.grad, error.mean(), rtol=0, atol=1e-15)


def test_the_squared_loss_hardly_moves_what_is_far_off() -> None:
    """Its gradient has a factor f (1 - f): a sample that is answered wrongly and surely teaches little."""
    x, y = torch.tensor([[10.0]]), torch.tensor([0])
    slopes = {}
    for loss in ("cross_entropy", "probability_mse"):
        model = LogisticRegression(in_features=1, loss=loss, init_seed=0)
        nn.init.ones_(output_layer(model).weight)
        model.training_step((x, y), 0)["loss"].backward()
        slopes[loss] = output_layer(model).bias.grad.item()

    sure = 1 / (1 + np.exp(-10.0))
    assert slopes["cross_entropy"] == pytest.approx(sure, rel=1e-5)
    assert slopes["probability_mse"] == pytest.approx(2 * sure * sure * (1 - sure), rel=1e-2)
    assert slopes["probability_mse"] < 1e-3


def test_it_is_softmax_regression_seen_from_one_side_so_circles_are_beyond_it(
    bare_trainer: Callable[..., Trainer],
) -> None:
    data = Circles(batch_size=50)
    model, trainer = LogisticRegression(init_seed=0), bare_trainer(10, limit_val_batches=0)

    trainer.fit(model, datamodule=data)
    (scores,) = trainer.test(model, datamodule=data, verbose=False)

    assert scores["test_accuracy"] < 0.7
    assert scores["test_loss"] == pytest.approx(np.log(2), abs=0.05)


@pytest.mark.parametrize(
    "options",
    [{}, {"regularizer": "l1"}, {"regularizer": {"l2": {"strength": 0.1}}, "loss": "probability_mse"}],
)
def test_it_passes_the_gradient_check(options: dict[str, Any]) -> None:
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))

    report = gradient_check(
        LogisticRegression(in_features=3, init_seed=0, **options), (x, torch.arange(6) % 2)
    )

    assert report.verdict == "good", str(report)


# Packs -------------------------------------------------------------------------------------------


def same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.contiguous().view(torch.int32), b.contiguous().view(torch.int32))


@pytest.mark.parametrize(("samples", "batch_size"), [(41, 10), (47, 10), (93, 32)])
@pytest.mark.parametrize("features", [1, 6, 30])
def test_a_pack_has_the_bits_of_plain_pytorch(
    features: int, samples: int, batch_size: int, bare_trainer: Callable[..., Trainer]
) -> None:
    generator = torch.Generator().manual_seed(samples)
    x, y = torch.randn(samples, features, generator=generator), torch.arange(samples) % 2
    recipes: list[dict[str, Any]] = [
        {"optimizer": "sgd"},
        {"optimizer": "momentum", "regularizer": "l2"},
        {"optimizer": "adam", "regularizer": "l1"},
        {"optimizer": "adagrad", "initializer": "torch_default"},
    ]
    members = [LogisticRegression(in_features=features, init_seed=k, **r) for k, r in enumerate(recipes)]
    alone = [LogisticRegression(in_features=features, init_seed=k, **r) for k, r in enumerate(recipes)]
    assert [obstacle(member) for member in members] == [None] * 4
    pack = PackedModule(members, list(range(4)))
    pack.trainer = bare_trainer(1, limit_val_batches=0)
    pack.configure_optimizers()

    steppers = [OPTIMIZERS[m.optimizer.name](m.parameters(), **m.optimizer_options()) for m in alone]
    orders = [torch.randperm(samples, generator=generator) for _ in members]
    for batch in torch.stack(orders).split(batch_size, dim=1):
        losses, penalties = pack.step(x[batch], y[batch])
        for k, (model, stepper) in enumerate(zip(alone, steppers, strict=True)):
            stepper.zero_grad()
            step = model.training_step((x[batch[k]], y[batch[k]]), 0)
            step["loss"].backward()
            stepper.step()
            assert same_bits(losses[k], step["losses"])
            assert same_bits(penalties[k], step["penalty"])

    for member, model in zip(members, alone, strict=True):
        for a, b in zip(member.parameters(), model.parameters(), strict=True):
            assert same_bits(a.detach(), b.detach())


# Newton ------------------------------------------------------------------------------------------


@pytest.fixture
def newton(bare_trainer: Callable[..., Trainer]) -> Callable[..., LogisticRegressionNewton]:
    """Fit by Newton's method: `newton(data, epochs, **options)` returns the model."""

    def run(data: Any, epochs: int, **options: Any) -> LogisticRegressionNewton:
        model = LogisticRegressionNewton(in_features=data.in_features, **options)
        bare_trainer(epochs, limit_val_batches=0).fit(model, datamodule=data)
        return model

    return run


@pytest.mark.parametrize("batch_size", [37, 1000])
def test_newton_finds_scikit_learns_solution_in_a_few_epochs(
    batch_size: int,
    newton: Callable[..., LogisticRegressionNewton],
    training_data: Callable[[Any], tuple[Tensor, Tensor]],
) -> None:
    data, strength = BreastCancer(batch_size=batch_size, inputs="standardized"), 0.01
    x, y = training_data(data)

    model = newton(data, epochs=8, strength=strength)

    theirs = reference(x, y, strength)
    assert model.weight[0].tolist() == pytest.approx(theirs.coef_[0], abs=1e-8)
    assert model.bias.item() == pytest.approx(theirs.intercept_[0], abs=1e-8)


def test_newton_takes_the_step_of_autograds_gradient_and_hessian() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 3, generator=generator), torch.arange(40) % 2
    model = LogisticRegressionNewton(in_features=3, strength=0.1)

    def objective(w: Tensor) -> Tensor:
        score = x.double() @ w[:3] + w[3]
        losses = F.binary_cross_entropy_with_logits(score, y.double())
        return losses + 0.05 * w[:3].square().sum()

    w = torch.zeros(4, dtype=torch.float64)
    for _ in range(3):
        hessian: Any = torch.autograd.functional.hessian(objective, w)
        w = w - torch.linalg.solve(hessian, torch.func.grad(objective)(w))
        for rows in torch.arange(40).split(7):
            model.training_step((x[rows], y[rows]), 0)
        model.step()

        assert [*model.weight[0].tolist(), model.bias.item()] == pytest.approx(w.tolist(), abs=1e-12)


def test_newton_doubles_the_digits_that_are_right(
    newton: Callable[..., LogisticRegressionNewton], training_data: Callable[[Any], tuple[Tensor, Tensor]]
) -> None:
    """Quadratic convergence: near the solution every epoch squares the distance to it, up to a factor."""
    data = BreastCancer(inputs="standardized")
    x, y = training_data(data)
    theirs = reference(x, y, 0.1)
    distances = []
    for epochs in range(2, 7):
        model = newton(data, epochs, strength=0.1)
        distances.append(float(np.linalg.norm(model.weight[0].numpy() - theirs.coef_[0])))

    for before, after in pairwise(distances[1:]):
        assert after < 2 * before**2
    assert distances[-1] < 1e-9


def test_newton_says_what_is_too_large() -> None:
    message = (
        "logistic_regression_newton: expected at most 2,000 parameters, got 3,073, whose Hessian has "
        "9,443,329 entries; raise max_parameters, or take logistic_regression."
    )
    with pytest.raises(RequestError, match=message):
        LogisticRegressionNewton(in_features=3072)
    assert LogisticRegressionNewton(in_features=3072, max_parameters=3073).weight.shape == (1, 3072)


def test_newton_shares_the_outputs_and_the_checkpoint(
    newton: Callable[..., LogisticRegressionNewton], training_data: Callable[[Any], tuple[Tensor, Tensor]]
) -> None:
    data = BreastCancer(inputs="standardized")
    model = newton(data, 3)
    x, _ = training_data(data)
    copy = LogisticRegressionNewton(in_features=30)
    concise = LogisticRegression(in_features=30)

    copy.load_state_dict(model.state_dict())
    with torch.no_grad():
        output_layer(concise).weight.copy_(model.weight)
        output_layer(concise).bias.copy_(model.bias)

    assert torch.equal(copy(x), model(x))
    assert torch.allclose(concise(x), model(x), atol=1e-4)
    assert model(x).dtype == torch.float32
    assert model.learning_rates() == [1.0]
    assert model.finite().tolist() == [True]
    assert float(model.penalty()) == pytest.approx(1e-4 / 2 * float(model.weight.square().sum()), rel=1e-6)


def test_newton_without_penalty_runs_away_from_separable_classes_and_says_so() -> None:
    x, y = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]]), torch.tensor([0, 0, 1, 1])
    model = LogisticRegressionNewton(in_features=1, strength=0.0)
    sizes = []
    for _ in range(6):
        model.training_step((x, y), 0)
        model.step()
        sizes.append(model.weight.item())

    steps = np.diff(sizes)
    assert steps.min() > 0.8  # f (1 - f) / (1 - f) tends to 1: a step of 1 / |x| without end
    model.weight.fill_(torch.inf)
    model.training_step((x, y), 0)
    model.step()
    assert model.finite().tolist() == [False]


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (LogisticRegression, {"out_features": 3}, "logistic_regression: expected two classes, got 3"),
        (LogisticRegression, {"loss": "mse"}, "loss mse: expected a loss for classification"),
        (LogisticRegression, {"regularizer": "dropout"}, "expected a network with hidden layers"),
        (LogisticRegressionNewton, {"out_features": 3}, "logistic_regression_newton: expected two classes"),
        (LogisticRegressionNewton, {"strength": -1}, "strength: expected a number of at least 0"),
    ],
    ids=str,
)
def test_a_wrong_request_is_refused(make: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make(**options)
