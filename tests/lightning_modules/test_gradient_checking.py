"""Gradient checking: correct passes are good, planted bugs are found and named, noise is refused."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from torch import Tensor, nn

from recipebench.datamodules import SyntheticRegression
from recipebench.errors import RequestError
from recipebench.lightning_modules import MLP, GradientReport, MLPScratch, gradient_check
from recipebench.lightning_modules.gradient_checking import compare, numerical_gradient


def batch(samples: int = 6, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(samples, 4, generator=generator), torch.arange(samples) % classes


def network(**options: Any) -> MLP:
    return MLP(
        **{
            "in_features": 4,
            "hidden": [5],
            "out_features": 3,
            "activation": "tanh",
            "init_seed": 1,
            **options,
        }
    )


class WrongSign(torch.autograd.Function):
    """x + bias, whose backward pass has the wrong sign for the bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor) -> Tensor:
        return x + bias

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        return grad, -grad.sum(0)


class Shift(nn.Module):
    """A layer with a planted bug."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        shifted: Tensor = WrongSign.apply(x, self.bias)  # type: ignore[no-untyped-call]
        return shifted


class MissingBias(MLPScratch):
    """Backpropagation that forgets db of the last layer."""

    def backpropagate(self, inputs: Tensor, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        found = super().backpropagate(inputs, outputs, targets)
        return {**found, "network.output.bias": torch.zeros_like(found["network.output.bias"])}


class OnePercentOff(MLPScratch):
    """Backpropagation with an error of one percent in a single entry."""

    def backpropagate(self, inputs: Tensor, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        found = super().backpropagate(inputs, outputs, targets)
        found["network.linear_1.weight"][2, 3] *= 1.01
        return found


class ForgottenPenalty(MLP):
    """Backpropagation of the loss alone, while the penalty counts."""

    def gradients(self, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        named = dict(self.named_parameters())
        loss = self.losses(self(inputs), targets).mean()
        return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


# Differences -------------------------------------------------------------------------------------


def test_the_numerical_gradient_of_a_cubic_by_hand() -> None:
    """(f(x + e) - f(x - e)) / 2e of x³ is 3 x² + e²; one-sided it would be off by 3 x e."""
    x = torch.tensor([[2.0, -1.0]], dtype=torch.float64)

    found = numerical_gradient(lambda: (x**3).sum(), x, epsilon=0.01)

    assert found[0].tolist() == pytest.approx([12.0001, 3.0001], abs=1e-10)
    assert x.tolist() == [[2.0, -1.0]]


def test_the_numerical_gradient_takes_numbers_and_transposes() -> None:
    number = torch.tensor(3.0, dtype=torch.float64)
    matrix = torch.arange(6.0, dtype=torch.float64).view(2, 3).T

    assert numerical_gradient(lambda: number**2, number).item() == pytest.approx(6)
    found = numerical_gradient(lambda: (matrix * matrix).sum(), matrix)
    assert torch.allclose(found, 2 * matrix, atol=1e-7)


# Correct passes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "sigmoid"},
        {"activation": "prelu"},
        {"activation": {"maxout": {"pieces": 3}}},
        {"regularizer": {"l2": {"strength": 0.3}}},
        {"regularizer": {"l1": {"strength": 0.1}}},
        {"regularizer": "batch_norm"},
        {"out_features": 1, "task": "regression"},
    ],
    ids=str,
)
def test_correct_passes_are_good_and_torchs_own_check_agrees(options: dict[str, Any]) -> None:
    module = network(**options)
    x, y = batch()
    if options.get("task"):
        y = torch.randn(6, 1, generator=torch.Generator().manual_seed(1))

    report = gradient_check(module, (x, y))

    assert report.verdict == "good", str(report)
    assert report.relative_difference < 1e-7
    wide = module.double()
    targets = y.double() if y.is_floating_point() else y

    def objective(*parameters: Tensor) -> Tensor:
        return wide.losses(wide(x.double()), targets).mean() + wide.penalty()

    assert torch.autograd.gradcheck(objective, tuple(wide.parameters()))


def test_it_leaves_the_module_as_it_was() -> None:
    module = network(regularizer="batch_norm")
    before = {name: t.clone() for name, t in module.state_dict().items()}
    module(batch()[0]).sum().backward()
    before = {name: t.clone() for name, t in module.state_dict().items()}
    grads = [p.grad.clone() for p in module.parameters() if p.grad is not None]
    state = torch.get_rng_state()

    gradient_check(module, batch())

    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(t, before[name]) for name, t in module.state_dict().items())
    after = [p.grad for p in module.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(grads, after, strict=True))
    assert module.training
    assert next(module.parameters()).dtype == torch.float32


def test_it_checks_in_the_middle_of_a_training(bare_trainer: Callable[..., Trainer]) -> None:
    reports: list[GradientReport] = []

    class Checked(MLP):
        def on_train_epoch_end(self) -> None:
            reports.append(gradient_check(self, (torch.ones(3, 2), torch.ones(3, 1))))

    module = Checked(
        in_features=2, hidden=[3], out_features=1, task="regression", activation="tanh", init_seed=0
    )
    bare_trainer(2, limit_val_batches=0).fit(module, datamodule=SyntheticRegression())

    assert [report.verdict for report in reports] == ["good", "good"]


# Bugs --------------------------------------------------------------------------------------------


def test_a_wrong_sign_is_found_and_named() -> None:
    module = network()
    module.network.add_module("shift", Shift(3))

    report = gradient_check(module, batch())

    assert report.verdict == "bug"
    assert report.parameter == "network.shift.bias"
    assert report.gradient == pytest.approx(-report.numerical, rel=1e-6)
    assert report.differences["network.shift.bias"] > 0.9
    assert all(d < 1e-7 for name, d in report.differences.items() if name != "network.shift.bias")
    assert "bug: relative difference" in str(report)
    assert f"worst at network.shift.bias[{report.index[0]}]" in str(report)


SCRATCH: dict[str, Any] = {
    "in_features": 4,
    "hidden": [5],
    "out_features": 3,
    "activation": "tanh",
    "init_seed": 1,
}


def test_a_missing_bias_gradient_is_a_bug() -> None:
    report = gradient_check(MissingBias(**SCRATCH), batch(samples=7))

    assert (report.verdict, report.parameter) == ("bug", "network.output.bias")
    assert report.gradient == 0


def test_one_percent_in_one_entry_asks_for_care_and_is_found() -> None:
    report = gradient_check(OnePercentOff(**SCRATCH), batch())

    assert report.relative_difference > 1e-7
    assert report.verdict != "good"
    assert (report.parameter, report.index) == ("network.linear_1.weight", (2, 3))
    assert report.gradient == pytest.approx(1.01 * report.numerical, rel=1e-5)


def test_the_penalty_is_a_part_of_the_gradient() -> None:
    module = ForgottenPenalty(
        in_features=4, hidden=[5], out_features=3, init_seed=1, regularizer={"l2": {"strength": 0.5}}
    )

    report = gradient_check(module, batch())

    assert report.verdict == "bug"
    assert report.parameter.endswith("weight")
    assert report.differences["network.output.bias"] < 1e-7


def test_the_bands_of_the_verdict() -> None:
    wanted = torch.tensor([1.0, 0.0], dtype=torch.float64)
    off = {1.9e-7: "good", 2.1e-7: "careful", 1.9e-3: "careful", 2.1e-3: "bug"}
    for error, verdict in off.items():
        report = compare({"w": wanted + torch.tensor([0.0, error], dtype=torch.float64)}, {"w": wanted})
        assert report.relative_difference == pytest.approx(error / 2, rel=1e-2)
        assert (report.verdict, report.index) == (verdict, (1,))


def test_a_gradient_that_is_no_number_is_a_bug() -> None:
    right = {"v": torch.ones(2, dtype=torch.float64), "w": torch.ones(1, 2, dtype=torch.float64)}
    wrong = {"v": right["v"] + 5, "w": torch.tensor([[1.0, torch.nan]], dtype=torch.float64)}

    report = compare(wrong, right)

    assert (report.verdict, report.parameter, report.index) == ("bug", "w", (0, 1))


# Refusals ----------------------------------------------------------------------------------------


class Noisy(MLP):
    """Outputs that change from call to call."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.rand(3)


