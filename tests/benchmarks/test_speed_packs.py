"""The ladder measures what it says: every arm trains, and an arm that learned something else is noticed."""

from __future__ import annotations

import pytest

from recipebench.benchmarks.speed import packs

SMALL = packs.Setting("digits", (8,), 32, 2, 5)


@pytest.mark.filterwarnings("ignore")  # DataLoader workers, missing loggers: the tutorial's own warnings
def test_the_ladder_has_a_figure_for_every_arm() -> None:
    found = packs.ladder(SMALL, rounds=1, optimizer="adam", data_dir=None)

    arms = {"Lightning + DataLoader", "Lightning + tensor batches", "raw loop", "pack", "floor"}
    assert set(found["times a pack"]) == set(found["microseconds"]) == arms
    assert found["times a pack"]["pack"] == 1
    assert all(value > 0 for value in found["microseconds"].values())
    assert "| digits 8 batch 32, pack of 5 | adam |" in packs.table([found])


def test_an_arm_that_learned_something_else_is_noticed() -> None:
    bench = packs.Bench(SMALL, "sgd", None)
    bench.one_by_one(bench.raw_loop)
    bench.pack()
    bench.check()

    bench.losses["raw loop"].append(10.0)
    with pytest.raises(AssertionError, match="did not learn alike"):
        bench.check()

    bench.first_losses["pack"][3] += 1e-6
    with pytest.raises(AssertionError, match="not those of the raw loop"):
        bench.check()


def test_operations_are_counted_by_hand() -> None:
    bench = packs.Bench(SMALL, "sgd", None)

    forward = 2 * (64 * 8 + 8 * 10)
    train = 1294 * (3 * forward - 2 * 64 * 8)
    assert bench.operations() * 41 == pytest.approx(train + 144 * forward)
