"""Two result sets: counts, one verdict a data set, and sentences that fit what was found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from recipebench.errors import RequestError
from recipebench.reports.cellwise import CHANGED, EQUAL, WITHIN, ResultSet
from recipebench.reports.claims import INCONCLUSIVE, REFUTED, SUPPORTED, Claim, judge
from recipebench.reports.compare import CAPTION, Comparison, compare, files
from recipebench.reports.statistics import inference
from recipebench.reports.statistics.inference import Blocks
from recipebench.reports.suite_info import Endpoint

ENDPOINTS = {
    "digits": Endpoint(column="test_accuracy_at_best", direction="higher", chance=0.1),
    "line": Endpoint(column="test_mse_at_best", direction="lower", chance=1.0),
    "game": Endpoint(column="test_mean_return_at_best", direction="higher", chance=0.0),
}
SEEDS, LEVELS = 5, ("relu", "tanh", "<b>odd|name</b>")


def result_set(
    name: str = "one", *, data: str = "digits", change: Any = None, torch: str = "2.13.0", device: str = "cpu"
) -> ResultSet:
    """Make a store's frames: every level on every seed; `change` gives (level, seed) -> what is added."""
    column, draw = ENDPOINTS[data].column, np.random.default_rng(0)
    rows = []
    for level in LEVELS:
        for seed in range(SEEDS):
            score = 0.9 + draw.normal(0, 0.01) + (change(level, seed) if change else 0.0)
            rows.append(
                {
                    **{"cell_id": f"{data}-{LEVELS.index(level)}-{seed}", "data": data, "seed": seed},
                    **{"activation": level, "status": "ok", column: score, "torch": torch, "cpu": "x86"},
                    **{"device": device, "pack_seconds": draw.random()},
                }
            )
    history = pd.DataFrame({"cell_id": [row["cell_id"] for row in rows], "epoch": 0, "loss": 1.0})
    return ResultSet(name, pd.DataFrame(rows), history)


def compared(first: ResultSet, second: ResultSet, **options: Any) -> Comparison:
    return compare(
        first,
        second,
        endpoints=options.pop("endpoints", ENDPOINTS),
        ignored=("pack_seconds", "torch", "cpu"),
        factors=("activation",),
        **options,
    )


def said(found: Comparison, part: str) -> bool:
    return any(part in sentence for sentence in found.sentences)


def test_the_same_bits_can_be_quoted() -> None:
    found = compared(result_set("one"), result_set("two"))

    assert found.counts[EQUAL] == len(found.cells) == 15
    assert not found.changed
    assert said(found, "The same bits: what was found in one store can be quoted for the other.")
    assert found.verdicts["digits"].word == SUPPORTED
    assert len(found.shown) == 1  # rows of levels of which all cells are equal are not printed
    assert len(found.table) == 1 + len(LEVELS)


def test_small_differences_of_another_build_leave_conclusions_alone() -> None:
    draw = np.random.default_rng(1)
    found = compared(result_set(), result_set("two", change=lambda *_: draw.normal(0, 1e-4), torch="2.12.0"))

    assert found.counts[WITHIN] == 15
    assert not found.changed
    assert said(found, "The builds differ")
    assert said(found, "No endpoint moved by more than matters (at most 0.0")
    assert found.builds["torch"].tolist() == ["2.13.0", "2.12.0"]
    assert said(found, "0.50 points of test accuracy at the best validation epoch on digits (the default)")


def test_the_same_build_with_other_bits_is_pointed_out() -> None:
    small = result_set("two", change=lambda *_: 1e-4)
    on_gpu = [result_set(name, change=c, device="gpu") for name, c in (("a", None), ("b", lambda *_: 1e-4))]

    assert said(compared(result_set(), small), "`recipebench verify` tells which of the two stores repeats")
    assert said(compared(*on_gpu), "on other devices than a CPU results repeat within a tolerance only")


def test_a_change_of_all_cells_is_refuted_and_the_largest_are_named() -> None:
    found = compared(result_set(), result_set("two", change=lambda _, seed: -0.05 - 0.001 * seed))

    assert found.changed
    assert found.counts[CHANGED] == 15
    verdict = found.verdicts["digits"]
    assert verdict.word == REFUTED
    assert verdict.mean == pytest.approx(-0.052)
    named = [sentence for sentence in found.sentences if sentence.startswith("digits-")]
    assert len(named) == 10
    assert "seed 4" in named[0]
    assert said(found, "And 5 more cells; all are in `.cells`")


def test_single_cells_can_change_while_the_mean_does_not() -> None:
    draw = np.random.default_rng(2)
    wild = {(level, seed): draw.normal(0, 0.004) for level in LEVELS for seed in range(SEEDS)}
    found = compared(
        result_set(), result_set("two", change=lambda *key: wild[key]), smallest={"digits": 0.006}
    )

    assert found.counts[CHANGED] > 0
    assert found.verdicts["digits"].word == SUPPORTED
    assert said(found, "(declared by the suite)")
    assert said(found, "single runs can end far apart where the mean does not move")


