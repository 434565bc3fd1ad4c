"""Bootstrap intervals against enumerations of all resamples, binomial and normal distributions, and SciPy."""

import itertools
import tracemalloc

import numpy as np
import pytest
from scipy import stats
from vl_core import intervals
from vl_core.intervals import (
    Difference,
    Interval,
    bootstrap,
    bootstrap_all,
    paired_difference,
    resampled,
    student_interval,
)


def test_resampled_shares_have_the_binomial_distribution():
    """A resampled share of n zeros and ones is Binomial(n, share) / n, exactly."""
    sample = np.repeat([0.0, 1.0], [14, 6])
    counts = (20 * resampled(np.mean, sample, repetitions=40_000)).round().astype(int)
    expected = 40_000 * stats.binom.pmf(np.arange(14), 20, 0.3)
    observed = np.bincount(counts, minlength=21)
    chi2 = ((observed[:14] - expected) ** 2 / expected).sum()
    assert chi2 < stats.chi2.ppf(0.999, 13)
    found = bootstrap(np.mean, sample, repetitions=40_000, level=0.9)
    assert found == Interval(0.3, stats.binom.ppf(0.05, 20, 0.3) / 20, stats.binom.ppf(0.95, 20, 0.3) / 20)


def test_the_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap(np.mean, values, repetitions=8000)
    half = 1.959964 * values.std() / 20
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05 * half)


@pytest.mark.parametrize("paired", [False, True])
def test_intervals_are_those_of_scipy(paired):
    rng = np.random.default_rng(1)
    one = rng.normal(size=60)
    other = one + rng.normal(0.3, 0.2, size=60) if paired else rng.exponential(size=45)

    def ratio(a, b, axis=-1):
        return a.std(axis=axis) / b.std(axis=axis)

    ours = bootstrap(ratio, one, other, paired=paired, repetitions=20_000)
    theirs = stats.bootstrap(
        (one, other), ratio, paired=paired, n_resamples=20_000, method="percentile", vectorized=True, rng=2
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.estimate == ratio(one, other)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03 * width)


def test_strata_have_the_distribution_of_all_their_resamples():
    values, strata = np.array([0.0, 10.0, 1.0, 30.0, 5.0]), np.array([0, 1, 0, 1, 0])
    ones, tens = [0.0, 1.0, 5.0], [10.0, 30.0]
    exact = {}
    for drawn in itertools.product(*[ones] * 3, *[tens] * 2):
        key = round(sum(drawn), 9)
        exact[key] = exact.get(key, 0) + 1 / 108
    sums = resampled(np.sum, values, strata=strata, repetitions=30_000)
    assert set(sums) == set(exact)
    for key, probability in exact.items():
        assert (sums == key).mean() == pytest.approx(probability, abs=0.012)


def test_rows_of_a_stratum_keep_its_places():
    labels = np.array([2, 0, 2, 1, 0, 2])
    taken = []
    bootstrap(lambda rows: taken.append(rows) or 0.0, labels, strata=labels, repetitions=20)
    assert all((rows == labels).all() for rows in taken)


def test_groups_are_drawn_whole():
    """One image with one caption, another with three: a draw has both, or one of them twice."""
    values, groups = np.array([1.0, 0, 0, 0]), ["b", "a", "a", "a"]
    sizes = []
    means = resampled(lambda rows: sizes.append(len(rows)) or rows.mean(), values, groups=groups, repetitions=400)
    assert set(zip(sizes, means, strict=True)) == {(2, 1.0), (4, 0.25), (6, 0.0)}
    assert (means == 0.25).mean() == pytest.approx(0.5, abs=0.08)


def test_equal_groups_are_as_many_rows():
    values = np.random.default_rng(2).normal(size=50)
    repeated = bootstrap(np.mean, np.repeat(values, 7), groups=np.repeat(np.arange(50), 7))
    single = bootstrap(np.mean, values)
    assert (repeated.low, repeated.high) == pytest.approx((single.low, single.high), abs=1e-12)


def test_groups_stay_in_their_strata():
    groups, strata = np.array([0, 0, 1, 2, 2, 3]), np.array([0, 0, 0, 1, 1, 1])
    taken = []
    resampled(lambda rows: taken.append(rows) or 0.0, np.stack([groups, strata], 1), groups=groups, strata=strata)
    for rows in taken:
        pairs, counts = np.unique(rows, axis=0, return_counts=True)
        own = {int(group): count / (groups == group).sum() for (group, _), count in zip(pairs, counts, strict=True)}
        assert sum(own.get(group, 0) for group in (0, 1)) == 2
        assert sum(own.get(group, 0) for group in (2, 3)) == 2


