"""How sure an estimate is: intervals over the episodes of the log, and the chance that J exceeds a baseline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar, Literal

import numpy as np

from offrl.errors import UserError
from offrl.functional.intervals import student_distribution, student_quantile
from offrl.ope.estimator import Estimator
from offrl.ope.evidence import Array, Evidence
from offrl.ope.importance import ImportanceSampling

ROOM = 1 << 22  # numbers of one block of counts
HANDFUL = 10.0  # effective episodes, below which large-sample theory is none
MISSING = 0.5  # mean weight (due is 1) below which the episodes that would count most were not seen
# How far from 1 a mean weight lies, as it is and in standard errors, where weights are not to be believed.
OFF, OFF_IN_ERRORS = 0.1, 4.0
GROUPS = 200  # left out in turn, by the jackknife


@dataclass(frozen=True)
class Bounds:
    """An interval, or why there is none."""

    low: float | None
    high: float | None
    above: float | None = None  # P(J > baseline)
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Interval(ABC):
    """Recipe of an interval."""

    asymptotic: ClassVar[bool] = True  # it holds for many episodes only

    level: float  # probability with which it should hold J
    min_episodes: int  # below, there is none

    def __post_init__(self) -> None:
        if not 0.0 < self.level < 1.0:
            raise UserError(f"interval level={self.level} is not between 0 and 1")

    def __call__(self, estimator: Estimator, evidence: Evidence, baseline: float | None) -> Bounds:
        """The interval of this estimate, and P(J > baseline); with a reason where there is none that is honest."""
        if not estimator.resamples:
            return Bounds(
                None,
                None,
                note="none: it rests on what was fitted to the log, whose error no resampling of episodes shows",
            )
        if evidence.episodes < self.min_episodes:
            return Bounds(None, None, note=f"none: {evidence.episodes} episodes are too few (of {self.min_episodes})")
        if self.asymptotic and estimator.weighs and (ess := effective(evidence)) < HANDFUL:
            return Bounds(None, None, note=f"none: the episodes count as {ess:.1f}, too few for its theory")
        if self.asymptotic and estimator.weighs and (wrong := wrong_weights(*mean_weight(evidence))):
            return Bounds(None, None, note=f"none: {wrong}")
        return self.bounds(estimator, evidence, baseline)

    @abstractmethod
    def bounds(self, estimator: Estimator, evidence: Evidence, baseline: float | None) -> Bounds:
        """The interval, where the log is large enough and the estimator's error can be seen in it."""


@dataclass(frozen=True, kw_only=True)
class Bootstrap(Interval):
    """Quantiles of the estimate over resamples of whole episodes: as they are (percentile), or corrected for bias and
    skewness (BCa; B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 and 14, eq.
    14.10)."""

    kind: Literal["percentile", "bca"]
    replicates: int
    seed: int

    def bounds(self, estimator: Estimator, evidence: Evidence, baseline: float | None) -> Bounds:
        blocks = _resamples(evidence.episodes, self.replicates, self.seed)
        values = np.concatenate([estimator(evidence, counts) for counts in blocks])
        lost = int(np.isnan(values).sum())
        values = values[np.isfinite(values)]
        if len(values) < self.replicates / 2:
            return Bounds(None, None, note="none: in most resamples no episode has any weight")
        levels = [(1.0 - self.level) / 2.0, (1.0 + self.level) / 2.0]
        if self.kind == "bca":
            levels = _corrected(levels, values, estimator, evidence)
        low, high = np.quantile(values, levels)
        above = None if baseline is None else float((values > baseline).mean())
        note = f"{lost} of {self.replicates} resamples had no weight" if lost else ""
        return Bounds(float(low), float(high), above, note)


