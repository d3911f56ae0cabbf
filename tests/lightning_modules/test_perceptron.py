"""The perceptron: gates by hand and learned, what it provably cannot do, and scikit-learn's perceptron."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from scipy.optimize import linprog  # type: ignore[import-untyped]
from sklearn.linear_model import Perceptron as Reference  # type: ignore[import-untyped]
from torch import Tensor

from recipebench.datamodules import TwoGaussians
from recipebench.datamodules.gates import Gates
from recipebench.errors import RequestError
from recipebench.lightning_modules import Perceptron, XorGate, xor
from recipebench.lightning_modules.perceptron import GATES

CORNERS = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
TRUTH = {"and": [0, 0, 0, 1], "or": [0, 1, 1, 1], "nand": [1, 1, 1, 0]}
XOR = [0, 1, 1, 0]


def learned(targets: list[int], passes: int) -> Perceptron:
    neuron = Perceptron()
    for _ in range(passes):
        neuron.training_step((CORNERS, torch.tensor(targets)), 0)
    return neuron


def separable(samples: int) -> tuple[Tensor, Tensor]:
    """Points at least 0.2 from a line; the first is of class 1, as a start at 0 treats a tie as class 0."""
    x = torch.randn(4 * samples, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    side = x @ torch.tensor([1.0, -2.0, 2.0], dtype=torch.float64) / 3 + 0.1
    x, side = x[side.abs() > 0.2][:samples], side[side.abs() > 0.2][:samples]
    first = int((side > 0).nonzero()[0])
    order = [first, *(i for i in range(samples) if i != first)]
    return x[order], (side[order] > 0).long()


# Gates -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GATES)
def test_a_gate_has_its_truth_table(name: str) -> None:
    gate = Perceptron.gate(name)

    assert gate.predict(CORNERS).tolist() == TRUTH[name]
    assert gate(CORNERS).argmax(1).tolist() == TRUTH[name]


def test_weights_and_thresholds_are_the_books() -> None:
    assert GATES == {"and": ((0.5, 0.5), 0.7), "nand": ((-0.5, -0.5), -0.7), "or": ((0.5, 0.5), 0.2)}
    assert Perceptron.gate("and").bias.item() == pytest.approx(-0.7)


def test_xor_is_two_layers() -> None:
    assert XorGate()(CORNERS).tolist() == XOR
    assert xor(CORNERS[:, 0], CORNERS[:, 1]).tolist() == XOR
    nand, either = (Perceptron.gate(name).predict(CORNERS) for name in ("nand", "or"))
    assert Perceptron.gate("and").predict(torch.stack([nand, either], 1).float()).tolist() == XOR


def test_no_gate_of_one_neuron_is_xor() -> None:
    with pytest.raises(RequestError, match=r"Unknown gate 'xor'. Known: and, nand, or. Did you mean 'or'?"):
        Perceptron.gate("xor")


# What one neuron can and cannot ------------------------------------------------------------------


@pytest.mark.parametrize("name", TRUTH)
def test_it_learns_what_a_line_separates(name: str) -> None:
    neuron = learned(TRUTH[name], passes=20)
    mistakes = int(neuron.mistakes)

    neuron.training_step((CORNERS, torch.tensor(TRUTH[name])), 0)

    assert neuron.predict(CORNERS).tolist() == TRUTH[name]
    assert int(neuron.mistakes) == mistakes


def test_it_never_comes_to_rest_on_xor() -> None:
    neuron = learned(XOR, passes=200)

    for _ in range(20):
        before = int(neuron.mistakes)
        neuron.training_step((CORNERS, torch.tensor(XOR)), 0)
        assert int(neuron.mistakes) > before
        assert neuron.predict(CORNERS).tolist() != XOR


def test_no_weights_on_a_fine_grid_are_xor_though_the_grid_has_all_other_gates() -> None:
    grid = torch.linspace(-2, 2, 41)
    w1, w2, b = (axis.flatten() for axis in torch.meshgrid(grid, grid, grid, indexing="ij"))
    answers = (torch.stack([w1, w2]).T @ CORNERS.T + b.unsqueeze(1) > 0).long()
    found = {tuple(row) for row in answers.unique(dim=0).tolist()}

    missing = set(itertools.product((0, 1), repeat=4)) - found

    assert missing == {(0, 1, 1, 0), (1, 0, 0, 1)}  # xor and its negation


def test_the_four_inequalities_of_xor_contradict_each_other() -> None:
    """-b >= 0, w2 + b > 0, w1 + b > 0, -(w1 + w2 + b) >= 0: their sum says 0 > 0, whatever w and b are."""
    coefficients = np.array([[0, 0, -1], [0, 1, 1], [1, 0, 1], [-1, -1, -1]])  # of w1, w2, b

    assert coefficients.sum(0).tolist() == [0, 0, 0]
    # and by linear programming: "> 0" as ">= 1", which scaling allows
    possible = linprog(np.zeros(3), A_ub=-coefficients, b_ub=[0, -1, -1, 0], bounds=[(None, None)] * 3)
    assert possible.status == 2  # infeasible


# The rule ----------------------------------------------------------------------------------------


def test_the_rule_by_hand() -> None:
    """From 0: (1, 2) of class 1 is answered 0; (3, 1) of class 0 is answered 1; (1, 2) then is right."""
    neuron = Perceptron(lr=0.5)
    batch = torch.tensor([[1.0, 2.0], [3.0, 1.0], [-5.0, 3.0]]), torch.tensor([1, 0, 1])

    step = neuron.training_step(batch, 0)

    assert neuron.weight.tolist() == [[-1.0, 0.5]]
    assert neuron.bias.tolist() == [0.0]
    assert int(neuron.mistakes) == 2
    assert step["losses"].tolist() == [0, 0, 0]  # before the batch all scores are 0
    assert neuron.losses(neuron(batch[0]), batch[1]).tolist() == [0.0, 0.0, 0.0]
    assert neuron.losses(neuron(batch[0]), 1 - batch[1]).tolist() == [0.0, 2.5, 6.5]


def test_it_walks_with_scikit_learns_perceptron() -> None:
    x, y = separable(200)
    neuron = Perceptron(in_features=3).double()
    reference = Reference(shuffle=False, tol=None, max_iter=3)

    for _ in range(3):
        neuron.training_step((x, y), 0)
    reference.fit(x.numpy(), y.numpy())

    assert neuron.weight[0].tolist() == pytest.approx(reference.coef_[0], abs=1e-12)
    assert neuron.bias.item() == pytest.approx(reference.intercept_[0], abs=1e-12)


def test_mistakes_stay_below_novikoffs_bound() -> None:
    x, y = separable(200)
    neuron = Perceptron(in_features=3).double()
    for _ in range(100):
        neuron.training_step((x, y), 0)

    extended = torch.cat([x, torch.ones(len(x), 1)], 1)
    best = torch.tensor([1 / 3, -2 / 3, 2 / 3, 0.1], dtype=torch.float64)
    margin = ((2 * y - 1) * (extended @ best)).min() / best.norm()

    assert neuron.predict(x).tolist() == y.tolist()
    assert 0 < int(neuron.mistakes) <= float((extended.norm(dim=1).max() / margin) ** 2)


def test_the_step_size_changes_no_answer() -> None:
    x, y = separable(100)
    small, large = Perceptron(lr=0.25, in_features=3).double(), Perceptron(lr=8.0, in_features=3).double()
    for neuron in (small, large):
        neuron.training_step((x, y), 0)

    assert torch.equal(large.weight, 32 * small.weight)
    assert small.predict(x).tolist() == large.predict(x).tolist()


def test_it_learns_through_a_trainer_and_goes_on_from_a_checkpoint(
    bare_trainer: Callable[..., Trainer],
) -> None:
    data = Gates(gate="nand", batch_size=7)
    neuron, copy = Perceptron(), Perceptron()
    trainer = bare_trainer(5, limit_val_batches=0)

    trainer.fit(neuron, datamodule=data)
    (scores,) = trainer.test(neuron, datamodule=data, verbose=False)
    copy.load_state_dict(neuron.state_dict())

    assert scores == {"test_loss": 0.0, "test_accuracy": 1.0}
    assert neuron.predict(CORNERS).tolist() == copy.predict(CORNERS).tolist() == TRUTH["nand"]
    assert neuron.finite().tolist() == [True]
    assert neuron.learning_rates() == [1.0]


def test_data_that_no_line_separates_are_learned_well_enough(bare_trainer: Callable[..., Trainer]) -> None:
    data = TwoGaussians(batch_size=16)
    neuron, trainer = Perceptron(), bare_trainer(5, limit_val_batches=0)

    trainer.fit(neuron, datamodule=data)
    (scores,) = trainer.test(neuron, datamodule=data, verbose=False)

    assert scores["test_accuracy"] > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"out_features": 10},
            "perceptron: expected two classes, got 10; softmax_regression takes any number",
        ),
        ({"lr": 0}, "model perceptron: lr: expected a number above 0"),
    ],
    ids=str,
)
def test_a_wrong_request_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Perceptron(**options)
