"""Models from scratch against their concise forms over whole epochs, and their layers against autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from recipebench.datamodules import Digits, SyntheticRegression
from recipebench.errors import RequestError
from recipebench.lightning_modules import (
    MLP,
    LinearRegression,
    LinearRegressionScratch,
    MLPScratch,
    SoftmaxRegression,
    SoftmaxRegressionScratch,
    gradient_check,
)
from recipebench.lightning_modules.catalog import FACTORS
from recipebench.lightning_modules.mlp_scratch import LAYERS, SoftmaxWithLoss, SquaredError
from recipebench.lightning_modules.model_catalog import MODELS as MODEL_CATALOG
from recipebench.lightning_modules.models import MODELS
from recipebench.lightning_modules.softmax_regression_scratch import cross_entropy, softmax

DIGITS: dict[str, Any] = {"in_features": 64, "init_seed": 3}
PAIRS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "linear": (
        LinearRegression,
        LinearRegressionScratch,
        {"in_features": 2, "optimizer": {"sgd": {"lr": 0.05}}, "init_seed": 3},
    ),
    "softmax": (SoftmaxRegression, SoftmaxRegressionScratch, {**DIGITS, "optimizer": {"sgd": {"lr": 0.3}}}),
    "drawn biases": (SoftmaxRegression, SoftmaxRegressionScratch, {**DIGITS, "initializer": "torch_default"}),
    **{
        f"mlp {activation}": (MLP, MLPScratch, {**DIGITS, "hidden": [12, 7], "activation": activation})
        for activation in LAYERS
    },
    "mlp without hidden layers": (MLP, MLPScratch, {**DIGITS, "hidden": []}),
    "mlp regression": (
        MLP,
        MLPScratch,
        {
            "in_features": 2,
            "out_features": 1,
            "hidden": [9],
            "task": "regression",
            "activation": "tanh",
            "initializer": "xavier",
            "init_seed": 3,
        },
    ),
}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}


class InDouble:
    """A loader whose real numbers are float64."""

    batch_sampler = None

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.sampler = loader.sampler

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Any:
        for inputs, targets in self.loader:
            yield inputs.double(), targets.double() if targets.is_floating_point() else targets


@pytest.fixture
def trained(bare_trainer: Callable[..., Trainer]) -> Callable[..., dict[str, Tensor]]:
    """Train on batches of 100, the last of which is short: `trained(module, dtype)` returns the weights."""

    def run(module: LightningModule, dtype: torch.dtype, epochs: int = 3) -> dict[str, Tensor]:
        data: Any = SyntheticRegression if module.task == "regression" else Digits
        data = data(batch_size=100)
        data.setup()
        assert len(data.train) % 100
        loader: Any = data.train_dataloader()
        if dtype == torch.float64:
            loader = InDouble(loader)
        trainer = bare_trainer(epochs, limit_val_batches=0)
        trainer.fit(module.to(dtype), loader, data.val_dataloader())
        state = module.state_dict()
        return {name.removeprefix("network.").removeprefix("output."): t for name, t in state.items()}

    return run


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("pair", PAIRS)
def test_scratch_and_concise_form_learn_the_same(
    pair: str, dtype: torch.dtype, trained: Callable[..., dict[str, Tensor]]
) -> None:
    concise, scratch, options = PAIRS[pair]
    first, second = concise(**options), scratch(**options)
    start = {name: t.clone() for name, t in second.state_dict().items()}

    wanted, found = trained(first, dtype), trained(second, dtype)

    assert set(found) == set(wanted)
    for name, value in found.items():
        assert (value - wanted[name]).abs().max() < TOLERANCE[dtype], name
    assert any(not torch.allclose(t, start[name].to(dtype)) for name, t in second.state_dict().items())
    assert second.learning_rates() == first.learning_rates()


@pytest.mark.parametrize("pair", PAIRS)
def test_both_forms_start_with_the_same_bits(pair: str) -> None:
    concise, scratch, options = PAIRS[pair]

    wanted, found = (list(make(**options).parameters()) for make in (concise, scratch))

    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))


def test_networks_of_both_forms_have_the_same_names() -> None:
    concise, scratch = MLP(hidden=[5, 4]), MLPScratch(hidden=[5, 4])

    scratch.load_state_dict(concise.state_dict())

    assert list(scratch.state_dict()) == list(concise.state_dict())
    x = torch.randn(3, 1, 28, 28)
    assert torch.allclose(scratch(x), concise(x), atol=1e-6)


def test_nothing_of_it_is_autograds() -> None:
    for scratch in (LinearRegressionScratch(), SoftmaxRegressionScratch(), MLPScratch()):
        assert not any(p.requires_grad for p in scratch.parameters())
        assert scratch.configure_optimizers() == []


# Gradients ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", PAIRS)
def test_hand_written_gradients_pass_the_gradient_check(pair: str) -> None:
    _, scratch, options = PAIRS[pair]
    generator = torch.Generator().manual_seed(0)
    module = scratch(**options)
    x = torch.randn(5, options["in_features"], generator=generator)
    if module.task == "regression":
        y = torch.randn(5, 1, generator=generator)
    else:
        y = torch.randint(10, (5,), generator=generator)

    report = gradient_check(module, (x, y))

    assert report.relative_difference < 1e-7, str(report)
    assert set(report.differences) == {name for name, _ in module.named_parameters()}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_torchs(name: str) -> None:
    reference: Any = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}[name]
    layer = LAYERS[name]()
    x = torch.tensor([[-100.0, -2.0, -0.1, 0.0, 0.3, 4.0, 100.0]], dtype=torch.float64, requires_grad=True)
    grad = torch.linspace(1, 2, 7, dtype=torch.float64).unsqueeze(0)
    (wanted,) = torch.autograd.grad(reference(x), x, grad)

    with torch.no_grad():
        value = layer(x)

        assert torch.allclose(value, reference(x), rtol=0, atol=1e-15)
        assert torch.allclose(layer.backward(grad), wanted, rtol=1e-12, atol=1e-15)


def test_last_layers_are_autograds() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    for last, targets in (
        (SoftmaxWithLoss(), torch.tensor([0, 2, 1, 1])),
        (SquaredError(), torch.randn(4, 3, generator=generator, dtype=torch.float64)),
    ):
        (wanted,) = torch.autograd.grad(last.forward(outputs, targets).mean(), outputs)
        with torch.no_grad():
            assert torch.allclose(last.backward(outputs, targets), wanted, rtol=0, atol=1e-15)


def test_the_gradient_is_divided_by_the_true_batch_size() -> None:
    """One sample alone steps ten times as far as it does in a batch with nine that are fitted already."""
    x, y = torch.ones(10, 1, dtype=torch.float64), torch.zeros(10, 1, dtype=torch.float64)
    module = LinearRegressionScratch(in_features=1, init_seed=0).double()
    module.weight.fill_(0)
    y[0] = 1

    alone, together = module.gradients(x[:1], y[:1]), module.gradients(x, y)

    assert (alone["bias"].item(), together["bias"].item()) == pytest.approx((-2, -0.2))


# Softmax -----------------------------------------------------------------------------------------


def test_softmax_and_cross_entropy_are_torchs() -> None:
    outputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 20
    targets = torch.tensor([0, 1, 2, 3, 0, 1])
    for stable in (True, False):
        assert torch.allclose(softmax(outputs, stable=stable), outputs.softmax(1), rtol=0, atol=1e-14)
        wanted = torch.nn.functional.cross_entropy(outputs, targets, reduction="none")
        assert torch.allclose(cross_entropy(outputs, targets, stable=stable), wanted, rtol=1e-12, atol=1e-12)


def test_exp_overflows_above_88_point_7() -> None:
    fits, overflows = torch.tensor([[88.7, 0.0]]), torch.tensor([[88.8, 0.0]])

    assert softmax(fits, stable=False).isfinite().all()
    assert softmax(overflows, stable=False)[0, 0].isnan()
    assert cross_entropy(overflows, torch.tensor([0])).item() == 0


def test_without_the_shift_large_outputs_end_the_training() -> None:
    """The same data, rate and start: the stable form goes on, the literal one soon has no loss."""
    x, y = torch.tensor([[100.0, 0.0], [0.0, 100.0]]), torch.tensor([0, 1])
    losses = {}
    for stable in (True, False):
        module = SoftmaxRegressionScratch(
            stable=stable,
            in_features=2,
            out_features=2,
            initializer="small_gaussian",
            optimizer={"sgd": {"lr": 1.0}},
            init_seed=0,
        )
        losses[stable] = torch.stack([module.training_step((x, y), 0)["losses"] for _ in range(4)])
        assert bool(module.finite()) is stable

    assert losses[True].isfinite().all()
    assert not losses[False].isfinite().all()
    assert losses[False][0].isfinite().all()  # it began well


def test_the_catalog_knows_what_is_written_out() -> None:
    for name, levels in {m.name: m.only for m in MODEL_CATALOG.values() if getattr(m, "only", {})}.items():
        for factor, written in levels.items():
            for level in FACTORS[factor]:
                if level in written:
                    assert MODELS[name](**{factor: level})
                else:
                    with pytest.raises(RequestError, match=f"{factor}: expected .*, got {level}"):
                        MODELS[name](**{factor: level})


# Requests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (LinearRegressionScratch, {"optimizer": "adam"}, "LinearRegressionScratch: optimizer: expected sgd"),
        (SoftmaxRegressionScratch, {"stable": 1}, "stable: expected true or false, got 1"),
        (
            MLPScratch,
            {"activation": "prelu"},
            "expected one written out here: sigmoid, tanh, relu, got prelu",
        ),
        (MLPScratch, {"task": "regression"}, "mlp_scratch: out_features: expected 1 for regression, got 10"),
        (MLPScratch, {"hidden": [0]}, r"model mlp_scratch: hidden: .* got \[0\]"),
        (MLPScratch, {"task": "control"}, "Unknown task 'control'"),
    ],
    ids=str,
)
def test_a_wrong_request_is_refused(make: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make(**options)
