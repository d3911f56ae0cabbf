"""Claims from records to verdicts: scales, blocks, gaps, divergence, the best recipe, equal levels."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats  # type: ignore[import-untyped]

from recipebench.errors import RequestError
from recipebench.levels import Choice, Tuned
from recipebench.reports import frames, planning
from recipebench.reports.claims import Claim, judge
from recipebench.reports.registered import Judged, judged, table
from recipebench.reports.statistics.inference import block_differences
from recipebench.reports.suite_info import Endpoint, RegisteredClaim, SuiteInfo

ACCURACY = Endpoint(column="test_accuracy_at_best", direction="higher", chance=0.1)
ERROR = Endpoint(column="test_mse_at_best", direction="lower", chance=1.0)
A, B, X, Y = (Choice(name, {}) for name in ("a", "b", "x", "y"))
DIGITS, MNIST = (Choice(name, {}) for name in ("digits", "mnist"))


def claim(**changes: Any) -> RegisteredClaim:
    given: dict[str, Any] = {"name": "a > b", "axis": "level", "first": (A,), "second": (B,)}
    return RegisteredClaim(**{**given, "data": (DIGITS, MNIST), **changes})


def suite(*claims: RegisteredClaim, seeds: int = 3, **changes: Any) -> SuiteInfo:
    given: dict[str, Any] = {
        "name": "s",
        "description": "",
        "endpoints": {"digits": ACCURACY, "mnist": ACCURACY},
        "factors": {"level": (A, B), "other": (X, Y)},
        "seeds": tuple(range(seeds)),
        "planned": 0,
        "protocol": "",
        "smallest_effect": {"digits": 0.01, "mnist": 0.002},
        "claims": claims,
    }
    return SuiteInfo(**{**given, **changes})


def rows_of(scores: Mapping[tuple[Any, ...], float | str], column: str = ACCURACY.column) -> pd.DataFrame:
    """Turn (data, level, other, seed) -> score, `diverged` or `failed` into records."""
    rows = []
    for (data, level, other, seed), score in scores.items():
        number = score if isinstance(score, float) else None
        row = {"cell_id": hashlib.sha256(repr((data, level, other, seed)).encode()).hexdigest()[:16]}
        row |= {"data": data, "model": "mlp", "level": level, "other": other, "seed": seed, "epochs": 1}
        row |= {"status": "ok" if number is not None else score, "reason": None, column: number}
        rows.append(row)
    return pd.DataFrame(rows)


def scores_of(values: Any, data: tuple[str, ...] = ("digits", "mnist")) -> dict[tuple[Any, ...], float]:
    """Name the scores of an array (data sets, levels, others, seeds)."""
    array = np.asarray(values, dtype=float)
    axes = (data, ("a", "b"), ("x", "y"), range(array.shape[-1]))
    return {
        key: float(array[place])
        for key, place in zip(itertools.product(*axes), np.ndindex(array.shape), strict=True)
    }


def verdicts(records: pd.DataFrame, info: SuiteInfo) -> list[Judged]:
    info = replace(info, planned=info.planned or len(records))
    cells = frames.cells(records, info)
    return judged(cells, info, frames.levels_of(records, cells, info))


def planted(effect: float, seed: int = 0, seeds: int = 3, noise: float = 0.004) -> np.ndarray[Any, Any]:
    """Scores around .95 on two data sets, level a better by `effect`."""
    values = 0.95 + noise * np.random.default_rng(seed).standard_normal((2, 2, 2, seeds))
    values[:, 0] += effect
    return values


def test_a_verdict_equals_the_engines_on_hand_made_blocks() -> None:
    values = planted(0.03)

    (found,) = verdicts(rows_of(scores_of(values)), suite(claim()))

    blocks = block_differences(*values.transpose(1, 0, 3, 2))
    units = np.array([[0.01], [0.002]])
    relative = blocks._replace(
        differences=blocks.differences / units, without_diverged=blocks.differences / units
    )
    (expected,) = judge([Claim(name="a > b", blocks=relative, smallest=1.0)])
    assert (found.verdict.word, found.verdict.mean) == (expected.word, pytest.approx(expected.mean))
    assert (found.verdict.low, found.verdict.high) == (
        pytest.approx(expected.low),
        pytest.approx(expected.high),
    )
    assert found.relative
    digits = found.on[0]
    interval = stats.ttest_1samp(blocks.differences[0], 0.0).confidence_interval(0.95)
    assert (digits.low, digits.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert (digits.blocks, digits.superiority, digits.scale) == (3, 1.0, "raw")


def test_a_reference_puts_accuracies_on_the_scale_of_errors() -> None:
    info = suite(claim(data=(DIGITS,)), reference={"digits": 0.95}, items={"digits": 400})
    values = planted(0.02, noise=0.001)

    (found,) = verdicts(rows_of(scores_of(values)), info)

    errors = 1 - values[0] + 0.5 / 400
    ratio = np.exp(np.log(errors[0] / errors[1]).mean(axis=0).mean())
    unit = np.log(0.05 / 0.04)
    (digits,) = found.on
    assert digits.scale == "log_error"
    assert digits.unit == pytest.approx(unit)
    assert digits.ratio == pytest.approx(ratio)
    assert found.verdict.mean == pytest.approx(-np.log(ratio) / unit)
    assert digits.ratio_low < digits.ratio < digits.ratio_high
    share = values[0][1].mean()
    assert digits.test_error == pytest.approx(np.sqrt(share * (1 - share) / 400))


def test_losses_are_compared_by_their_ratio_and_less_is_better() -> None:
    values = 0.1 + 0.001 * np.random.default_rng(0).standard_normal((2, 2, 2, 3))
    values[:, 0] -= 0.02
    info = suite(claim(), endpoints={"digits": ERROR, "mnist": ERROR})
    records = rows_of(scores_of(values), ERROR.column)

    (raw,) = verdicts(records, info)
    (log,) = verdicts(records, replace(info, reference={"digits": 0.1, "mnist": 0.1}))

    assert (raw.on[0].scale, log.on[0].scale) == ("lower", "log_loss")
    assert raw.on[0].mean == log.on[0].mean == pytest.approx(0.02, abs=0.002)
    assert np.isnan(raw.on[0].ratio)
    assert log.on[0].ratio == pytest.approx(0.8, abs=0.02)
    assert log.on[0].unit == pytest.approx(np.log(0.1 / 0.09))
    records.loc[0, ERROR.column] = 0.0  # no logarithm
    (gappy,) = verdicts(records, replace(info, reference={"digits": 0.1, "mnist": 0.1}))
    assert gappy.verdict.reasons[0] == "Gaps: 1 of 12 pairs have no score."


def test_gaps_and_what_is_not_recorded_block_a_verdict() -> None:
    scores: dict[Any, Any] = scores_of(planted(0.05))
    assert verdicts(rows_of(scores), suite(claim()))[0].verdict.word == "supported"

    failed = rows_of({**scores, ("digits", "a", "x", 0): "failed"})
    absent = rows_of({key: value for key, value in scores.items() if key != ("digits", "a", "x", 0)})

    (first,), (second,) = verdicts(failed, suite(claim())), verdicts(absent, suite(claim(), planned=24))
    assert first.verdict.word == second.verdict.word == "inconclusive"
    assert first.verdict.reasons == ("Gaps: 1 of 12 pairs have no score.",)
    assert second.verdict.reasons == ("Gaps: 1 of 12 pairs have no score.",)
    assert second.unpaired == 1


def test_diverged_cells_count_at_chance_and_take_away_a_verdict_that_hangs_on_them() -> None:
    values = planted(0.0, seeds=5, noise=0.0005)
    scores: dict[Any, Any] = scores_of(values)
    lost = {key: "diverged" for key in scores if key[1:3] == ("b", "y")}

    (found,) = verdicts(rows_of(scores | lost), suite(claim(), seeds=5))

    assert found.on[0].mean == pytest.approx(0.425, abs=0.01)
    assert found.verdict.word == "inconclusive"
    assert "Divergence: without the 10 pairs of which a cell diverged" in found.verdict.reasons[0]
    assert found.verdict.claim.blocks.diverged == 10


def test_a_data_set_that_was_left_out_of_the_plan_blocks_a_verdict_about_it() -> None:
    scores = {key: value for key, value in scores_of(planted(0.05)).items() if key[0] == "digits"}
    info = suite(claim(), claim(name="alone", data=(DIGITS,)), endpoints={"digits": ACCURACY})

    both, alone = verdicts(rows_of(scores), info)

    assert both.verdict.reasons == ("A data set has no block.",)
    assert both.on[1].blocks == 0
    assert alone.verdict.word == "supported"
    assert alone.verdict.level == 0.975


def test_a_claim_is_confined_to_where_and_every_side_to_its_level() -> None:
    scores: dict[Any, Any] = scores_of(planted(0.0))
    scores |= {key: value + 0.04 for key, value in scores.items() if key[1:3] == ("a", "y")}
    where = {"other": (Y,)}

    both, y, batch = verdicts(
        rows_of(scores),
        suite(claim(), claim(name="y", where=where), claim(name="same", where={"batch_size": (32,)})),
    )

    assert both.on[0].mean == pytest.approx(0.02, abs=0.006)
    assert y.on[0].mean == pytest.approx(0.04, abs=0.006)
    assert batch.on[0].mean == both.on[0].mean  # the same everywhere, so not a column of the cells


def test_values_of_the_protocol_and_hyper_parameters_are_levels_too() -> None:
    rows = []
    values = itertools.product(("sgd", "adam"), (0.1, 0.01), (32, 128), range(3))
    for optimizer, rate, batch, seed in values:
        score = 0.8 + 0.1 * (rate == 0.1) + 0.02 * (optimizer == "adam") + 0.001 * seed * (batch == 32)
        row = {"cell_id": f"{optimizer}{rate}{batch}{seed}", "data": "digits", "model": "mlp", "epochs": 1}
        row |= {"optimizer": optimizer, "optimizer.lr": rate, "batch_size": batch, "seed": seed}
        rows.append(row | {"status": "ok", "reason": None, ACCURACY.column: score})
    choices = {(name, lr): Choice(name, {"lr": lr}) for name in ("sgd", "adam") for lr in (0.1, 0.01)}
    high, low = (tuple(c for c in choices.values() if c.parameters["lr"] == lr) for lr in (0.1, 0.01))
    rates = claim(name="rate", axis="optimizer.lr", first=high, second=low, data=(DIGITS,))
    sizes = claim(name="batch", axis="batch_size", first=(32,), second=(128,), data=(DIGITS,))
    info = suite(rates, sizes, factors={"optimizer": tuple(choices.values())})

    of_rates, of_sizes = verdicts(pd.DataFrame(rows), info)

    assert of_rates.on[0].mean == pytest.approx(0.1)
    assert (of_rates.verdict.claim.blocks.pairs, of_rates.unpaired) == (12, 0)
    assert of_sizes.on[0].mean == pytest.approx(0.001)


def test_hostile_names_are_told_and_judged_like_others() -> None:
    names = ("</script><b>", "a > b; drop [x](y) | $\\", "\N{RIGHT-TO-LEFT OVERRIDE}{{7*7}}")
    first, second, other = (Choice(name, {}) for name in names)
    scores = {
        (data, {"a": names[0], "b": names[1]}[level], names[2] if o == "x" else "y", seed): value
        for (data, level, o, seed), value in scores_of(planted(0.05)).items()
    }
    info = suite(
        claim(name=names[1], first=(first,), second=(second,), where={"other": (other,)}),
        factors={"level": (first, second), "other": (other, Y)},
    )

    (found,) = verdicts(rows_of(scores), info)

    assert found.verdict.word == "supported"
    assert table([found])["claim"].tolist() == [names[1]] * 2


def tuned_claim(made: Any, **changes: Any) -> SuiteInfo:
    sgd, adam = (level for level in made.suite.factors["optimizer"] if isinstance(level, Tuned))
    given = {"name": "adam > sgd", "axis": "optimizer", "first": (adam,), "second": (sgd,), "of": "best"}
    smallest = {"digits": 0.001, "mnist": 0.001}
    return replace(made.suite, claims=(claim(**given, **changes),), smallest_effect=smallest)


def test_the_best_recipe_within_a_level_is_the_tuning_seeds_choice(make_tuned: Any) -> None:
    made = make_tuned(optima={"sgd": 0.1, "adam": 0.002})
    records = made.records.copy()
    report, sigmoid = records["role"] == "report", records["activation"] == "sigmoid"
    records.loc[report & sigmoid, ["validation_accuracy_at_best", "test_accuracy_at_best"]] = 0.99
    info = tuned_claim(made)

    (found,) = verdicts(records, info)

    assert [(each.first, each.second) for each in found.on] == [("relu", "relu")] * 2
    best = records[report & (records["activation"] == "relu") & (records["optimizer.tuned"] == "lr")]
    mean = best.groupby(["data", "optimizer"])["test_accuracy_at_best"].mean()
    assert found.on[0].mean == pytest.approx(mean["digits", "adam"] - mean["digits", "sgd"])
    assert found.verdict.claim.blocks.pairs == 2 * 3
    average = replace(info, claims=(replace(info.claims[0], of="average"),))
    assert verdicts(records, average)[0].verdict.claim.blocks.pairs == 2 * 2 * 3


def test_a_search_that_is_not_finished_leaves_the_best_recipe_open(make_tuned: Any) -> None:
    made = make_tuned(unfinished=1)

    (found,) = verdicts(made.records, tuned_claim(made))

    assert found.verdict.word == "inconclusive"
    assert found.verdict.reasons == ("Gaps: 3 of 6 pairs have no score.", "A data set has no block.")


def test_tuned_levels_are_told_from_default_ones_of_the_same_name(tuned: Any) -> None:
    plain, best = tuned.suite.factors["optimizer"][:2]
    claims = claim(name="tuned > default", axis="optimizer", first=(best,), second=(plain,))
    info = replace(tuned.suite, claims=(claims,), smallest_effect={"digits": 0.01, "mnist": 0.01})

    (found,) = verdicts(tuned.records, info)

    assert found.on[0].mean == pytest.approx(0.2, abs=0.01)


def test_power_is_told_before_a_run_and_says_where_the_spread_comes_from() -> None:
    values = planted(0.0, seeds=5)
    scores: dict[Any, Any] = scores_of(values)
    records = rows_of(scores)
    info = suite(claim(), claim(name="new", scope="new"), seeds=5, planned=len(records))
    untrained = records.assign(status="missing", **{ACCURACY.column: np.nan})

    def told(frame: pd.DataFrame) -> list[planning.Outlook]:
        cells = frames.cells(frame, info)
        return planning.outlook(cells, info, frames.levels_of(frame, cells, info))

    before, after = told(untrained), told(records)

    t = stats.t.ppf(1 - 0.025 / 2, 8)
    of = 1 / np.sqrt(2 / 5 / 4)  # two data sets, spread 1
    assert before[0].power == pytest.approx(stats.nct.sf(t, 8, of) + stats.nct.cdf(-t, 8, of), abs=1e-9)
    assert before[0].basis == "assumed: blocks spread by 1 smallest effect"
    assert after[0].basis == "spread of 10 blocks in the store"
    assert after[0].power < before[0].power
    assert np.isnan(before[1].power)
    lines = planning.sentences(before)
    assert lines[0].endswith("(adjusted 97.5 % intervals, 5 seeds a data set):")
    assert lines[2] == "  not known  new (it depends on how new data sets differ)"
    assert planning.sentences(planning.outlook(frames.cells(records, suite(planned=40)), suite(), {})) == []


def test_a_claim_without_sides_or_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(RequestError, match="expected two sides and data, got nothing for one of them"):
        claim(first=())
    with pytest.raises(RequestError, match=r"Unknown of 'bets'.*Did you mean 'best'"):
        claim(of="bets")


def many(rng: np.random.Generator, effect: float, groups: int, seeds: int, apart: int) -> pd.DataFrame:
    """Records of `groups` factor-like data sets, levels a and b; seeds of b begin at `apart`."""
    names = [f"d{i}" for i in range(groups)]
    parts = []
    for level, other in itertools.product(("a", "b"), ("x", "y")):
        shift = apart if level == "b" else 0
        frame = pd.DataFrame(itertools.product(names, range(seeds)), columns=["data", "seed"])
        frame["drawn"] = frame["seed"] + shift
        frame[ACCURACY.column] = 0.9 + effect * (level == "a") + 0.01 * rng.standard_normal(len(frame))
        parts.append(frame.assign(level=level, other=other))
    found = pd.concat(parts, ignore_index=True).assign(model="mlp", status="ok", reason=None, epochs=1)
    return found.assign(cell_id=[f"{i:016x}" for i in range(len(found))])


def families_of_one(records: pd.DataFrame, seeds: int) -> list[Judged]:
    """Judge a > b on every data set as a family of its own, with 0 as the smallest effect."""
    data = list(dict.fromkeys(records["data"]))
    info = suite(
        *(claim(name=name, data=(Choice(name, {}),)) for name in data),
        seeds=seeds,
        endpoints=dict.fromkeys(data, ACCURACY),
        smallest_effect=dict.fromkeys(data, 0.0),
        planned=len(records),
    )
    cells = frames.cells(records, info)
    known, found = frames.levels_of(records, cells, info), []
    for one in info.claims:
        here = cells[cells["data"] == one.name]
        found += judged(here, replace(info, claims=(one,), planned=len(here)), known)
    assert all(each.on[0].blocks == seeds and each.verdict.level == 0.95 for each in found)
    return found


def test_one_level_under_two_names_with_seeds_of_their_own_is_told_apart_in_one_of_twenty() -> None:
    """An A/A run from records to verdicts: what b is, is a again, trained on other seeds."""
    claims, seeds = 200, 5
    records = many(np.random.default_rng(3), 0.0, claims, seeds, apart=1000)
    drawn = [set(records.loc[records["level"] == level, "drawn"]) for level in ("a", "b")]
    assert not drawn[0] & drawn[1]

    words = [each.verdict.word for each in families_of_one(records, seeds)]

    wrong = sum(word != "inconclusive" for word in words)
    assert len(words) == claims
    assert stats.binom.sf(wrong - 1, claims, 0.05) > 0.001
    assert stats.binom.cdf(wrong, claims, 0.05) > 0.001  # and the test is not vacuous


def test_planted_effects_of_three_block_deviations_are_found_in_a_family_of_one() -> None:
    claims, seeds = 60, 5
    deviation = np.sqrt(2 * 0.01**2 / 2)  # of a block: two levels, each the mean of two cells
    records = many(np.random.default_rng(5), 3 * deviation, claims, seeds, apart=0)

    found = sum(each.verdict.word == "supported" for each in families_of_one(records, seeds))

    assert stats.binom.cdf(found, claims, 0.95) > 0.001