@dataclass(frozen=True, kw_only=True)
class Student(Interval):
    """θ ± t s/√n over the terms of a mean, or over the jackknife's pseudo-values of another estimate (R. Miller, "The
    Jackknife: a Review", Biometrika 1974)."""

    def bounds(self, estimator: Estimator, evidence: Evidence, baseline: float | None) -> Bounds:
        terms = estimator.terms(evidence)
        estimate = float(estimator(evidence, evidence.ones)[0])
        if terms is None:
            left_out, share = _jackknife(estimator, evidence)
            terms = estimate - (1.0 / share - 1.0) * (left_out - estimate)
        degrees = len(terms) - 1
        error = float(terms.std(ddof=1)) / np.sqrt(len(terms))
        reach = student_quantile((1.0 + self.level) / 2.0, degrees) * error
        above = None
        if baseline is not None:
            above = (
                student_distribution((estimate - baseline) / error, degrees) if error else float(estimate > baseline)
            )
        return Bounds(estimate - reach, estimate + reach, above)


@dataclass(frozen=True, kw_only=True)
class Concentration(Interval):
    """θ ± reach, valid for every number of episodes where the terms of the mean lie in a known range.

    Hoeffding: (b − a) √(ln(2/δ) / 2n) (W. Hoeffding 1963, theorem 2). Empirical Bernstein: √(2 s² ln(4/δ) / n) +
    7 (b − a) ln(4/δ) / 3(n − 1) (A. Maurer and M. Pontil, COLT 2009, arXiv:0907.3740, theorem 4, from both sides).
    """

    asymptotic: ClassVar[bool] = False

    kind: Literal["hoeffding", "bernstein"]
    range: tuple[float, float] | None  # of a weighted return; null: the log's own, which is no guarantee

    def bounds(self, estimator: Estimator, evidence: Evidence, baseline: float | None) -> Bounds:
        terms = estimator.terms(evidence)
        if terms is None:
            return Bounds(None, None, note="none: only for means of independent terms (is, pdis, dr)")
        least, most = (float(terms.min()), float(terms.max())) if self.range is None else self.range
        if terms.min() < least or terms.max() > most:
            reason = f"none: the terms reach {terms.min():.3g} to {terms.max():.3g}, beyond range"
            return Bounds(None, None, note=reason)
        delta, count = 1.0 - self.level, len(terms)
        if self.kind == "hoeffding":
            reach = (most - least) * np.sqrt(np.log(2.0 / delta) / (2.0 * count))
        else:
            log = np.log(4.0 / delta)
            reach = np.sqrt(2.0 * terms.var(ddof=1) * log / count) + 7.0 * (most - least) * log / (3.0 * (count - 1))
        note = "" if self.range is not None else "the range is the log's own, so this is no guarantee"
        return Bounds(float(terms.mean() - reach), float(terms.mean() + reach), None, note)


@dataclass(frozen=True, kw_only=True)
class HighConfidence(Interval):
    """A lower bound from weighted returns X >= 0 that are cut off at c, so that rare huge ones do not widen it:
    mean min(X, c) − 7 c ln(2/δ) / 3(n − 1) − √(2 s² ln(2/δ) / n).

    P. Thomas, G. Theocharous and M. Ghavamzadeh, "High-Confidence Off-Policy Evaluation", AAAI 2015, theorem 1 with one
    threshold; c is the one that promises most on a `share` of the episodes, which the bound then leaves out.
    Returns are scaled to [0, 1] by their range.
    """

    asymptotic: ClassVar[bool] = False

    range: tuple[float, float] | None  # of a return; null: the log's own, which is no guarantee
    share: float  # of the episodes, for the choice of the threshold
    seed: int

    def bounds(self, estimator: Estimator, evidence: Evidence, baseline: float | None) -> Bounds:
        if not isinstance(estimator, ImportanceSampling):
            return Bounds(None, None, note="none: a bound for estimator=is alone")
        returns = evidence.returns
        least, most = (float(returns.min()), float(returns.max())) if self.range is None else self.range
        if returns.min() < least or returns.max() > most or most <= least:
            return Bounds(None, None, note=f"none: returns of {returns.min():.3g} to {returns.max():.3g} have no range")
        weighted = evidence.weight[:, -1] * (returns - least) / (most - least)
        order = np.random.default_rng(self.seed).permutation(len(weighted))
        first = max(2, round(self.share * len(weighted)))
        choosing, bounding = weighted[order[:first]], weighted[order[first:]]
        candidates = np.geomspace(1e-3, max(float(choosing.max()), 1.0), 300)
        best = max(candidates, key=lambda c: cut_off_bound(choosing, c, len(bounding), 1.0 - self.level))
        low = cut_off_bound(bounding, best, len(bounding), 1.0 - self.level)
        note = f"a lower bound, weighted returns cut off at {best:.3g}"
        note += "" if self.range is not None else "; the range of returns is the log's own, so it is no guarantee"
        return Bounds(least + (most - least) * low, None, None, note)


