"""Closed-form models in a Trainer: when they are solved, what they keep, and how the catalog makes them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor

from recipebench import datamodules
from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.lightning_modules import (
    MODELS,
    ClosedFormModule,
    GaussianClassifier,
    KNearestNeighbors,
    LeastSquaresClassifier,
    LinearRegressionClosedForm,
    NaiveBayesGaussian,
    OneHotLeastSquares,
    PolynomialRegression,
    TwoBoxBayes,
    closed_form,
    create,
)
from recipebench.lightning_modules.model_catalog import MODELS as LEVELS

CLOSED = [name for name, model in MODELS.items() if issubclass(model, ClosedFormModule)]
LEARNED = [name for name in CLOSED if name != "moving_average"]  # whose beta is set


def samples_for(name: str) -> tuple[Tensor, Tensor, str, int]:
    """Inputs, targets, task and outputs that suit a model: 60 samples."""
    generator = torch.Generator().manual_seed(3)
    regression = LEVELS[name].tasks == ("regression",)
    features = 1 if name == "polynomial_regression" else 3
    inputs = torch.randn(60, features, generator=generator)
    if name == "two_box_bayes":
        inputs = torch.eye(3)[torch.randint(3, (60,), generator=generator)]
    if regression:
        return inputs, torch.randn(60, 1, generator=generator), "regression", 1
    return inputs, torch.randint(2, (60,), generator=generator), "classification", 2


def make(name: str) -> tuple[ClosedFormModule, Tensor, Tensor]:
    inputs, targets, task, outputs = samples_for(name)
    choice = LEVELS.choose(name)
    model = create(choice, task=task, in_shape=tuple(inputs.shape[1:]), out_features=outputs, init_seed=0)
    assert isinstance(model, ClosedFormModule)
    return model, inputs, targets


class Watcher(Callback):
    """Keep what the training step of every batch returned."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.steps.append(dict(outputs))


class Stream:
    """Batches without a length, of the sizes given."""

    def __init__(self, inputs: Tensor, targets: Tensor, sizes: list[int]) -> None:
        self.parts = list(zip(inputs.split(sizes), targets.split(sizes), strict=True))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.parts)


def train(runner: Trainer, model: ClosedFormModule, stream: Stream, **options: Any) -> None:
    """Fit on the stream; it stands as validation data too, which are not looked at."""
    runner.fit(model, train_dataloaders=stream, val_dataloaders=stream, **options)


# Fitting ----------------------------------------------------------------------------------------


def test_all_closed_form_models_are_tested_here() -> None:
    assert len(CLOSED) == 10


@pytest.mark.parametrize("name", CLOSED)
def test_a_model_answers_before_it_is_fitted(name: str) -> None:
    model, inputs, targets = make(name)

    outputs = model(inputs)

    assert outputs.dtype == torch.float32
    assert outputs.shape == (60, 1 if model.task == "regression" else 2)
    if name != "moving_average":
        assert torch.equal(outputs, outputs[:1].expand_as(outputs))
    assert model.losses(outputs, targets).shape == (60,)
    assert bool(model.finite())
    assert model.learning_rate() is None


@pytest.mark.parametrize("name", LEARNED)
def test_the_first_epoch_fits_and_later_ones_change_nothing(
    name: str, bare_trainer: Callable[..., Trainer]
) -> None:
    model, inputs, targets = make(name)
    before = model.losses(model(inputs), targets)
    watcher = Watcher()

    train(
        bare_trainer(3, callbacks=[watcher], limit_val_batches=0),
        model,
        Stream(inputs, targets, [25, 25, 10]),
    )

    after = model.losses(model(inputs), targets)
    first, second, third = (
        torch.cat([step["losses"] for step in watcher.steps[i : i + 3]]) for i in (0, 3, 6)
    )
    assert torch.equal(first, before)
    assert after.mean() < before.mean()
    torch.testing.assert_close(second, after)
    assert torch.equal(second, third)
    assert all(float(step["penalty"]) == 0 for step in watcher.steps)
    assert all(float(step["loss"]) == float(step["losses"].mean()) for step in watcher.steps)


