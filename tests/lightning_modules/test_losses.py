"""Losses against torch's modules, scikit-learn, formulas written out, and batches laid end to end."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import sklearn.metrics  # type: ignore[import-untyped]
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipebench.lightning_modules.catalog import DEFAULT_LOSS
from recipebench.lightning_modules.catalog import LOSSES as CATALOG
from recipebench.lightning_modules.losses import LOSSES, perceptron, probability_mse

CLASSIFICATION = [name for name in LOSSES if "classification" in CATALOG[name].tasks]
REGRESSION = [name for name in LOSSES if "regression" in CATALOG[name].tasks]
LEVELS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in LOSSES),
    ("huber", {"delta": 0.3}),
    ("label_smoothing", {"form": "corrected"}),
    ("label_smoothing", {"form": "notes", "epsilon": 0.3}),
    ("multi_margin", {"margin": 0.2}),
]


def problem(name: str, rows: int = 40, columns: int = 4, dtype: torch.dtype = torch.float64) -> Any:
    g = torch.Generator().manual_seed(rows * columns)
    outputs = 3 * torch.randn(rows, columns, generator=g, dtype=dtype)
    if name in CLASSIFICATION:
        return outputs, torch.randint(columns, (rows,), generator=g)
    return outputs, torch.randn(rows, columns, generator=g, dtype=dtype)


def one_hot(targets: Tensor, classes: int) -> Tensor:
    return torch.eye(classes, dtype=torch.float64)[targets]


def smoothed(outputs: Tensor, targets: Tensor, true: float, other: float) -> Tensor:
    """Cross-entropy with targets written out: `true` for the class, `other` for each other one."""
    t = one_hot(targets, outputs.shape[1])
    return -((t * true + (1 - t) * other) * outputs.log_softmax(1)).sum(1)


TORCHS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": lambda o, y: nn.MSELoss(reduction="none")(o, y).mean(1),
    "half_mse": lambda o, y: nn.MSELoss(reduction="none")(o, y).mean(1) / 2,
    "l1": lambda o, y: nn.L1Loss(reduction="none")(o, y).mean(1),
    "huber": lambda o, y: nn.SmoothL1Loss(reduction="none", beta=1)(o, y).mean(1),
    "cross_entropy": nn.CrossEntropyLoss(reduction="none"),
    "label_smoothing": nn.CrossEntropyLoss(reduction="none", label_smoothing=0.1),
    "bce": lambda o, y: nn.BCEWithLogitsLoss(reduction="none")(o, one_hot(y, 4)).mean(1),
    "one_hot_mse": lambda o, y: nn.MSELoss(reduction="none")(o, one_hot(y, 4)).mean(1),
    "probability_mse": lambda o, y: (o.exp() / o.exp().sum(1, True) - one_hot(y, 4)).square().mean(1),
    "multi_margin": nn.MultiMarginLoss(reduction="none"),
    "perceptron": lambda o, y: (o - (one_hot(y, 4) * o).sum(1, True)).relu().amax(1),
}


def value_and_gradient(loss: Callable[..., Tensor], outputs: Tensor, *rest: Any, **options: Any) -> Any:
    leaf = outputs.clone().requires_grad_()
    each = loss(leaf, *rest, **options)
    (gradient,) = torch.autograd.grad(each.sum(), leaf)
    return each.detach(), gradient


def test_every_loss_is_held_against_torch() -> None:
    assert set(TORCHS) == set(LOSSES) == set(CATALOG)
    assert {task: CATALOG[name].tasks for task, name in DEFAULT_LOSS.items()} == {
        "classification": ("classification",),
        "regression": ("regression",),
    }


@pytest.mark.parametrize("name", TORCHS)
def test_values_and_gradients_are_torchs(name: str) -> None:
    outputs, targets = problem(name)

    ours, theirs = (value_and_gradient(loss, outputs, targets) for loss in (LOSSES[name], TORCHS[name]))

    assert ours[0].shape == (40,)
    assert torch.allclose(ours[0], theirs[0], rtol=1e-12, atol=1e-12)
    assert torch.allclose(ours[1], theirs[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "stock"),
    [
        ("cross_entropy", lambda o, y: F.cross_entropy(o, y, reduction="none")),
        ("mse", lambda o, y: F.mse_loss(o, y, reduction="none").mean(1)),
    ],
)
def test_the_usual_losses_have_torchs_bits(name: str, stock: Callable[..., Tensor]) -> None:
    outputs, targets = problem(name, rows=29, dtype=torch.float32)

    ours, theirs = (value_and_gradient(loss, outputs, targets) for loss in (LOSSES[name], stock))

    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize(("name", "options"), LEVELS, ids=str)
@pytest.mark.parametrize("rows", [1, 7, 10, 32])
def test_batches_laid_end_to_end_keep_their_bits(name: str, options: dict[str, Any], rows: int) -> None:
    """What a pack relies on: no sample's loss or gradient depends on the others of its batch."""
    for members, columns in ((3, 1 if name in REGRESSION else 2), (5, 10)):
        outputs, targets = problem(name, members * rows, columns, torch.float32)

        together = value_and_gradient(LOSSES[name], outputs, targets, **options)

        for k in range(members):
            part = slice(k * rows, (k + 1) * rows)
            alone = value_and_gradient(LOSSES[name], outputs[part], targets[part], **options)
            assert torch.equal(together[0][part].view(torch.int32), alone[0].view(torch.int32))
            assert torch.equal(together[1][part].view(torch.int32), alone[1].view(torch.int32))


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_float32_losses_stay_finite_far_out(name: str) -> None:
    outputs = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]])

    value, gradient = value_and_gradient(LOSSES[name], outputs, torch.tensor([0, 0]))

    assert bool(torch.isfinite(value).all())
    assert bool(torch.isfinite(gradient).all())
    assert value[1] > value[0]


