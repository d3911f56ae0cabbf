"""Scores against torchmetrics' own metrics and scikit-learn, however the samples are cut into batches."""

from __future__ import annotations

import math
from typing import Any

import pytest
import sklearn.metrics  # type: ignore[import-untyped]
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.regression import MeanSquaredError, R2Score

from recipebench.lightning_modules.scores import FIELDS, Scores, summarize, tally

SAMPLES = 1003
CUTS = [1, 7, 128, SAMPLES]


def classified() -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(SAMPLES, 10, generator=g), torch.randint(10, (SAMPLES,), generator=g)
    logits[torch.arange(SAMPLES), targets] += 1.0
    return logits, targets, F.cross_entropy(logits, targets, reduction="none")


def regressed() -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    targets = 3 + torch.randn(SAMPLES, 1, generator=g)
    outputs = targets + 0.5 * torch.randn(SAMPLES, 1, generator=g)
    return outputs, targets, (outputs - targets).square()[:, 0]


def scored(task: str, samples: tuple[Tensor, Tensor, Tensor], batch_size: int) -> dict[str, float]:
    scores = Scores(task)
    for outputs, targets, losses in zip(*(part.split(batch_size) for part in samples), strict=True):
        scores.update(outputs, targets, losses)
    return {name: float(value) for name, value in scores.compute().items()}


@pytest.mark.parametrize("batch_size", CUTS)
def test_classification_agrees_with_torchmetrics_and_scikit_learn(batch_size: int) -> None:
    logits, targets, losses = classified()
    accuracy = MulticlassAccuracy(10, average="micro")
    accuracy.update(logits, targets)

    ours = scored("classification", (logits, targets, losses), batch_size)

    assert ours.keys() == {"loss", "accuracy"}
    assert ours["accuracy"] == pytest.approx(float(accuracy.compute()), abs=1e-7)
    assert ours["accuracy"] == sklearn.metrics.accuracy_score(targets, logits.argmax(1))
    probabilities = logits.double().softmax(1).numpy()
    assert ours["loss"] == pytest.approx(sklearn.metrics.log_loss(targets, probabilities), rel=1e-6)


@pytest.mark.parametrize("batch_size", CUTS)
def test_regression_agrees_with_torchmetrics_and_scikit_learn(batch_size: int) -> None:
    outputs, targets, losses = regressed()
    error, r2 = MeanSquaredError(), R2Score()
    error.update(outputs, targets)
    r2.update(outputs[:, 0], targets[:, 0])

    ours = scored("regression", (outputs, targets, losses), batch_size)

    assert ours.keys() == {"loss", "mse", "r2"}
    assert ours["mse"] == pytest.approx(float(error.compute()), rel=1e-5)
    assert ours["r2"] == pytest.approx(float(r2.compute()), rel=1e-5)
    wide = targets.double().numpy(), outputs.double().numpy()
    assert ours["mse"] == pytest.approx(sklearn.metrics.mean_squared_error(*wide), rel=1e-6)
    assert ours["r2"] == pytest.approx(sklearn.metrics.r2_score(*wide), rel=1e-6)
    assert ours["loss"] == pytest.approx(ours["mse"], rel=1e-6)


def test_an_accuracy_is_a_whole_number_of_samples() -> None:
    ours = scored("classification", classified(), 128)

    assert ours["accuracy"] * SAMPLES == pytest.approx(round(ours["accuracy"] * SAMPLES), abs=1e-9)


def test_hand_worked_regression() -> None:
    outputs, targets = torch.tensor([[1.0], [2.0], [6.0]]), torch.tensor([[1.0], [3.0], [5.0]])
    losses = (outputs - targets).square()[:, 0]

    (total,) = tally("regression", outputs, targets, losses).tolist()

    assert dict(zip(FIELDS, total, strict=True)) == {
        "samples": 3,
        "loss": 2,
        "correct": 0,
        "squared_error": 2,
        "target": 9,
        "target_squared": 35,
    }
    assert summarize("regression", total) == pytest.approx({"loss": 2 / 3, "mse": 2 / 3, "r2": 0.75})


def test_r2_of_a_mean_prediction_is_zero() -> None:
    targets = torch.tensor([[1.0], [2.0], [3.0]])
    outputs = torch.full((3, 1), 2.0)

    scores = scored("regression", (outputs, targets, (outputs - targets).square()[:, 0]), 2)

    assert scores["r2"] == pytest.approx(0)


@pytest.mark.parametrize("targets", [[0.1], [0.1, 0.1, 0.1], [0.0, 0.0]], ids=str)
def test_r2_is_nan_where_the_targets_do_not_vary(targets: list[float]) -> None:
    y = torch.tensor(targets).unsqueeze(1)
    outputs = y + 1

    scores = scored("regression", (outputs, y, torch.ones(len(y))), 1)

    assert math.isnan(scores["r2"])
    assert scores["mse"] == pytest.approx(1)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("members", [1, 2, 5])
def test_a_tally_of_members_is_each_members_own(task: str, members: int) -> None:
    samples = classified() if task == "classification" else regressed()
    parts = [[part[start::members][: SAMPLES // members] for part in samples] for start in range(members)]

    together: Any = [torch.cat(column) for column in zip(*parts, strict=True)]
    each = torch.cat([tally(task, part[0], part[1], part[2]) for part in parts])

    assert torch.equal(tally(task, together[0], together[1], together[2], members), each)


def test_a_non_finite_loss_is_seen() -> None:
    logits, targets, losses = classified()
    losses[3] = torch.inf

    assert scored("classification", (logits, targets, losses), 128)["loss"] == math.inf


def test_sums_are_kept_in_float64() -> None:
    scores = Scores("classification")
    scores.half()

    scores.update(torch.eye(2), torch.tensor([0, 1]), torch.tensor([1e-9, 1.0]))

    assert scores.total.dtype == torch.float64
    assert float(scores.compute()["loss"]) == pytest.approx(0.5000000005, rel=1e-12)


def test_reset_forgets_everything() -> None:
    scores = Scores("classification")
    scores.update(torch.eye(2), torch.tensor([1, 0]), torch.ones(2))

    scores.reset()
    scores.update(torch.eye(2), torch.tensor([0, 1]), torch.zeros(2))

    assert {name: float(value) for name, value in scores.compute().items()} == {"loss": 0.0, "accuracy": 1.0}


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_tally_stays_on_the_device_of_the_losses(task: str) -> None:
    outputs, targets, losses = classified() if task == "classification" else regressed()

    total = tally(task, outputs.to("meta"), targets.to("meta"), losses.to("meta"))

    assert total.device.type == "meta"
