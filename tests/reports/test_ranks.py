"""Ranks against Demšar's published example, SciPy, scikit-posthocs and exact enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scikit_posthocs import posthoc_nemenyi_friedman  # type: ignore[import-untyped]
from scipy import stats  # type: ignore[import-untyped]

from recipebench.errors import RequestError
from recipebench.reports.statistics import families, ranks

# Demšar (2006), table 6: C4.5, C4.5+m, C4.5+cf, C4.5+m+cf on 14 data sets.
AUC = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.975, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)
VOTING = 12  # ranked 4, 1, 2, 3 in the paper, from more digits than are printed


@pytest.fixture
def published() -> np.ndarray:
    found = ranks.rank(AUC)
    found[VOTING] = [4, 1, 2, 3]
    return found


def test_published_ranks_and_statistics(published: np.ndarray) -> None:
    found = ranks.friedman(published)

    np.testing.assert_allclose(found.ranks, [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    assert found.chi2 == pytest.approx(9.2786, abs=5e-5)
    assert found.f == pytest.approx(3.6863, abs=5e-5)
    assert found.f_p == pytest.approx(stats.f.sf(found.f, 3, 39), abs=1e-12)
    assert found.chi2_p == pytest.approx(stats.chi2.sf(found.chi2, 3), abs=1e-12)


def test_the_printed_table_gives_other_numbers() -> None:
    printed = ranks.friedman(ranks.rank(AUC))

    assert printed.chi2 == pytest.approx(9.857, abs=5e-4)
    assert ranks.friedman_ties(AUC)[0] == pytest.approx(10.952, abs=5e-4)


def test_published_critical_differences(published: np.ndarray) -> None:
    usual, wide = ranks.critical_difference(published), ranks.critical_difference(published, 0.10)

    assert usual.difference == pytest.approx(1.25, abs=5e-3)
    assert wide.difference == pytest.approx(1.12, abs=5e-3)
    assert usual.groups == ((3, 1, 2, 0),)
    apart = published.mean(axis=0)[0] - published.mean(axis=0)
    assert (apart > wide.difference).tolist() == [False, True, False, True]
    assert wide.groups == ((3, 1, 2), (2, 0))


def test_published_p_values_are_those_before_holms_adjustment(published: np.ndarray) -> None:
    mean = published.mean(axis=0)
    z = (mean[0] - mean[[3, 1, 2]]) / np.sqrt(4 * 5 / (6 * 14))
    raw = 2 * stats.norm.sf(z)

    np.testing.assert_allclose(raw, [0.016, 0.019, 0.607], atol=1.5e-3)
    np.testing.assert_allclose(families.holm(raw), np.maximum.accumulate(raw * [3, 2, 1]), atol=1e-12)
    assert (families.holm(raw) < 0.05).tolist() == [True, True, False]


def test_nemenyi_is_that_of_scikit_posthocs_and_agrees_with_the_difference() -> None:
    scores = np.random.default_rng(0).normal(size=(12, 5)) + np.arange(5)
    placed = ranks.rank(scores)

    found = ranks.critical_difference(placed)

    theirs = posthoc_nemenyi_friedman(scores).to_numpy()
    np.testing.assert_allclose(ranks.nemenyi(placed), theirs, atol=1e-10)
    apart = np.abs(found.ranks[:, None] - found.ranks)
    assert ((apart > found.difference) == (ranks.nemenyi(placed) < 0.05)).all()


def test_friedman_without_ties_is_scipys() -> None:
    scores = np.random.default_rng(1).normal(size=(9, 4))

    found = ranks.friedman(ranks.rank(scores))

    theirs = stats.friedmanchisquare(*scores.T)
    assert (found.chi2, found.chi2_p) == pytest.approx((theirs.statistic, theirs.pvalue), abs=1e-10)


def test_blocks_that_all_agree_have_no_finite_f() -> None:
    found = ranks.friedman([[1.0, 2.0, 3.0]] * 4)

    assert (found.f, found.f_p) == (np.inf, 0.0)


def test_ranks_follow_the_direction_and_refuse_gaps() -> None:
    assert ranks.rank([[1.0, 2.0, 2.0]], "lower").tolist() == [[1.0, 2.5, 2.5]]
    with pytest.raises(RequestError, match="without gaps"):
        ranks.rank([[1.0, np.nan]])
    with pytest.raises(RequestError, match="Unknown direction 'up'"):
        ranks.rank([[1.0]], "up")
    with pytest.raises(RequestError, match="at least 2 blocks"):
        ranks.friedman([[1.0, 2.0, 3.0]])


@pytest.mark.parametrize("n", [3, 6, 8])
def test_signed_ranks_and_sign_flips_equal_exact_enumeration(n: int) -> None:
    values = np.random.default_rng(n).normal(0.5, 1.0, size=n)
    signs = np.array(list(product([-1, 1], repeat=n)))

    by_sum = np.mean(np.abs(signs @ values) >= abs(values.sum()) - 1e-12)
    sizes = stats.rankdata(np.abs(values))
    by_rank = np.mean(np.abs(signs @ sizes) >= abs(np.sign(values) @ sizes) - 1e-12)

    assert ranks.sign_flip(values, np.random.default_rng(0)).p == pytest.approx(by_sum, abs=1e-10)
    assert ranks.wilcoxon(values).p == pytest.approx(by_rank, abs=1e-10)


@pytest.mark.parametrize("n", [3, 5])
def test_few_blocks_cannot_reject_and_say_so(n: int) -> None:
    for found in (
        ranks.wilcoxon(np.arange(1.0, n + 1)),
        ranks.sign_flip(np.ones(n), np.random.default_rng(0)),
    ):
        assert found.p == found.smallest == 2 / 2**n > 0.05
        assert f"{n} blocks: no p-value below" in found.warning
    assert ranks.wilcoxon(np.arange(1.0, 7.0)).warning == ""


def test_holm_raises_the_smallest_p_value() -> None:
    tests = [ranks.wilcoxon(np.arange(1.0, 7.0))] * 3

    found = ranks.with_holm(tests)[0]

    assert found.p == pytest.approx(3 * 2 / 64)
    assert found.smallest == pytest.approx(3 * 2 / 64)
    assert "3 comparisons" in found.warning


def test_drawn_sign_flips_repeat_with_the_generator_and_near_the_enumeration() -> None:
    values = np.random.default_rng(0).normal(0.4, 1.0, size=20)

    one = ranks.sign_flip(values, np.random.default_rng(1), 20_000)
    two = ranks.sign_flip(values, np.random.default_rng(1), 20_000)

    assert one == two
    exact = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(2)
    )
    assert one.p == pytest.approx(exact.pvalue, abs=0.015)


def test_no_difference_has_a_p_value_of_one() -> None:
    assert ranks.wilcoxon([0.0, 0.0]).p == 1.0
    with pytest.raises(RequestError, match="without gaps"):
        ranks.wilcoxon([1.0, np.nan])