def test_dropout_must_be_off() -> None:
    module = network(regularizer={"dropout": {"p": 0.25}})
    message = (
        r"expected dropout to be off.* got network.dropout_1 with p = 0.25 in training mode; call eval\(\)"
    )

    with pytest.raises(RequestError, match=message):
        gradient_check(module, batch())
    assert gradient_check(module.eval(), batch()).verdict == "good"


def test_noise_is_refused() -> None:
    with pytest.raises(RequestError, match="expected the same loss from the same weights, got"):
        gradient_check(Noisy(in_features=4, hidden=[2], out_features=3), batch())


@pytest.mark.parametrize("epsilon", [0, -1e-6, float("nan")])
def test_the_step_must_be_positive(epsilon: float) -> None:
    with pytest.raises(RequestError, match="epsilon: expected a number above 0"):
        gradient_check(network(), batch(), epsilon=epsilon)


def test_something_must_be_trained() -> None:
    with pytest.raises(RequestError, match="expected parameters that are trained, got none in MLP"):
        gradient_check(network().requires_grad_(False), batch())


def test_the_name_is_the_function_whatever_was_imported_before() -> None:
    importlib.import_module("recipebench.lightning_modules.gradient_checking")
    package = importlib.import_module("recipebench.lightning_modules")

    assert package.gradient_check is gradient_check
    assert callable(package.gradient_check)
