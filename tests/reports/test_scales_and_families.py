"""Scales there and back, adjusted p-values by hand, effect sizes by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats  # type: ignore[import-untyped]
from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]

from recipebench.errors import RequestError
from recipebench.reports.statistics import effects, families, scales


@pytest.mark.parametrize("scale", sorted(scales.SCALES))
def test_scales_invert_and_larger_is_better(scale: str) -> None:
    scores = np.array([0.1, 0.5, 0.9])

    values = scales.transform(scores, scale)

    np.testing.assert_allclose(scales.SCALES[scale].inverse(values), scores, rtol=1e-12)
    better = -1 if scale in ("lower", "log_loss") else 1
    assert (np.sign(np.diff(values)) == better).all()


def test_logit_is_scipys_and_half_an_item_keeps_it_finite() -> None:
    np.testing.assert_allclose(scales.transform([0.2, 0.7], "logit_accuracy"), special.logit([0.2, 0.7]))
    full = scales.transform(1.0, "logit_accuracy", items=100)
    assert float(full) == pytest.approx(np.log(100.5 / 0.5))
    assert float(scales.transform(1.0, "log_error", items=100)) == pytest.approx(np.log(200))


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(RequestError, match="number of test items"):
        scales.transform([0.5, 1.0], "logit_accuracy")
    with pytest.raises(RequestError, match="Unknown scale 'logit'"):
        scales.transform([0.5], "logit")


def test_gaps_stay_gaps() -> None:
    assert np.isnan(scales.transform([np.nan], "log_loss")).all()


def test_differences_are_shown_as_ratios() -> None:
    apart = scales.transform(0.98, "log_error") - scales.transform(0.96, "log_error")
    assert float(scales.back(apart, "log_error")) == pytest.approx(0.5)
    assert float(scales.in_units(apart, 0.96, "log_error")) == pytest.approx(0.02)
    apart = scales.transform(0.2, "log_loss") - scales.transform(0.1, "log_loss")
    assert float(scales.back(apart, "log_loss")) == pytest.approx(2.0)
    apart = scales.transform(0.8, "logit_accuracy") - scales.transform(0.5, "logit_accuracy")
    assert float(scales.back(apart, "logit_accuracy")) == pytest.approx(4.0)


@pytest.mark.parametrize("scale", sorted(scales.SCALES))
def test_the_smallest_effect_is_an_improvement_on_every_scale(scale: str) -> None:
    found = scales.on_scale(0.01, 0.9, scale)

    assert found > 0
    assert abs(float(scales.in_units(found, 0.9, scale))) == pytest.approx(0.01)


def test_holm_and_benjamini_hochberg_by_hand() -> None:
    raw = [0.01, 0.02, 0.03, 0.5]

    np.testing.assert_allclose(families.holm(raw), [0.04, 0.06, 0.06, 0.5], atol=1e-12)
    np.testing.assert_allclose(families.benjamini_hochberg(raw), [0.04, 0.04, 0.04, 0.5], atol=1e-12)
    theirs = multipletests(raw, method="fdr_bh")[1]
    np.testing.assert_allclose(families.benjamini_hochberg(raw), theirs, atol=1e-10)


def test_a_p_value_that_is_lacking_counts() -> None:
    found = families.holm([0.01, np.nan])

    np.testing.assert_array_equal(found, [0.02, np.nan])
    assert families.holm([]).tolist() == []


def test_bonferroni_level() -> None:
    assert families.bonferroni(15) == pytest.approx(1 - 0.05 / 15)
    with pytest.raises(RequestError, match="at least 1"):
        families.bonferroni(0)


def test_effect_sizes_by_hand() -> None:
    found = effects.effects([[1.0, 3.0], [-1.0, -3.0], [4.0, 2.0]])

    assert found.superiority == pytest.approx(4 / 6)
    assert (found.agreeing, found.data_sets, found.flips) == (2, 3, True)
    means, between, error = [2, -2, 3], 7.0, 1.0
    apart, common = between - error, max(np.mean(means) ** 2 - between / 3, 0)
    assert found.interaction == pytest.approx(apart / (apart + common))


def test_interaction_share_recovers_planted_variances() -> None:
    draw = np.random.default_rng(0)
    rows = 1.0 + draw.normal(0, 1.0, size=(400, 1)) + draw.normal(0, 0.5, size=(400, 4))

    assert effects.interaction_share(rows) == pytest.approx(0.5, abs=0.05)
    assert np.isnan(effects.interaction_share([[1.0, 2.0]]))


def test_pairing_gains_what_the_draws_share() -> None:
    draw = np.random.default_rng(0)
    common = draw.normal(size=(2, 4000))
    one, two = common + draw.normal(size=(2, 4000)), common + draw.normal(size=(2, 4000))

    assert effects.pairing_gain(one, two + np.array([[5.0], [0.0]])) == pytest.approx(0.5, abs=0.04)
    assert np.isnan(effects.pairing_gain([[1.0, 1.0]], [[1.0, 2.0]]))


def test_published_interquartile_means_and_improvement() -> None:
    x, y = [[1, 2], [2, 2], [1, 1], [2, 1]], [[1, 1], [2, 2], [3, 3]]

    assert effects.interquartile_mean(x) == 1.5
    assert effects.interquartile_mean(y) == 2.0
    assert effects.probability_of_improvement(x, y) == pytest.approx(1 / 3)


def test_improvement_is_mann_and_whitneys_statistic() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(7, 1)), draw.normal(size=(5, 1))

    u = stats.mannwhitneyu(x[:, 0], y[:, 0]).statistic
    assert effects.probability_of_improvement(x, y) == pytest.approx(u / 35, abs=1e-10)
    with pytest.raises(RequestError, match="runs, tasks"):
        effects.probability_of_improvement(x, np.zeros((3, 2)))


def test_the_error_of_the_test_set_with_one_seed_is_mcnemars() -> None:
    first = np.array([1] * 90 + [0] * 10)
    second = np.array([1] * 80 + [0] * 15 + [1] * 5)

    found = effects.difference_error(first, second)

    only_first, only_second, n = 10, 5, 100
    variance = (only_first + only_second - (only_first - only_second) ** 2 / n) / (n - 1)
    assert found == pytest.approx(np.sqrt(variance / n))
    assert float(effects.accuracy_error(0.5, 100)) == 0.05


def test_the_error_of_the_test_set_does_not_shrink_with_seeds() -> None:
    right = np.random.default_rng(0).random((1, 500)) < 0.9

    many = effects.difference_error(np.repeat(right, 50, axis=0), np.ones((50, 500)))

    assert many == pytest.approx(effects.difference_error(right, np.ones((1, 500))))
    with pytest.raises(RequestError, match="same test set"):
        effects.difference_error(right, np.ones((1, 499)))
