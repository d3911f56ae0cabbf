"""Logic gates: truth tables, equal shares of the corners, and noise."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
import torch

from recipebench.datamodules import Gates
from recipebench.datamodules.gates import CORNERS, TRUTH
from recipebench.errors import RequestError

REFERENCE: dict[str, Callable[[int, int], int]] = {
    "and": operator.and_,
    "or": operator.or_,
    "nand": lambda a, b: 1 - (a & b),
    "xor": operator.xor,
}


def made(**options: object) -> Gates:
    data = Gates(**options)  # type: ignore[arg-type]
    data.setup()
    return data


@pytest.mark.parametrize("gate", REFERENCE)
def test_every_sample_obeys_the_gate(gate: str) -> None:
    data = made(gate=gate)

    for (first, second), answer in zip(
        data.train.inputs.int().tolist(), data.train.targets.tolist(), strict=True
    ):
        assert answer == REFERENCE[gate](first, second)
    corners, counts = data.train.inputs.unique(dim=0, return_counts=True)
    assert corners.tolist() == [list(map(float, corner)) for corner in CORNERS]
    assert counts.tolist() == [50] * 4


def test_xor_is_and_of_nand_and_or() -> None:
    both = zip(TRUTH["nand"], TRUTH["or"], strict=True)

    assert tuple(a & b for a, b in both) == TRUTH["xor"]


def test_noise_moves_points_and_not_answers() -> None:
    clean, noisy, more = made(n=4000), made(n=4000, noise=0.1), made(n=4000, noise=0.2)
    moves = noisy.train.inputs - clean.train.inputs

    assert torch.equal(clean.train.targets, noisy.train.targets)
    assert moves.std().item() == pytest.approx(0.1, rel=0.03)
    assert moves.mean().item() == pytest.approx(0, abs=0.005)
    assert torch.allclose(more.train.inputs - clean.train.inputs, 2 * moves, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate": "nor"}, "Unknown value 'nor'. Known: and, nand, or, xor"),
        ({"n": 19}, "n: expected a whole number between 20"),
        ({"noise": -1}, "noise: expected a number between 0 and 10"),
    ],
)
def test_bad_parameters_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        made(**options)