def test_the_verdict_is_the_one_of_blocks_of_a_seed() -> None:
    per_seed = np.array([0.0, 0.004, 0.008, -0.004, 0.002])
    found = compared(result_set(), result_set("two", change=lambda _, seed: per_seed[seed]))

    values = per_seed[None, :]
    (expected,) = judge(
        [Claim(name="", blocks=Blocks(values, values, 15, 0, 0), smallest=0.005, kind="equivalent")]
    )
    verdict = found.verdicts["digits"]
    assert (verdict.word, verdict.freedom) == (expected.word, 4)
    np.testing.assert_allclose([verdict.low, verdict.high], [expected.low, expected.high])
    row = found.table[found.table["factor"] == "all"].iloc[0]
    assert (row["n"], row["blocks"], row["verdict"]) == (15, SEEDS, INCONCLUSIVE)
    assert said(found, "Minimum detectable effect: ")


def test_rows_of_levels_have_no_verdict_and_adjusted_p() -> None:
    def change(level: str, seed: int) -> float:
        return 0.02 + 0.001 * seed if level == "tanh" else 1e-5 * (seed - 2)

    found = compared(result_set(), result_set("two", change=change)).table.set_index("level")

    assert (found.loc[list(LEVELS), "verdict"] == "").all()
    raw = inference.p_values(inference.over_seeds([[0.02 + 0.001 * seed for seed in range(SEEDS)]]))
    assert found.loc["tanh", "p"] == pytest.approx(3 * float(raw))
    assert found.loc["tanh", "mean"] == pytest.approx(0.022)
    assert found.loc["relu", "p"] > 0.9


def test_of_errors_less_is_better() -> None:
    found = compared(result_set(data="line"), result_set("two", data="line", change=lambda *_: 0.1))

    row = found.table.iloc[0]
    assert row["mean"] == pytest.approx(-0.1)
    assert found.cells["difference"].to_numpy() == pytest.approx(0.1)


def test_a_measure_without_a_smallest_effect_has_no_verdict() -> None:
    found = compared(result_set(data="game"), result_set("two", data="game", change=lambda *_: 1e-9))

    assert found.verdicts == {}
    assert found.counts[CHANGED] == 15
    assert said(found, "none on game, where no suite declares one, so that any difference")


def test_several_data_sets_are_one_family() -> None:
    def both(name: str, change: Any = None) -> ResultSet:
        sets = [result_set(name, data=data, change=change) for data in ("digits", "line")]
        records = pd.concat([one.records for one in sets], ignore_index=True)
        return ResultSet(name, records, pd.concat([one.history for one in sets], ignore_index=True))

    found = compared(both("one"), both("two", lambda _, seed: 0.001 * seed))

    assert {name: verdict.level for name, verdict in found.verdicts.items()} == {
        "digits": 0.975,
        "line": 0.975,
    }


def test_gaps_block_the_verdict_and_diverged_cells_count() -> None:
    first, second = result_set(), result_set("two")
    second.records.loc[0, ["status", "test_accuracy_at_best"]] = ["failed", np.nan]
    second.records.loc[7, ["status", "test_accuracy_at_best"]] = ["diverged", np.nan]

    found = compared(first, second)

    assert found.counts["ended otherwise"] == 2
    assert found.changed
    assert found.verdicts["digits"].word == INCONCLUSIVE
    assert said(found, "Gaps: 1 of 15 pairs have no score.")
    assert said(found, "in A, failed in B.")
    assert said(found, "in A, diverged in B.")


def test_one_seed_gives_no_interval_and_says_so() -> None:
    first, second = result_set(), result_set("two", change=lambda *_: 1e-4)
    one = [ResultSet(s.name, s.records[s.records["seed"] == 0], s.history) for s in (first, second)]

    found = compared(*one)

    assert found.verdicts["digits"].word == INCONCLUSIVE
    assert said(found, "no interval")
    assert "–" in found.shown["low"].tolist()


def test_stores_that_share_nothing_are_refused() -> None:
    with pytest.raises(
        RequestError, match="Expected cells that both stores have, found none: one has 15 cells"
    ):
        compared(result_set(), result_set("two", data="line"))


def test_what_is_written_is_escaped_and_whole() -> None:
    hostile = "<script>alert(1)</script>|`x`"
    found = compared(result_set(), result_set(hostile, change=lambda *_: 0.02))

    written = {name: content.decode() for name, content in files(found).items()}

    assert set(written) == {"compare.html", "compare.md", "cells.csv", "table.csv"}
    for name in ("compare.html", "compare.md"):
        assert "<script>" not in written[name]
        assert "<b>" not in written[name]
    assert written["compare.html"].startswith("<!doctype html>")
    assert "default-src 'none'" in written["compare.html"]
    assert written["cells.csv"].count("\n") == 16
    assert CAPTION in str(found)
    assert "&lt;b&gt;odd" in found._repr_html_()