def test_losses_of_hand_worked_errors() -> None:
    outputs, targets = torch.tensor([[0.5], [3.0], [-2.0]]), torch.zeros(3, 1)

    worked = {
        "mse": [0.25, 9, 4],
        "half_mse": [0.125, 4.5, 2],
        "l1": [0.5, 3, 2],
        "huber": [0.125, 2.5, 1.5],
    }

    assert {name: LOSSES[name](outputs, targets).tolist() for name in worked} == worked
    assert set(worked) == set(REGRESSION)
    assert LOSSES["huber"](outputs, targets, delta=2.0).tolist() == [0.125, 4, 2]


def test_gradients_of_regression_losses_by_the_error() -> None:
    """Linear, half of it, a constant ±1, and clipped: on errors from -5 to 5, in float64."""
    errors = torch.linspace(-5, 5, 101, dtype=torch.float64).unsqueeze(1)
    expected = {
        "mse": 2 * errors,
        "half_mse": errors,
        "l1": errors.sign(),
        "huber": errors.clamp(-1, 1),
    }

    for name, slope in expected.items():
        _, gradient = value_and_gradient(LOSSES[name], errors, torch.zeros_like(errors))
        assert torch.allclose(gradient, slope, rtol=1e-12, atol=1e-12), name


def test_the_huber_loss_is_continuous_where_its_pieces_meet() -> None:
    edges = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    below, above = (LOSSES["huber"](edges * (1 + s), torch.zeros_like(edges)) for s in (-1e-9, 1e-9))

    assert below.tolist() == pytest.approx([0.5, 0.5], abs=2e-9)
    assert above.tolist() == pytest.approx([0.5, 0.5], abs=2e-9)


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize(
    ("form", "true", "other"),
    [
        ("torch", lambda e, k: 1 - e + e / k, lambda e, k: e / k),
        ("corrected", lambda e, k: 1 - e, lambda e, k: e / (k - 1)),
        ("notes", lambda e, k: 1 - e, lambda e, k: e / k),
    ],
)
def test_label_smoothing_has_the_targets_of_its_form(classes: int, form: str, true: Any, other: Any) -> None:
    epsilon, total = 0.1, {"torch": 1.0, "corrected": 1.0, "notes": 1 - 0.1 / classes}
    outputs, targets = problem("cross_entropy", columns=classes)
    on, off = true(epsilon, classes), other(epsilon, classes)

    losses = LOSSES["label_smoothing"](outputs, targets, epsilon=epsilon, form=form)

    assert torch.allclose(losses, smoothed(outputs, targets, on, off), rtol=1e-12)
    assert on + (classes - 1) * off == pytest.approx(total[form], rel=1e-12)


@pytest.mark.parametrize("form", ["torch", "corrected", "notes"])
def test_label_smoothing_without_smoothing_is_the_cross_entropy(form: str) -> None:
    outputs, targets = problem("cross_entropy")

    losses = LOSSES["label_smoothing"](outputs, targets, epsilon=0.0, form=form)

    assert torch.allclose(losses, LOSSES["cross_entropy"](outputs, targets), rtol=1e-12)


