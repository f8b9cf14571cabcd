"""Intervals: closed forms, coverage, and none where none is honest."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offrl.functional.intervals import student_distribution, student_quantile
from offrl.ope.doubly_robust import Direct
from offrl.ope.estimator import Estimator
from offrl.ope.evidence import Evidence
from offrl.ope.importance import ImportanceSampling, WeightedImportanceSampling
from offrl.ope.intervals import (
    Bootstrap,
    Concentration,
    HighConfidence,
    Interval,
    Student,
    cut_off_bound,
    wrong_weights,
)
from offrl.ope.tabular import MaximumLikelihood

IS, WIS = ImportanceSampling(), WeightedImportanceSampling()
PERCENTILE = Bootstrap(level=0.9, min_episodes=2, kind="percentile", replicates=400, seed=0)
BCA = Bootstrap(level=0.9, min_episodes=2, kind="bca", replicates=400, seed=0)
STUDENT = Student(level=0.9, min_episodes=2)
HOEFFDING = Concentration(level=0.9, min_episodes=2, kind="hoeffding", range=(0.0, 3.0))
BERNSTEIN = Concentration(level=0.9, min_episodes=2, kind="bernstein", range=(0.0, 3.0))
THOMAS = HighConfidence(level=0.9, min_episodes=2, range=(0.0, 1.0), share=0.05, seed=0)


def bandit(count: int, seed: int = 0) -> Evidence:
    """Two arms, b even, p (0.9, 0.1); arm 0 pays 1 with probability 0.7, arm 1 with 0.2: J = 0.65."""
    generator = np.random.default_rng(seed)
    arm = generator.integers(2, size=count)
    reward = (generator.random(count) < np.array([0.7, 0.2])[arm]).astype(np.float64)
    ratio = np.log(np.array([1.8, 0.2])[arm])
    return Evidence(reward[:, None], ratio[:, None], np.ones((count, 1), np.bool_), 1.0)


@pytest.mark.parametrize(
    ("level", "degrees", "quantile"),
    [(0.975, 1, 12.7062047), (0.975, 4, 2.7764451), (0.95, 30, 1.6972609), (0.025, 4, -2.7764451)],
)
def test_student_quantiles(level: float, degrees: int, quantile: float) -> None:
    """Of the printed tables."""
    assert student_quantile(level, degrees) == pytest.approx(quantile, abs=1e-6)
    assert student_distribution(quantile, degrees) == pytest.approx(level, abs=1e-8)


def test_closed_forms() -> None:
    evidence = bandit(50)
    terms = IS.terms(evidence)
    student = STUDENT(IS, evidence, 0.5)
    reach = student_quantile(0.95, 49) * terms.std(ddof=1) / np.sqrt(50)
    assert (student.low, student.high) == pytest.approx((terms.mean() - reach, terms.mean() + reach))
    hoeffding = HOEFFDING(IS, evidence, None)
    assert hoeffding.high == pytest.approx(terms.mean() + 3.0 * np.sqrt(np.log(20.0) / 100.0))
    bernstein = BERNSTEIN(IS, evidence, None)
    log = np.log(40.0)
    reach = np.sqrt(2.0 * terms.var(ddof=1) * log / 50) + 7.0 * 3.0 * log / (3.0 * 49)
    assert bernstein.high == pytest.approx(terms.mean() + reach)


@given(st.lists(st.floats(0.0, 10.0), min_size=3, max_size=8), st.floats(0.1, 20.0))
def test_cut_off_bound_is_theorem_1(terms: list[float], threshold: float) -> None:
    """With equal thresholds, as the theorem writes it: over all pairs."""
    y, n, delta = np.minimum(terms, threshold) / threshold, len(terms), 0.1
    pairs = sum((a - b) ** 2 for a in y for b in y)
    log = np.log(2.0 / delta)
    bound = (y.sum() - 7.0 * n * log / (3.0 * (n - 1)) - np.sqrt(log / (n - 1) * pairs)) * threshold / n
    assert cut_off_bound(np.array(terms), threshold, n, delta) == pytest.approx(bound, abs=1e-9)


@pytest.mark.parametrize(
    ("interval", "estimator", "least", "most"),
    [
        (PERCENTILE, WIS, 0.82, 0.96),
        (BCA, WIS, 0.82, 0.96),
        (STUDENT, WIS, 0.82, 0.96),
        (STUDENT, IS, 0.82, 0.96),
        (HOEFFDING, IS, 0.97, 1.0),
        (BERNSTEIN, IS, 0.97, 1.0),
        (THOMAS, IS, 0.9, 1.0),
    ],
    ids=lambda part: type(part).__name__ if not isinstance(part, float) else "",
)
def test_coverage(interval: Interval, estimator: Estimator, least: float, most: float) -> None:
    held = 0
    for seed in range(200):
        found = interval(estimator, bandit(100, seed), None)
        assert found.low is not None
        held += found.low <= 0.65 <= (np.inf if found.high is None else found.high)
    assert least <= held / 200 <= most


def test_chance_to_exceed() -> None:
    evidence = bandit(400)
    for interval in (PERCENTILE, BCA, STUDENT):
        low, high = interval(WIS, evidence, 0.3).above, interval(WIS, evidence, 0.9).above
        assert low is not None
        assert high is not None
        assert low > 0.99
        assert high < 0.01


def test_none_where_none_is_honest() -> None:
    model = Direct(model=MaximumLikelihood(stationary=False, max_states=9, skip_last=False))
    assert "fitted" in PERCENTILE(model, bandit(50), None).note
    few = Bootstrap(level=0.9, min_episodes=10, kind="percentile", replicates=10, seed=0)
    assert "too few" in few(IS, bandit(9), None).note
    heavy = replace(bandit(50), log_ratio=np.linspace(-60.0, 60.0, 50)[:, None])
    assert "count as" in BCA(WIS, heavy, None).note
    assert "means" in HOEFFDING(WIS, bandit(50), None).note
    assert "is alone" in THOMAS(WIS, bandit(50), None).note
    narrow = Concentration(level=0.9, min_episodes=2, kind="hoeffding", range=(0.0, 1.0))
    assert "beyond" in narrow(IS, bandit(50), None).note


@pytest.mark.parametrize(
    ("factor", "reason"), [(1.3, "not those of whoever acted"), (0.7, "missing from the log, or clipped"), (1.05, None)]
)
def test_weights_that_do_not_average_one_are_not_believed(factor: float, reason: str | None) -> None:
    """Probabilities of the log that are too small by a factor make all weights too large, and none of them rare."""
    evidence = bandit(4000)
    evidence = replace(evidence, log_ratio=evidence.log_ratio + np.log(factor))
    for interval in (PERCENTILE, BCA, STUDENT):
        note = interval(WIS, evidence, None).note
        assert note == "" if reason is None else reason in note
    assert wrong_weights(factor, 0.1) is None  # what chance may do


def test_bca_levels_are_those_of_efron() -> None:
    """Eqs. 14.9 to 14.15: z0 from the share of resamples below the estimate, a from the jackknife; of a mean a is the
    skewness over 6 √n."""
    evidence = bandit(60)
    terms = IS.terms(evidence)
    error = terms - terms.mean()
    a = (error**3).sum() / (6.0 * (error**2).sum() ** 1.5)
    counts = np.random.default_rng(0).multinomial(60, np.full(60, 1.0 / 60.0), size=400).astype(np.float64)
    values = IS(evidence, counts)
    normal = NormalDist()
    z0 = normal.inv_cdf((values < terms.mean()).mean())
    ends = [z0 + normal.inv_cdf(level) for level in (0.05, 0.95)]
    low, high = np.quantile(values, [normal.cdf(z0 + z / (1.0 - a * z)) for z in ends])
    found = BCA(IS, evidence, None)
    assert (found.low, found.high) == pytest.approx((low, high))
    plain = PERCENTILE(IS, evidence, None)
    assert (plain.low, plain.high) == pytest.approx(tuple(np.quantile(values, [0.05, 0.95])))