@pytest.mark.parametrize("options", [{}, {"strata": np.arange(37) % 3}, {"paired": True}])
def test_draws_do_not_depend_on_how_many_are_held(options, monkeypatch):
    rng = np.random.default_rng(3)
    samples = [rng.normal(size=37), rng.normal(size=37)][: 1 if "strata" in options else 2]

    def total(*rows, axis):
        return sum((number + 1) * row.sum(axis) for number, row in enumerate(rows))

    whole = resampled(total, *samples, repetitions=50, seed=5, **options)
    np.testing.assert_array_equal(whole[:11], resampled(total, *samples, repetitions=11, seed=5, **options))
    monkeypatch.setattr(intervals, "_CELLS", 100)
    np.testing.assert_allclose(resampled(total, *samples, repetitions=50, seed=5, **options), whole, atol=1e-12)
    assert not np.allclose(resampled(total, *samples, repetitions=50, seed=6, **options), whole)


def test_statistics_share_their_draws():
    values = np.random.default_rng(4).normal(size=30)
    found = bootstrap_all({"mean": np.mean, "shifted": lambda rows: rows.mean() + 1}, values)
    assert found["mean"] == bootstrap(np.mean, values)
    for end in ("estimate", "low", "high"):
        assert getattr(found["shifted"], end) == pytest.approx(getattr(found["mean"], end) + 1)


def test_pairs_cancel_what_rows_have_in_common():
    rng = np.random.default_rng(5)
    hard = rng.normal(scale=10, size=80)
    first, second = hard + rng.normal(0.5, 1, 80), hard + rng.normal(0, 1, 80)
    found = paired_difference(first, second)
    assert found.estimate == pytest.approx((first - second).mean())
    assert (found.low, found.high) == pytest.approx(tuple(vars(bootstrap(np.mean, first - second)).values())[1:])
    apart = bootstrap(lambda a, b: a.mean() - b.mean(), first, second)
    assert found.high - found.low < 0.3 * (apart.high - apart.low)
    assert found.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=0.02)


def test_the_paired_test_holds_its_level():
    rng = np.random.default_rng(6)
    p = [paired_difference(rng.normal(size=40), rng.normal(size=40), repetitions=199).p_value for _ in range(300)]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.1
    assert paired_difference([1.0, 2.0], [1.0, 2.0]) == Difference(0, 0, 0, 1)
    assert paired_difference([1.0, 2.0], [2.0, 9.0], max, repetitions=199).estimate == -7


def test_students_interval_is_that_of_scipy():
    values = np.random.default_rng(8).normal(3, 2, 5)
    found = student_interval(values, level=0.9)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (found.estimate, found.low, found.high) == pytest.approx((values.mean(), *expected), rel=1e-12)
    assert student_interval([2.0, 2.0]) == Interval(2.0, 2.0, 2.0)


def test_memory_does_not_grow_with_the_repetitions():
    values = np.random.default_rng(7).normal(size=5000)
    peaks = []
    for repetitions in (100, 1000):
        tracemalloc.start()
        bootstrap(np.mean, values, repetitions=repetitions)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < 20e6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap(np.mean), "samples must be at least one, got none"),
        (lambda: bootstrap(np.mean, []), r"sample 0 must have at least one row, got shape \(0,\)"),
        (lambda: bootstrap(np.mean, 3.0), r"sample 0 must have at least one row, got shape \(\)"),
        (lambda: bootstrap(np.mean, [1.0], [np.nan]), "sample 1 must be finite, got nan; leave out what failed"),
        (lambda: bootstrap(np.mean, [1.0], level=95), "level must lie between 0 and 1, got 95; 95 % is 0.95"),
        (lambda: resampled(np.mean, [1.0], repetitions=0), "repetitions must be at least 1, got 0"),
        (lambda: bootstrap(np.mean, [1.0], seed=-1), r"seed must be from 0 to 2\*\*64 - 1, got -1"),
        (lambda: bootstrap(np.mean, [1.0], groups=[1, 2]), r"groups must be one label for each of 1 rows, got shape"),
        (lambda: bootstrap(np.mean, [1.0], strata=[[1]]), r"strata must be one label for each of 1 rows, got shape"),
        (lambda: bootstrap(np.mean, [1.0], [1.0], strata=[1]), "groups and strata must go with one sample or paired"),
        (lambda: bootstrap(np.mean, [1.0, 2], groups=[0, 0], strata=[0, 1]), "groups must each lie in one stratum"),
        (lambda: paired_difference([1.0, 2.0], [1.0]), r"paired samples must have the same number of rows, got \[1, 2"),
        (lambda: bootstrap(np.mean, np.ones((3, 2))), r"statistic must give one number for each of 1000 resamples"),
        (lambda: student_interval([1.0]), r"values must be a row of at least two, got shape \(1,\)"),
        (lambda: student_interval([1.0, 2.0], level=1), "level must lie between 0 and 1, got 1"),
        (lambda: bootstrap_all({"odds": lambda x: 1 / x.std() if x.std() else np.inf}, [0.0, 1]), "odds must be"),
    ],
)
def test_what_cannot_be_resampled_is_refused(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
