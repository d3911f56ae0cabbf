"""Packs: what is trained together, in which sizes, whatever the order of the cells."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.packs import PACK_SIZES, Pack, good_size, plan, signature, weights
from recipebench.benchmarks.suite import load_suite


def cells_of(suite: str | dict[str, Any]) -> list[Cell]:
    return list(expand(load_suite(suite)))


def wide(**matrix: list[Any]) -> list[Cell]:
    given = {"optimizer": ["sgd", "adam"], "initializer": ["he", "xavier"], **matrix}
    return cells_of({"name": "wide", "data": ["digits"], "matrix": given, "seeds": 5})


def content(packs: Sequence[Pack]) -> set[frozenset[str]]:
    return {frozenset(cell.id for cell in pack.cells) for pack in packs}


def test_every_cell_is_in_one_pack_with_its_like() -> None:
    cells = wide(
        activation=["relu", "maxout"], regularizer=["none", "l2", {"dropout": {"p": 0.2}}, "dropout"]
    )

    packs = plan(cells, 7)

    assert Counter(cell.id for pack in packs for cell in pack.cells) == Counter(cell.id for cell in cells)
    assert all(len({signature(cell) for cell in pack.cells}) == 1 for pack in packs)


@pytest.mark.parametrize(
    ("factor", "levels", "together"),
    [
        ("optimizer", ["sgd", "adamw"], True),
        ("initializer", ["he", "small_gaussian"], True),
        ("regularizer", ["none", "early_stopping"], True),
        ("regularizer", [{"l1": {"strength": 0.1}}, {"l2": {"strength": 0.2}}], True),
        ("regularizer", ["none", "batch_norm"], False),
        ("regularizer", [{"dropout": {"p": 0.1}}, {"dropout": {"p": 0.2}}], False),
        ("activation", ["relu", "tanh"], False),
        (
            "activation",
            [{"leaky_relu": {"negative_slope": 0.1}}, {"leaky_relu": {"negative_slope": 0.2}}],
            False,
        ),
        ("batch_size", [10, 20], False),
        ("epochs", [1, 2], False),
        ("inputs", ["unit", "standardized"], False),
        ("model", [{"mlp": {"hidden": [8]}}, {"mlp": {"hidden": [9]}}], False),
    ],
)
def test_what_may_differ_inside_a_pack(factor: str, levels: list[Any], together: bool) -> None:
    matrix = {"optimizer": ["sgd"], factor: levels}
    a, b = cells_of({"name": "two", "data": ["digits"], "matrix": matrix, "seeds": 1})

    assert (signature(a) == signature(b)) is together


@pytest.mark.parametrize("size", [1, 2, 7, 19, 20, 21, 1000])
def test_packs_have_nearly_equal_sizes(size: int) -> None:
    sizes = [len(pack.cells) for pack in plan(wide(), size)]

    assert sum(sizes) == 20
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-20 // size)


def test_the_order_of_cells_is_irrelevant() -> None:
    cells = wide(activation=["relu", "tanh"], regularizer=["none", "l1", "dropout"])
    expected = content(plan(cells, 6))

    for seed in range(5):
        random.Random(seed).shuffle(cells)

        assert content(plan(cells, 6)) == expected


def test_members_with_the_same_optimizer_follow_each_other() -> None:
    cells = wide()
    random.Random(0).shuffle(cells)

    (pack,) = plan(cells, 20)

    names = [cell.optimizer.name for cell in pack.cells]
    assert names == sorted(names)


def test_no_pack_is_so_large_that_a_worker_has_nothing_to_do() -> None:
    assert len(plan(wide(), workers=1)) == 1
    assert len(plan(wide(), workers=2)) == 2
    assert len(plan(wide()[:1], workers=2)) == 1


def test_the_longest_packs_come_first() -> None:
    packs = plan(wide(epochs=[1, 9, 3]), 20)

    assert [pack.cells[0].epochs for pack in packs] == [9, 3, 1]


def test_an_obstacle_keeps_its_cells_alone() -> None:
    cells = wide(activation=["relu", "tanh"])
    name = signature(cells[0])

    packs = plan(cells, 10, obstacles={name: "no packed form"})

    alone = [pack for pack in packs if pack.alone]
    assert [len(pack.cells) for pack in alone] == [1] * 20
    assert {signature(pack.cells[0]) for pack in alone} == {name}
    assert {pack.alone for pack in alone} == {"no packed form"}
    assert all(len(pack.cells) == 10 for pack in packs if not pack.alone)


def test_halves_hold_all_cells_of_a_pack() -> None:
    cells = tuple(wide()[:5])

    first, second = Pack(cells).halves()

    assert (*first.cells, *second.cells) == cells
    assert len(first.cells) == 2


def test_a_pack_size_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected a pack size of at least 1, got 0"):
        plan(wide(), 0)


def test_core_plans_every_cell_in_a_pack() -> None:
    cells = cells_of("core")

    packs = plan(cells, workers=2)

    assert sum(len(pack.cells) for pack in packs) == len(cells) == 3000
    assert min(len(pack.cells) for pack in packs) > 1


def test_small_networks_make_larger_packs() -> None:
    small, large = (wide(model=[{"mlp": {"hidden": [width]}}])[0] for width in (8, 4096))

    assert weights(small) == 64 * 8 + 8 * 10
    assert weights(large) == 64 * 4096 + 4096 * 10
    assert (good_size(large), good_size(small)) == PACK_SIZES


def test_weights_of_maxout_and_of_linear_models() -> None:
    maxout = wide(activation=[{"maxout": {"pieces": 3}}], model=[{"mlp": {"hidden": [5, 4]}}])[0]
    linear = wide(model=["softmax_regression"])[0]

    assert weights(maxout) == 64 * 5 * 3 + 5 * 4 * 3 + 4 * 10
    assert weights(linear) == 64 * 10
