"""Two boxes: Bayes' rule by hand, and the frequencies of the draws."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from recipebench.datamodules import TwoBoxes
from recipebench.datamodules.two_boxes import posterior
from recipebench.errors import RequestError


def made(**options: object) -> TwoBoxes:
    data = TwoBoxes(**options)  # type: ignore[arg-type]
    data.setup()
    return data


def test_bayes_rule_by_hand() -> None:
    blue = Fraction(4, 5) * Fraction(3, 5)
    other = Fraction(2, 5) * Fraction(2, 5)
    green, green_other = Fraction(1, 5) * Fraction(3, 5), Fraction(3, 5) * Fraction(2, 5)

    assert TwoBoxes().posterior == pytest.approx(
        np.array(
            [
                [float(blue / (blue + other)), float(other / (blue + other))],
                [float(green / (green + green_other)), float(green_other / (green + green_other))],
            ]
        )
    )
    assert TwoBoxes().posterior[0, 0] == pytest.approx(0.75)


def test_three_colors_and_boxes_too() -> None:
    table = posterior(np.array([[1.0, 1.0, 2.0], [3.0, 1.0, 0.0]]), np.array([0.5, 0.5]))

    assert table == pytest.approx(np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]]))


@pytest.mark.parametrize(
    "options", [{}, {"prior": 0.2, "blue_1": 1, "green_1": 9, "blue_2": 5, "green_2": 5}]
)
def test_frequencies_approach_the_posterior(options: dict[str, object]) -> None:
    data = made(n=50_000, **options)
    colors, boxes = data.train.inputs.argmax(1), data.train.targets

    assert (boxes == 0).double().mean().item() == pytest.approx(data.prior, abs=0.01)
    for color in (0, 1):
        frequency = (boxes[colors == color] == 0).double().mean().item()
        assert frequency == pytest.approx(data.posterior[color, 0], abs=0.015)


def test_inputs_are_one_hot() -> None:
    data = made()

    assert data.train.inputs.dtype == torch.float32
    assert data.train.targets.dtype == torch.int64
    assert data.train.inputs.sum(1).tolist() == [1.0] * 1000
    assert data.train.inputs.unique(dim=0).tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blue_1": 0}, "blue_1: expected a whole number between 1 and 1000, got 0"),
        ({"prior": 1.0}, "prior: expected a number between 0.05 and 0.95"),
    ],
)
def test_bad_parameters_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        made(**options)
