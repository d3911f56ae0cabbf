"""The targets of validity in short: errors of families, coverage, equal levels, planted effects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from docs_scripts import load
from scipy import stats  # type: ignore[import-untyped]

from recipebench.reports.claims import Claim, judge
from recipebench.reports.statistics import inference

ROOT = Path(__file__).resolve().parent.parent.parent
SIMULATIONS = 3_000


validity = load("validity")


def more_often(hits: int, of: int, share: float) -> float:
    """p-value of a probability of at most `share`."""
    return float(stats.binom.sf(hits - 1, of, share))


@pytest.mark.parametrize("seeds", validity.SEEDS)
@pytest.mark.parametrize(
    ("errors", "share", "divergence"),
    [
        ("normal", 0.2, 0.0),
        ("normal", 0.0, 0.2),
        ("t3", 0.5, 0.0),
        ("skewed", 0.5, 0.05),
        ("skewed", 0.0, 0.2),
    ],
)
def test_a_family_of_equal_levels_errs_in_one_of_twenty(
    seeds: int, errors: str, share: float, divergence: float
) -> None:
    setting = validity.Setting(seeds, errors, share, divergence)

    rates = validity.family_errors(
        setting, SIMULATIONS, np.random.default_rng(seeds), levels=(2, 3, 6), data_sets=(1, 3, 8)
    )

    for where, rate in rates.items():
        assert more_often(rate.hits, rate.of, 0.05) > 1e-4, (where, rate.value)


@pytest.mark.parametrize("ratio", [3.0, 10.0, 30.0])
@pytest.mark.parametrize("data_sets", [4, 8])
def test_a_family_errs_seldom_where_one_data_set_is_much_wider(data_sets: int, ratio: float) -> None:
    setting = validity.Setting(3, spreads=(*(1.0,) * (data_sets - 1), ratio))

    rates = validity.family_errors(
        setting, SIMULATIONS, np.random.default_rng(0), levels=(2, 3, 6), data_sets=(data_sets,)
    )

    for where, rate in rates.items():
        assert more_often(rate.hits, rate.of, 0.06) > 1e-4, (where, rate.value)


def test_without_the_rule_for_spreads_a_family_would_err_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "SPREADS_DIFFER", 1e-12)
    monkeypatch.setattr(inference, "family_freedom", lambda x: np.full(x.shape[:2], np.nan))
    setting = validity.Setting(3, spreads=(1.0,) * 7 + (10.0,))

    rate = validity.family_errors(
        setting, SIMULATIONS, np.random.default_rng(0), levels=(6,), data_sets=(8,)
    )[8, 6]

    assert rate.value > 0.15


@pytest.mark.parametrize("kind", ["normal", "t3", "log loss", "logit"])
@pytest.mark.parametrize(("seeds", "data_sets"), [(3, 1), (5, 1), (10, 1), (5, 4), (10, 4)])
def test_intervals_cover(kind: str, seeds: int, data_sets: int) -> None:
    rate = validity.coverage(kind, seeds, data_sets, 20_000, np.random.default_rng(seeds))

    noise = 3.5 * np.sqrt(0.95 * 0.05 / 20_000)
    assert rate.value > 0.94 - noise
    if kind == "normal":
        assert rate.value < 0.96 + noise


def test_other_degrees_of_freedom_cover_too_seldom_where_one_data_set_is_wider() -> None:
    wide = (1.0, 1.0, 1.0, 5.0)

    rates = {
        rule: validity.coverage_by(rule, 3, wide, 20_000, np.random.default_rng(0)).value
        for rule in validity.RULES
    }

    assert rates["Satterthwaite alone"] < 0.94 < rates["Welch 1947"] < rates["reported"] < 0.96


def test_one_level_under_two_names_gets_a_verdict_in_one_of_twenty() -> None:
    draw = np.random.default_rng(0)
    decided = 0
    for _ in range(300):
        one, two = draw.normal(size=(2, 3, 5, 4))  # disjoint seeds: the arms share nothing
        claim = Claim(name="A > A", blocks=inference.block_differences(one, two), smallest=0.0)
        decided += judge([claim])[0].word != "inconclusive"

    assert more_often(decided, 300, 0.05) > 0.001


def test_what_is_simulated_is_what_is_judged() -> None:
    setting = validity.Setting(5, "t3")
    means = validity.equal_levels(setting, 60, 3, 1, np.random.default_rng(3)) * 1.0
    means[:, 0] += np.linspace(0, 3, 60)[:, None, None]

    judged = [
        any(
            v.word != "inconclusive"
            for v in judge(
                [
                    Claim(
                        name="pair",
                        blocks=inference.block_differences(m[i][..., None], m[j][..., None]),
                        smallest=0.0,
                    )
                    for i, j in ((0, 1), (0, 2), (1, 2))
                ]
            )
        )
        for m in means
    ]

    assert validity.wrong(means).tolist() == judged
    assert 10 < sum(judged) < 55


@pytest.mark.parametrize(("number", "least"), [(1, 0.95), (5, 0.87), (10, 0.73)])
def test_planted_effects_are_found_as_often_as_power_says(number: int, least: float) -> None:
    rate = validity.found(3.0, 5, number, 20_000, np.random.default_rng(number))

    told = float(inference.power(3.0, inference.planned([1.0], 5), 1 - 0.05 / number))
    assert rate.value > least
    assert rate.value == pytest.approx(told, abs=0.012)


@pytest.mark.parametrize("seeds", validity.SEEDS)
def test_equivalence_errs_in_one_of_twenty_at_the_margin(seeds: int) -> None:
    rate = validity.equivalence_errors(seeds, 3.0, 20_000, np.random.default_rng(seeds))

    assert more_often(rate.hits, rate.of, 0.05) > 1e-4


def test_cells_taken_for_independent_err_often() -> None:
    rate = validity.cells_as_blocks(5, 0.05, 2_000, np.random.default_rng(0))

    assert rate.value == pytest.approx(0.32, abs=0.04)


def test_the_bound_is_clopper_and_pearsons() -> None:
    theirs = stats.binomtest(50, 1000).proportion_ci(0.98, method="exact").high

    assert validity.Rate(50, 1000).bound == pytest.approx(theirs, rel=1e-9)


def test_the_page_is_written_from_what_was_simulated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name, value in {"SEEDS": (3,), "ERRORS": ("normal",), "SHARES": (0.0,), "DIVERGENCE": (0.0,)}.items():
        monkeypatch.setattr(validity, name, value)
    monkeypatch.setattr(validity, "PAGE", tmp_path / "validity.md")

    assert validity.main(["--simulations", "40"]) == 1  # 40 simulations cannot bound an error by 5.5 %

    text = (tmp_path / "validity.md").read_text(encoding="utf-8")
    assert "40 simulations a setting, seed 0" in text
    assert text.count("\n## ") == 7
    assert "Setting(" in capsys.readouterr().err