def test_an_unknown_form_of_label_smoothing_is_refused() -> None:
    with pytest.raises(KeyError, match="soft"):
        LOSSES["label_smoothing"](torch.zeros(1, 2), torch.tensor([0]), form="soft")


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("cross_entropy", sklearn.metrics.log_loss),
        ("probability_mse", sklearn.metrics.brier_score_loss),
    ],
)
def test_probabilities_are_scored_as_scikit_learn_scores_them(name: str, theirs: Any) -> None:
    outputs, targets = problem(name)
    probabilities = outputs.softmax(1).numpy()
    scale = 4 if name == "probability_mse" else 1  # the mean over classes; scikit-learn adds them up

    ours = float(LOSSES[name](outputs, targets).mean()) * scale

    assert ours == pytest.approx(theirs(targets.numpy(), probabilities, labels=range(4)), rel=1e-9)


def two_columns(scores: Tensor) -> Tensor:
    return torch.stack([-scores / 2, scores / 2], dim=1)


def test_two_columns_are_logistic_regression() -> None:
    scores = torch.linspace(-20, 20, 81, dtype=torch.float64)
    for label in (0, 1):
        targets = torch.full((81,), label)
        f = torch.sigmoid(scores)

        entropy, slope = value_and_gradient(
            lambda s, t: LOSSES["cross_entropy"](two_columns(s), t), scores, targets
        )
        squared, flat = value_and_gradient(lambda s, t: probability_mse(two_columns(s), t), scores, targets)

        stock = F.binary_cross_entropy_with_logits(scores, targets.double(), reduction="none")
        assert torch.allclose(entropy, stock, rtol=1e-12, atol=1e-13)
        assert torch.allclose(slope, f - label, rtol=1e-9, atol=1e-15)
        assert torch.allclose(squared, (f - label) ** 2, rtol=1e-9, atol=1e-15)
        assert torch.allclose(flat, 2 * (f - label) * f * (1 - f), rtol=1e-9, atol=1e-15)


def test_the_squared_loss_on_probabilities_is_flat_where_the_answer_is_quite_wrong() -> None:
    wrong, target = torch.tensor([[10.0, -10.0]]), torch.tensor([1])

    flat = value_and_gradient(probability_mse, wrong, target)[1].abs().max()
    steep = value_and_gradient(LOSSES["cross_entropy"], wrong, target)[1].abs().max()

    assert float(flat) < 1e-6
    assert float(steep) == pytest.approx(1)


def test_the_perceptron_learns_from_mistakes_alone() -> None:
    outputs = torch.tensor([[1.0, 3.0, 2.0], [4.0, 1.0, 0.0], [2.0, 2.0, 0.0], [2.0, 2.0, 0.0]])
    targets = torch.tensor([2, 0, 0, 1])

    value, gradient = value_and_gradient(perceptron, outputs, targets)

    assert value.tolist() == [1, 0, 0, 0]
    assert gradient.tolist() == [[0, 1, -1], [0, 0, 0], [0, 0, 0], [1, -1, 0]]  # a tie: the first answers


def test_a_linear_perceptron_takes_rosenblatts_steps() -> None:
    """w_y <- w_y + lr x and w_answer <- w_answer - lr x after a mistake, nothing otherwise."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(50, 3, generator=g, dtype=torch.float64), torch.randint(3, (50,), generator=g)
    weight = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    by_hand = torch.zeros(3, 3, dtype=torch.float64)
    mistakes = 0
    for row, label in zip(x, y.tolist(), strict=True):
        answer = int((by_hand @ row).argmax())
        if answer != label:
            by_hand[label] += 0.5 * row
            by_hand[answer] -= 0.5 * row
            mistakes += 1
        loss = perceptron((weight @ row).unsqueeze(0), torch.tensor([label])).mean()
        (gradient,) = torch.autograd.grad(loss, weight)
        weight = (weight - 0.5 * gradient).detach().requires_grad_()

    assert mistakes > 10
    assert torch.allclose(weight.detach(), by_hand, rtol=1e-12, atol=1e-12)


def test_the_margin_is_asked_of_every_other_class() -> None:
    outputs, target = torch.tensor([[2.0, 1.5, -1.0, 2.5]]), torch.tensor([0])

    assert LOSSES["multi_margin"](outputs, target).tolist() == pytest.approx([(0.5 + 0 + 1.5) / 4])
    assert LOSSES["multi_margin"](outputs, target, margin=0.1).tolist() == pytest.approx([0.6 / 4])


def test_an_untrained_network_pays_the_logarithm_of_the_classes() -> None:
    assert LOSSES["cross_entropy"](torch.zeros(1, 10), torch.tensor([3])).tolist() == pytest.approx(
        [math.log(10)]
    )
    assert LOSSES["bce"](torch.zeros(1, 10), torch.tensor([3])).tolist() == pytest.approx([math.log(2)])
