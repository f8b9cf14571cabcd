"""Statistics of few runs: what a comparison of algorithms may honestly say.

R. Agarwal, M. Schwarzer, P. S. Castro, A. Courville and M. G. Bellemare, "Deep Reinforcement Learning at the Edge of
the Statistical Precipice", NeurIPS 2021, arXiv:2108.13264. `Scores` are the paper's matrix of runs by tasks, but tasks
may have different numbers of runs: one array [runs, ...] for each task. Further axes (steps of a curve) ride along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Scores = Sequence[Array]  # by task: [runs of the task, *rest]
Statistic = Callable[..., Array]  # [..., runs, *rest] of each task, and the axis of runs -> [..., *rest]

AXIS_RUNS = 0
COVERED = {2: 50, 3: 75, 4: 80, 5: 83, 8: 88, 10: 89, 20: 93}  # runs -> % of intervals of the mean that hold the truth
CHUNK = 4_000_000  # numbers that one round of resampling may hold


class Interval(NamedTuple):
    """An estimate and its confidence interval; without one (a single run) both ends are NaN."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


def mean(scores: Scores, axis: int = AXIS_RUNS) -> Array:
    """The mean over tasks of each task's mean."""
    return np.mean([task.mean(axis) for task in scores], axis=0)


def median(scores: Scores, axis: int = AXIS_RUNS) -> Array:
    """The median over tasks of each task's mean, as the Atari papers have it; of the runs where there is one task."""
    if len(scores) == 1:
        return np.median(scores[0], axis)
    return np.median([task.mean(axis) for task in scores], axis=0)


def interquartile_mean(scores: Scores, axis: int = AXIS_RUNS) -> Array:
    """The mean of the middle half of all runs of all tasks: a quarter, rounded down, is cut off at either end."""
    every = np.concatenate(scores, axis)
    count = every.shape[axis]
    cut = count // 4
    ordered = np.sort(every, axis)
    return np.take(ordered, np.arange(cut, count - cut), axis).mean(axis)


def optimality_gap(scores: Scores, target: float, axis: int = AXIS_RUNS) -> Array:
    """By how much runs miss `target` on average; a run beyond it misses nothing."""
    every = np.concatenate(scores, axis)
    return target - np.minimum(every, target).mean(axis)


def exceedances(scores: Scores, thresholds: Array) -> Scores:
    """Which runs are above which thresholds, 0 or 1 [runs, thresholds]: their `mean` is the performance profile."""
    return [(task[..., None] > thresholds).astype(np.float64) for task in scores]


def probability_of_improvement(better: Scores, worse: Scores, axis: int = AXIS_RUNS) -> Array:
    """How likely a run of `better` beats one of `worse` on the same task, ties counting half; the mean over tasks.

    It is Mann and Whitney's U over the number of pairs.
    """
    return np.mean([_wins(a, b, axis) for a, b in zip(better, worse, strict=True)], axis=0)


def _wins(a: Array, b: Array, axis: int) -> Array:
    difference = np.expand_dims(a, axis + 1) - np.expand_dims(b, axis)
    return ((np.sign(difference) + 1.0) / 2.0).mean((axis, axis + 1))


def stratified_bootstrap(
    statistic: Statistic,
    *scores: Scores,
    level: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Percentile interval (low, high) of `statistic(*scores, axis=...)`: runs are drawn anew within each task.

    With two groups each is resampled on its own. A task with one run cannot vary, so its interval says nothing of it.
    Of few runs the interval is too narrow: `COVERED` is what 95 % come to with normally distributed scores of one task.
    """
    generator = np.random.default_rng(seed)
    numbers = [sum(task.size for task in group) for group in scores]
    at_once = max(1, CHUNK // max(1, *numbers, int(np.prod(numbers))))
    drawn: list[Array] = []
    for start in range(0, replicates, at_once):
        count = min(at_once, replicates - start)
        again = [[_resampled(task, count, generator) for task in group] for group in scores]
        drawn.append(statistic(*again, axis=AXIS_RUNS + 1))
    low, high = np.quantile(np.concatenate(drawn), [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    return low, high


def interval(
    statistic: Statistic, *scores: Scores, level: float = 0.95, replicates: int = 2000, seed: int = 0
) -> Interval:
    """The estimate with its bootstrap interval; none where some task has one run only."""
    value = float(statistic(*scores))
    if any(len(task) < 2 for group in scores for task in group):
        return Interval(value, float("nan"), float("nan"))
    low, high = stratified_bootstrap(statistic, *scores, level=level, replicates=replicates, seed=seed)
    return Interval(value, float(low), float(high))


def _resampled(task: Array, count: int, generator: np.random.Generator) -> Array:
    """[count, runs, *rest]: rows drawn with replacement, a run's whole curve at once."""
    return task[generator.integers(len(task), size=(count, len(task)))]
