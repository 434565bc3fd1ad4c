"""The evidence of paired differences against integrals, plain loops, and simulated nulls."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats
from vl_diffusion.search.evidence import BernsteinEvidence, StudentEvidence, anytime_half_widths


def student(differences: np.ndarray, before: np.ndarray | None = None, **settings) -> np.ndarray:
    before = np.empty((len(differences), 0)) if before is None else before
    evidence = StudentEvidence(before, **settings)
    evidence.add(differences)
    return evidence.log()


def marginal_ratio(d: np.ndarray, prior: float, population: float, *, folded: bool) -> float:
    """The t mixture by brute force: integrals over the effect size and the scale of the joint normal density."""
    n = len(d)
    covariance = np.eye(n) - np.ones((n, n)) / population
    precision, ones = np.linalg.inv(covariance), np.ones(n)
    a, b, c = (float(x) for x in (d @ precision @ d, ones @ precision @ d, ones @ precision @ ones))
    effects = (0, np.inf) if folded else (-np.inf, np.inf)

    def likelihood(scale: float, effect: float) -> float:
        # (d - scale * effect)' precision (d - scale * effect) / scale^2, times the Haar density 1 / scale.
        return math.exp(-(a / scale**2 - 2 * effect * b / scale + effect**2 * c) / 2) * scale ** (-n - 1)

    def over_effects(scale: float) -> float:
        prior_density = (1 + folded) / math.sqrt(2 * math.pi * prior)
        return integrate.quad(
            lambda e: likelihood(scale, e) * prior_density * math.exp(-(e**2) / (2 * prior)), *effects
        )[0]

    def over_scales(function) -> float:
        middle = math.sqrt(a / n)
        return sum(integrate.quad(function, *ends, epsrel=1e-6)[0] for ends in ((0, middle), (middle, np.inf)))

    return over_scales(over_effects) / over_scales(lambda scale: likelihood(scale, 0))


@pytest.mark.parametrize(("prior", "population"), [(1.0, None), (0.3, None), (1.0, 9)])
def test_student_evidence_is_the_integral_over_effects_and_scales(prior, population):
    d = np.random.default_rng(0).normal(0.8, 1, 5)
    n, m = len(d), d.mean()
    v = 1 / n - (1 / population if population else 0)
    within = ((d - m) ** 2).sum()
    ratio = ((within + m**2 / v) / (within + m**2 / (v + prior))) ** (n / 2)
    two_sided = ratio / math.sqrt(1 + prior / v)
    endless = population or 1e12
    assert marginal_ratio(d, prior, endless, folded=False) == pytest.approx(two_sided, rel=1e-5)
    folded = marginal_ratio(d, prior, endless, folded=True)
    assert folded == pytest.approx(2 * two_sided * stats.t.cdf(math.sqrt(n * (ratio ** (2 / n) - 1)), n), rel=1e-5)
    # What is computed is a lower bound, short of it by less than one.
    computed = math.exp(student(d[None], prior=prior, population=population)[0])
    assert computed == pytest.approx((2 * ratio - 1) / math.sqrt(1 + prior / v))
    assert folded - 1 / math.sqrt(1 + prior / v) <= computed <= folded


@pytest.mark.parametrize("prior", [1.0, 0.3])
def test_an_interval_ends_where_the_evidence_reaches_its_threshold(prior):
    d = np.random.default_rng(0).normal(0.8, 1, 12)
    standard_error = d.std(ddof=1) / 12**0.5
    half = anytime_half_widths(np.array([standard_error]), np.array([12]), error=0.05, prior=prior)[0]
    for end in (d.mean() - half, d.mean() + half):
        assert marginal_ratio(d - end, prior, np.inf, folded=False) == pytest.approx(20, rel=1e-3)


def test_intervals_cover_at_all_times_for_any_leader():
    rng = np.random.default_rng(0)
    errors = rng.normal(0, 1, (1500, 3, 150))
    count = np.arange(1, 151)
    missed = {"anytime": np.zeros((1500, 3), bool), "student": np.zeros((1500, 3), bool)}
    total, products = errors.cumsum(2), np.einsum("rin,rjn->rijn", errors, errors).cumsum(3)
    for n in range(2, 151):
        leader = total[:, :, n - 1].argmin(1)
        rows = np.arange(1500)
        mean = (total[:, :, n - 1] - total[rows, leader, n - 1][:, None]) / count[n - 1]
        own = products[:, range(3), range(3), n - 1]
        squares = own + own[rows, leader][:, None] - 2 * products[rows, leader, :, n - 1]
        standard_error = np.sqrt(np.maximum(squares / n - mean**2, 0) / (n - 1))
        counts = np.full(mean.shape, n)
        missed["anytime"] |= np.abs(mean) > anytime_half_widths(standard_error, counts, error=0.05 / 2)
        missed["student"] |= np.abs(mean) > stats.t.ppf(0.975, n - 1) * standard_error + 1e-12
    # All classes are equal, so 0 is what there is to cover.
    assert missed["anytime"].mean(0).max() < 0.05
    assert missed["student"].mean(0).min() > 0.2


def test_intervals_of_few_draws_are_infinite_or_nan():
    half = anytime_half_widths(np.array([0.5, np.nan, 0.0, 0.1]), np.array([2, 1, 9, 5000]), error=0.05)
    assert half[0] == np.inf
    assert np.isnan(half[1])
    assert half[2] == 0
    # Some four standard errors in the long run.
    assert 0.3 < half[3] < 0.45


def test_student_evidence_is_that_of_the_t_statistic():
    d = np.random.default_rng(1).normal(1.2, 0.7, 12)
    n, g, nu = 12, 0.5, 11
    t = stats.ttest_1samp(d, 0).statistic
    two_sided = (1 + n * g) ** -0.5 * ((1 + t**2 / nu) / (1 + t**2 / ((1 + n * g) * nu))) ** ((nu + 1) / 2)
    assert math.exp(student(d[None], prior=g)[0]) == pytest.approx(2 * two_sided - (1 + n * g) ** -0.5)


def test_student_evidence_is_scale_free_and_incremental():
    d = np.random.default_rng(2).normal(0.5, 1, (4, 20))
    d[3] -= 5
    whole = student(d, prior=1)
    assert whole[3] == -np.inf
    assert student(1e-6 * d, prior=1) == pytest.approx(whole)
    parts = StudentEvidence(np.empty((4, 0)), prior=1)
    for start, stop in ((0, 1), (1, 7), (7, 20)):
        parts.add(d[:, start:stop])
    parts.keep(np.array([True, False, True, False]))
    assert parts.log() == pytest.approx(whole[[0, 2]])


def test_equal_classes_give_no_evidence_and_constant_differences_much():
    d = np.array([[0.0] * 20, [1.0] * 20, [-1.0] * 20])
    log = student(d, prior=1)
    assert log[0] == log[2] == -np.inf
    assert log[1] == pytest.approx(10 * math.log(21) + math.log(2) - math.log(21) / 2)


def test_opening_draws_shift_the_mean_of_the_rest():
    # Of 10 draws, two are known: the mean over all is positive if that over the rest exceeds -3/4.
    rng = np.random.default_rng(3)
    before, d = np.array([[2.0, 4.0]]), rng.normal(0, 1, (1, 5))
    assert student(d, before, prior=1, population=10) == pytest.approx(student(d + 0.75, prior=1, population=8))
    everything = rng.normal(0, 1, (1, 8))
    assert student(everything - 0.7 - everything.mean(), before, prior=1, population=10)[0] == np.inf
    assert student(everything - 0.8 - everything.mean(), before, prior=1, population=10)[0] == -np.inf


def waudby_smith_and_ramdas(x: list[float], expected: list[float], level: float) -> list[float]:
    """Log of the predictable plug-in process, value by value, as theorem 2 states it for values in 0 ... 1."""
    log, path = 0.0, []
    for t in range(1, len(x) + 1):
        means = [(0.5 + sum(x[:i])) / (i + 1) for i in range(t)]
        variance = (0.25 + sum((x[i - 1] - means[i]) ** 2 for i in range(1, t))) / t
        bet = min(0.5, math.sqrt(2 * math.log(1 / level) / (variance * t * math.log(1 + t))))
        psi = (-math.log(1 - bet) - bet) / 4
        log += bet * (x[t - 1] - expected[t - 1]) - 4 * (x[t - 1] - means[t - 1]) ** 2 * psi
        path.append(log)
    return path


@pytest.mark.parametrize("population", [None, 40])
def test_bernstein_evidence_is_the_published_process(population):
    d = np.random.default_rng(4).uniform(-1, 2, 30)
    spread, before = 2.5, np.array([[0.4, -0.1]])
    expected = []
    for i in range(30):
        left_mean = 0 if population is None else -(before.sum() + d[:i].sum()) / (population - 2 - i)
        expected.append(left_mean / (2 * spread) + 0.5)
    path = waudby_smith_and_ramdas(list((d / spread + 1) / 2), expected, 0.01)
    evidence = BernsteinEvidence(before, level=0.01, spread=spread, population=population)
    for start, stop in ((0, 3), (3, 4), (4, 30)):
        evidence.add(d[None, start:stop])
        assert evidence.log()[0] == pytest.approx(max(0, *path[:stop]))


@pytest.mark.parametrize("kind", ["t", "t of few draws", "bernstein"])
def test_evidence_rarely_exceeds_its_threshold_under_the_null(kind):
    rng, level, races = np.random.default_rng(5), 0.05, 4000
    d = rng.normal(0, 3, (races, 200)) if kind != "bernstein" else rng.choice([-1.0, 0.2, 0.8], (races, 200))
    if kind == "t of few draws":
        # All 200 that there are have mean 0 exactly.
        d -= d.mean(1, keepdims=True)
    evidence = (
        BernsteinEvidence(np.empty((races, 0)), level=level, spread=1)
        if kind == "bernstein"
        else StudentEvidence(np.empty((races, 0)), prior=1, population=200 if kind == "t of few draws" else None)
    )
    highest = np.full(races, -np.inf)
    for i in range(199):
        evidence.add(d[:, i : i + 1])
        highest = np.maximum(highest, evidence.log())
    wrong = (highest >= math.log(1 / level)).sum()
    # Below the level up to three deviations of a binomial, and not by being useless where it can be sharp.
    assert wrong <= level * races + 3 * math.sqrt(level * (1 - level) * races)
    if kind == "t of few draws":
        assert wrong > 0.3 * level * races


def test_the_t_mixture_has_expectation_one_under_the_null():
    rng = np.random.default_rng(6)
    # Few draws and a narrow prior, so that the mean of a million is not ruled by rare giants.
    d = rng.normal(0, 2, (1_000_000, 4))
    g, n = 0.05, 4
    mean, within = d.mean(1), d.var(1) * n
    two_sided = (1 + n * g) ** -0.5 * ((within + n * mean**2) / (within + mean**2 / (1 / n + g))) ** (n / 2)
    assert two_sided.mean() == pytest.approx(1, abs=5 * two_sided.std() / 1000)
    computed = np.exp(student(d, prior=g))
    assert computed.mean() <= 1
