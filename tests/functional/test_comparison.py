"""Statistics of few runs against computations of their own, by other means."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from offrl.functional.comparison import (
    COVERED,
    exceedances,
    interquartile_mean,
    interval,
    mean,
    median,
    optimality_gap,
    probability_of_improvement,
    stratified_bootstrap,
)

Array = NDArray[np.float64]
GENERATOR = np.random.default_rng(7)
TASKS = [GENERATOR.normal(size=5), GENERATOR.normal(1.0, size=5), GENERATOR.normal(2.0, size=5)]


def trimmed(values: list[float]) -> float:
    """The mean without a quarter, rounded down, at either end: scipy's `trim_mean(x, 0.25)`, by hand."""
    cut = int(0.25 * len(values))
    kept = sorted(values)[cut : len(values) - cut]
    return sum(kept) / len(kept)


@pytest.mark.parametrize("count", range(1, 10))
def test_interquartile_mean_of_any_number(count: int) -> None:
    values = [float(i**2) for i in range(count)]
    assert interquartile_mean([np.array(values)]) == pytest.approx(trimmed(values))


def test_aggregates_pool_runs_of_all_tasks_or_take_tasks_first() -> None:
    pooled = [value for task in TASKS for value in task.tolist()]
    assert interquartile_mean(TASKS) == pytest.approx(trimmed(pooled))
    assert median(TASKS) == pytest.approx(sorted(task.mean() for task in TASKS)[1])
    assert median(TASKS[:1]) == pytest.approx(sorted(TASKS[0])[2])
    assert mean(TASKS) == pytest.approx(np.mean(pooled))
    assert optimality_gap(TASKS, 1.0) == pytest.approx(np.mean([1.0 - min(value, 1.0) for value in pooled]))


def test_probability_of_improvement_is_counted_by_pairs() -> None:
    better, worse = [np.array([1.0, 2.0, 3.0]), np.array([5.0])], [np.array([2.0, 0.0]), np.array([5.0])]
    wins = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(better[0], worse[0])]
    assert probability_of_improvement(better, worse) == pytest.approx((np.mean(wins) + 0.5) / 2)
    forth, back = probability_of_improvement(TASKS, TASKS[::-1]), probability_of_improvement(TASKS[::-1], TASKS)
    assert forth + back == pytest.approx(1.0)


def test_performance_profile_is_the_share_above() -> None:
    above = exceedances([np.array([0.0, 1.0]), np.array([2.0, 3.0])], np.array([-1.0, 0.0, 1.5, 3.0]))
    np.testing.assert_array_equal(mean(above), [1.0, 0.75, 0.5, 0.0])


STATISTICS: list[Callable[..., Array]] = [mean, median, interquartile_mean]


@pytest.mark.parametrize("statistic", STATISTICS)
def test_bootstrap_agrees_with_a_plain_loop(statistic: Callable[..., Array]) -> None:
    """Other random numbers, so agreement is to the bootstrap's own scatter."""
    generator = np.random.default_rng(1)
    drawn = [statistic([generator.choice(task, len(task)) for task in TASKS]) for _ in range(8000)]
    expected = np.quantile(drawn, [0.025, 0.975])
    found = stratified_bootstrap(statistic, TASKS, replicates=8000)
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_bootstrap_agrees_with_all_resamples() -> None:
    """Of three runs all 27 can be listed."""
    runs = np.array([0.0, 1.0, 10.0])
    every = np.sort([np.mean(choice) for choice in itertools.product(runs, repeat=3)])
    low, high = stratified_bootstrap(mean, [runs], level=0.8, replicates=40_000)
    assert (low, high) == (
        np.quantile(every, 0.1, method="inverted_cdf"),
        np.quantile(every, 0.9, method="inverted_cdf"),
    )


def test_strata_are_kept_apart_and_curves_move_as_a_whole() -> None:
    constant = [np.zeros(4), np.full(4, 100.0)]
    assert [float(end) for end in stratified_bootstrap(mean, constant)] == [50.0, 50.0]
    curve = np.stack([TASKS[0], 2.0 * TASKS[0]], -1)  # [runs, points]
    low, high = stratified_bootstrap(mean, [curve])
    np.testing.assert_allclose([2.0 * low[0], 2.0 * high[0]], [low[1], high[1]])


def test_one_run_has_no_interval_and_the_level_is_kept() -> None:
    assert not interval(mean, [np.array([1.0])]).known
    generator = np.random.default_rng(0)
    samples = [generator.normal(size=30) for _ in range(200)]
    inside = [low <= 0.0 <= high for _, low, high in (interval(mean, [own], replicates=400) for own in samples)]
    assert 0.88 <= np.mean(inside) <= 0.99


RUN, TASK = np.mgrid[:9, :3]
FIRST, SECOND = 60 + 25 * np.sin(1 + 7 * RUN + 3 * TASK), 45 + 30 * np.sin(2 + 5 * RUN + 11 * TASK)  # [runs, tasks]
RLIABLE: dict[str, tuple[float, float, float]] = {  # value, low, high as rliable 1.2.0 has them, 20,000 replicates
    "first median": (60.28473113695062, 52.240, 67.979),
    "first iqm": (60.09384862899317, 50.190, 70.029),
    "first mean": (60.11978207257922, 53.473, 66.687),
    "first gap": (7.8920035512661855, 4.455, 11.640),
    "second median": (44.951966983382576, 34.655, 53.856),
    "second iqm": (43.375377303648456, 31.053, 56.422),
    "second mean": (44.08759632110699, 36.056, 52.261),
    "second gap": (18.82755991560186, 12.017, 25.721),
    "improvement": (0.7037037037037037, 0.551, 0.840),  # 5,000 replicates, as is the profile
}
PROFILE = {35: (27, 27, 27), 50: (17, 12, 22), 60: (13, 8, 18), 70: (10, 5, 15), 80: (6, 2, 10)}  # in 27ths


def short(scores: list[Array], axis: int = 0) -> Array:
    """The gap to 60."""
    return optimality_gap(scores, 60.0, axis)


@pytest.mark.parametrize("name", RLIABLE)
def test_figures_are_those_of_rliable(name: str) -> None:
    """Values exactly, ends of intervals to the scatter of either bootstrap."""
    groups = {"first": [*FIRST.T], "second": [*SECOND.T]}
    statistics = {"median": median, "iqm": interquartile_mean, "mean": mean, "gap": short}
    if name == "improvement":
        found = interval(probability_of_improvement, groups["first"], groups["second"], replicates=20_000)
    else:
        group, statistic = name.split()
        found = interval(statistics[statistic], groups[group], replicates=20_000)
    value, *ends = RLIABLE[name]
    assert found.value == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(found[1:], ends, atol=0.04 * (ends[1] - ends[0]))


def test_the_performance_profile_is_that_of_rliable() -> None:
    above = exceedances([*FIRST.T], np.array([*PROFILE], float))
    expected = np.array([*PROFILE.values()]).T / 27
    np.testing.assert_allclose(mean(above), expected[0], rtol=1e-12)
    np.testing.assert_allclose(stratified_bootstrap(mean, above, replicates=20_000), expected[1:], atol=1.01 / 27)


@pytest.mark.parametrize("runs", [2, 3, 5, 10])
def test_intervals_of_few_runs_hold_the_truth_as_often_as_is_said(runs: int) -> None:
    scores = np.random.default_rng(runs).normal(size=(runs, 3000))  # of 3000 experiments, whose true mean is 0
    low, high = stratified_bootstrap(mean, [scores], replicates=400)
    assert 100 * np.mean((low <= 0) & (high >= 0)) == pytest.approx(COVERED[runs], abs=3)