def effective(evidence: Evidence) -> float:
    """(Σ w)² / Σ w² of whole episodes (L. Kish 1965); 0 where nothing has weight."""
    weight = evidence.relative_weight[:, -1]
    return float(weight.sum() ** 2 / max((weight**2).sum(), 1e-300))


def mean_weight(evidence: Evidence) -> tuple[float, float]:
    """(mean weight of whole episodes, its standard error); the mean is due to be 1."""
    weight = evidence.weight[:, -1]
    with np.errstate(invalid="ignore", over="ignore"):
        return float(weight.mean()), float(weight.std(ddof=1) / np.sqrt(len(weight)))


def wrong_weights(mean: float, error: float) -> str | None:
    """Why weights of this mean, known to a standard error, are not to be believed; None where they may be."""
    if mean < MISSING:
        return f"weights average {mean:.2g} where 1 is due: what the target would do most is missing from the log"
    if abs(mean - 1.0) > max(OFF, OFF_IN_ERRORS * error):
        cause = "" if mean > 1.0 else ", or what the target would do is missing from the log, or clipped"
        return (
            f"weights average {mean:.3g} ± {error:.2g} where 1 is due: the probabilities are not those of whoever "
            f"acted{cause}"
        )
    return None


def cut_off_bound(terms: Array, threshold: float, count: int, delta: float) -> float:
    """What `count` terms like these bound from below with probability 1 − delta."""
    cut, log = np.minimum(terms, threshold), np.log(2.0 / delta)
    spread = np.sqrt(2.0 * cut.var(ddof=1) * log / count)
    return float(cut.mean() - 7.0 * threshold * log / (3.0 * (count - 1)) - spread)


def _resamples(episodes: int, replicates: int, seed: int) -> Iterator[Array]:
    """Counts [B, N] of episodes drawn with replacement, a block at a time."""
    generator = np.random.default_rng(seed)
    share, block = np.full(episodes, 1.0 / episodes), max(1, ROOM // episodes)
    for start in range(0, replicates, block):
        size = min(block, replicates - start)
        yield generator.multinomial(episodes, share, size=size).astype(np.float64)


def _jackknife(estimator: Estimator, evidence: Evidence) -> tuple[Array, float]:
    """(estimates with one group of episodes left out in turn, the share of the episodes in a group)."""
    groups = min(evidence.episodes, GROUPS)
    member = np.arange(evidence.episodes) % groups
    rows = max(1, ROOM // evidence.episodes)
    parts = [np.arange(start, min(start + rows, groups)) for start in range(0, groups, rows)]
    values = [estimator(evidence, (member != part[:, None]).astype(np.float64)) for part in parts]
    return np.concatenate(values), 1.0 / groups


def _corrected(levels: list[float], values: Array, estimator: Estimator, evidence: Evidence) -> list[float]:
    """The levels that BCa takes instead: moved by z0, the bias, and a, the skewness."""
    normal = NormalDist()
    below = float((values < estimator(evidence, evidence.ones)[0]).mean())
    z0 = normal.inv_cdf(min(max(below, 1.0 / len(values)), 1.0 - 1.0 / len(values)))
    left_out, _ = _jackknife(estimator, evidence)
    error = left_out.mean() - left_out
    scale = float((error**2).sum()) ** 1.5
    a = float((error**3).sum()) / (6.0 * scale) if scale > 0.0 else 0.0
    shifted = [z0 + normal.inv_cdf(level) for level in levels]
    return [
        normal.cdf(z0 + z / (1.0 - a * z)) if a * z < 1.0 else level for z, level in zip(shifted, levels, strict=True)
    ]
