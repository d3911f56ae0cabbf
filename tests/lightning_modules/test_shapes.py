"""Sizes of multilayer perceptrons against the networks themselves and against every factor there is."""

from __future__ import annotations

from typing import Any

import pytest

from recipebench.lightning_modules import MLP
from recipebench.lightning_modules.shapes import (
    count_parameters,
    count_weights,
    dropout_problem,
    hidden_widths,
    matched_widths,
)

NETWORKS = [(784, [128, 64], 10), (20, [7, 5, 3], 1), (64, [50], 10), (5, [1], 2), (3, [], 4)]
COUNTS: dict[str, Any] = {"parameters": count_parameters, "flops": count_weights}


def built(in_features: int, hidden: list[int], out_features: int, **options: Any) -> MLP:
    return MLP(in_features=in_features, hidden=hidden, out_features=out_features, **options)


@pytest.mark.parametrize("pieces", [1, 2, 5])
@pytest.mark.parametrize(("in_features", "hidden", "out_features"), NETWORKS)
def test_counts_are_those_of_the_network(
    in_features: int, hidden: list[int], out_features: int, pieces: int
) -> None:
    activation = "relu" if pieces == 1 else {"maxout": {"pieces": pieces}}
    model = built(in_features, hidden, out_features, activation=activation)

    parameters = count_parameters(in_features, hidden, out_features, pieces)
    weights = count_weights(in_features, hidden, out_features, pieces)

    assert parameters == sum(p.numel() for p in model.parameters())
    assert weights == sum(w.numel() for w in model.weights())


@pytest.mark.parametrize("match", COUNTS)
@pytest.mark.parametrize("pieces", [2, 3, 8])
@pytest.mark.parametrize(("in_features", "hidden", "out_features"), NETWORKS)
def test_no_other_factor_comes_closer(
    in_features: int, hidden: list[int], out_features: int, pieces: int, match: str
) -> None:
    count = COUNTS[match]
    target = count(in_features, hidden, out_features)

    widths = matched_widths(in_features, hidden, out_features, pieces, match)

    def miss(candidate: list[int]) -> int:
        return abs(int(count(in_features, candidate, out_features, pieces)) - target)

    grid = ([max(1, round(w * i / 20_000)) for w in hidden] for i in range(20_001))
    assert miss(list(widths)) == min(map(miss, grid))
    assert all(1 <= new <= old for new, old in zip(widths, hidden, strict=True))


def test_the_headline_network_is_matched_to_a_percent() -> None:
    relu = built(784, [128, 64], 10)
    for match in COUNTS:
        maxout = built(784, [128, 64], 10, activation={"maxout": {"pieces": 2, "match": match}})
        sizes = [sum(p.numel() for p in model.parameters()) for model in (relu, maxout)]
        assert sizes[1] == pytest.approx(sizes[0], rel=0.01)
        assert maxout(maxout.network.linear_1.weight.new_zeros(3, 784)).shape == (3, 10)


def test_matching_units_leaves_the_widths_alone() -> None:
    assert matched_widths(784, [128, 64], 10, pieces=4) == (128, 64)
    assert matched_widths(784, [128, 64], 10, pieces=1, match="parameters") == (128, 64)


def test_more_pieces_leave_fewer_units() -> None:
    widths = [matched_widths(784, [128, 64], 10, pieces, "flops")[0] for pieces in (1, 2, 4, 8)]

    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == 4


def test_an_unknown_way_to_match_is_refused() -> None:
    with pytest.raises(KeyError, match="depth"):
        matched_widths(784, [128], 10, pieces=2, match="depth")


def test_a_model_without_an_activation_keeps_its_widths() -> None:
    assert hidden_widths(784, [], 10, None) == ()


@pytest.mark.parametrize(
    ("p", "hidden", "problem"),
    [
        ([0.1], [], None),
        ([0.1, 0.5, 0.0], [8, 4], None),
        ([0.5], [8], "expected 2 numbers (the input and 1 hidden layer), got 1."),
        ([0.5, 0.5], [], "expected 1 number (the input and 0 hidden layers), got 2."),
    ],
)
def test_dropout_per_layer_needs_a_probability_for_each_layer(
    p: list[float], hidden: list[int], problem: str | None
) -> None:
    expected = problem and f"regularizer dropout_per_layer: p: {problem}"

    assert dropout_problem(p, hidden) == expected