@pytest.mark.parametrize("name", LEARNED)
def test_batches_and_blocks_do_not_matter(
    name: str, monkeypatch: pytest.MonkeyPatch, bare_trainer: Callable[..., Trainer]
) -> None:
    model, inputs, targets = make(name)
    train(bare_trainer(limit_val_batches=0), model, Stream(inputs, targets, [60]))
    other = make(name)[0]
    monkeypatch.setattr(closed_form, "BLOCK", 8)
    train(bare_trainer(limit_val_batches=0), other, Stream(inputs, targets, [1, 7, 2, 25, 24, 1]))

    assert bool(model.fitted)
    theirs = other.state_dict()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, theirs[key], rtol=1e-9, atol=1e-12)


def test_an_interrupted_epoch_is_forgotten(
    fit: Callable[..., Any], bare_trainer: Callable[..., Trainer]
) -> None:
    class Stop(Exception):  # noqa: N818
        """Stands in for an interruption of the loader."""

    class Broken(Stream):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            yield self.parts[0]
            raise Stop

    model, inputs, targets = make("gaussian_classifier")
    with pytest.raises(Stop):
        train(bare_trainer(limit_val_batches=0), model, Broken(inputs + 5, targets, [30, 30]))
    assert not model.fitted

    fit(model, inputs, targets)

    expected = fit(make("gaussian_classifier")[0], inputs, targets)
    assert all(torch.equal(value, expected.state_dict()[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", CLOSED)
def test_what_is_fitted_is_in_the_state_dict(name: str, fit: Callable[..., Any]) -> None:
    model, inputs, targets = make(name)
    fit(model, inputs, targets)
    restored = make(name)[0]

    restored.load_state_dict(model.state_dict())

    assert torch.equal(restored(inputs), model(inputs))
    assert bool(restored.fitted)


def test_a_checkpoint_resumes_a_fitted_model(tmp_path: Path, bare_trainer: Callable[..., Trainer]) -> None:
    model, inputs, targets = make("k_nearest_neighbors")
    first, second = (bare_trainer(epochs, limit_val_batches=0) for epochs in (1, 2))
    path = tmp_path / "one.ckpt"
    train(first, model, Stream(inputs, targets, [60]))
    first.save_checkpoint(path)
    resumed = make("k_nearest_neighbors")[0]

    train(second, resumed, Stream(inputs + 1, targets, [60]), ckpt_path=path, weights_only=True)

    assert second.current_epoch == 2
    assert torch.equal(resumed(inputs), model(inputs))


def test_a_fitted_number_that_is_not_finite_is_found(fit: Callable[..., Any]) -> None:
    model, inputs, targets = make("k_nearest_neighbors")
    fit(model, inputs, targets)
    assert bool(model.finite())

    model.get_buffer("samples")[7, 1] = math.nan

    assert model.finite().tolist() == [False]


def test_lightning_validates_and_tests_a_closed_form_model(bare_trainer: Callable[..., Trainer]) -> None:
    data = datamodules.create(Choice("wine", {}), inputs="standardized")
    model = NaiveBayesGaussian(in_features=13, out_features=3)
    runner = bare_trainer(limit_val_batches=0)

    runner.fit(model, datamodule=data)

    (scores,) = runner.test(model, datamodule=data, verbose=False)
    assert runner.callback_metrics["test_accuracy"] > 0.9
    assert set(scores) == {"test_loss", "test_accuracy"}


def test_images_are_flattened(fit: Callable[..., Any]) -> None:
    images = torch.randn(40, 1, 2, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(40) % 3

    image_model = fit(GaussianClassifier(in_features=6, out_features=3), images, targets)

    flat_model = fit(GaussianClassifier(in_features=6, out_features=3), images.flatten(1), targets)
    assert torch.equal(image_model(images), flat_model(images.flatten(1)))


# The catalog --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLOSED)
def test_the_catalog_and_the_class_have_the_same_defaults(name: str) -> None:
    signature = inspect.signature(MODELS[name]).parameters

    assert {p.name: p.default for p in LEVELS[name].parameters} == {
        p.name: signature[p.name].default for p in LEVELS[name].parameters
    }
    own = set(signature) - {"task", "in_features", "out_features"}
    assert own == {p.name for p in LEVELS[name].parameters}
    assert getattr(LEVELS[name], "factors", None) == ()


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: PolynomialRegression(in_features=2), "expected data of one feature, got 2"),
        (lambda: LeastSquaresClassifier(out_features=3), "expected data of two classes, got 3"),
        (lambda: GaussianClassifier(covariance="sharde"), "Did you mean 'shared'"),
    ],
)
def test_a_model_that_does_not_suit_the_data_is_refused(make_it: Callable[[], Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make_it()


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        (TwoBoxBayes(), [[1.0, 1.0]], "expected one-hot inputs"),
        (TwoBoxBayes(), [[0.5, 0.5]], "expected one-hot inputs"),
        (
            GaussianClassifier(in_features=2, out_features=2, ridge=0),
            [[1, 2]],
            "rank 0 of 2 features at ridge 0",
        ),
        (
            GaussianClassifier(in_features=2, out_features=2, ridge=0, covariance="separate"),
            [[1, 2], [2, 3], [4, 5]],
            "covariance of class 0 is singular: rank 1 of 2",
        ),
        (
            NaiveBayesGaussian(in_features=2, out_features=2, var_smoothing=0),
            [[1, 2], [3, 2]],
            "feature 1 does not vary in class 0",
        ),
        (KNearestNeighbors(out_features=2, k=3), [[1, 2], [3, 2]], "k: expected at most 2"),
    ],
    ids=str,
)
def test_samples_that_a_model_cannot_be_fitted_to_are_refused(
    model: ClosedFormModule, inputs: list[list[float]], message: str, fit: Callable[..., Any]
) -> None:
    x = torch.tensor(inputs, dtype=torch.float32)

    with pytest.raises(RequestError, match=message):
        fit(model, x, torch.zeros(len(x), dtype=torch.int64))


def test_two_outputs_stand_for_one_score(fit: Callable[..., Any]) -> None:
    inputs = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])
    targets = torch.tensor([0, 0, 1, 1])

    model = fit(LeastSquaresClassifier(in_features=1), inputs, targets)

    # t = -1, -1, 1, 1 on x = -1, 0, 1, 2: slope 4/5, through the means 1/2 and 0
    scores = torch.tensor([-1.2, -0.4, 0.4, 1.2])
    outputs = model(inputs)
    torch.testing.assert_close(outputs, torch.stack([-scores / 2, scores / 2], 1))
    torch.testing.assert_close(model.losses(outputs, targets), torch.tensor([0.04, 0.36, 0.36, 0.04]))


def test_one_hot_losses_are_sums_over_the_classes(fit: Callable[..., Any]) -> None:
    model = OneHotLeastSquares(in_features=1, out_features=3)
    outputs = torch.tensor([[0.5, 0.25, 0.0]])

    assert model.losses(outputs, torch.tensor([0])).tolist() == [0.25 + 0.0625]
    assert model.losses(outputs, torch.tensor([2])).tolist() == [0.25 + 0.0625 + 1]


def test_ridge_reaches_the_solution(fit: Callable[..., Any]) -> None:
    inputs, targets = torch.tensor([[-1.0], [1.0]]), torch.tensor([[1.0], [5.0]])

    model = fit(LinearRegressionClosedForm(in_features=1, ridge=2.0), inputs, targets)

    # centered: x = -1, 1 and y = -2, 2, so w = 4 / (2 + ridge); the bias is the mean
    assert (model.weight.item(), model.bias.item()) == pytest.approx((1.0, 3.0), abs=1e-12)
