"""Does a claim hold? Rules that weigh figures from runs, each with an interval, and say so in words.

A rule holds only where the whole 95 % interval does. With one run there is no interval: a rule then cannot be judged,
unless it is marked `exact`, which says that nothing in it is left to chance. Nor can one whose runs are not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from offrl.compare.quantities import LEVEL, REPLICATES, Absent, Array, Quantity, contrast, levels, quantity
from offrl.compare.runs import Runs
from offrl.compare.summary import number, shown
from offrl.functional.comparison import Interval, stratified_bootstrap

NO_INTERVAL = "one run gives no interval (seed=0,1,2,3,4 does, or lectures.seeds=5 with experiment=lectures/all)"


@dataclass(frozen=True)
class Finding:
    """What one rule found."""

    holds: bool | None  # None: it cannot be judged
    text: str


class Rule(Protocol):
    """Part of a verdict."""

    def __call__(self, runs: Runs) -> Finding:
        """Weigh the runs. Raises `Absent` where they lack what it asks for."""
        ...


def judge(rule: Rule, runs: Runs) -> Finding:
    """What the rule finds; where its runs are absent, that it cannot be judged."""
    try:
        return rule(runs)
    except Absent as absent:
        return Finding(None, f"{absent.name}: cannot be judged: {absent.reason}.")


def together(findings: Sequence[Finding]) -> bool | None:
    """All have to hold; one that does not outweighs those that cannot be judged."""
    each = {finding.holds for finding in findings}
    return False if False in each else None if None in each else True


@dataclass(frozen=True, kw_only=True)
class Greater:
    """`a` is greater than `b`, by more than `margin`; or, as a ratio, more than `factor` times it."""

    a: Mapping[str, Any] | str
    b: Mapping[str, Any] | str | float
    margin: float = 0.0
    factor: float | None = None  # compare a / b with this instead of a − b with the margin
    exact: bool = False

    def __call__(self, runs: Runs) -> Finding:
        """Weigh a against b."""
        one = quantity(self.a)
        left = one.estimate(runs)
        if isinstance(self.b, int | float):
            bound = float(self.b) + self.margin
            holds = settled(_above(left, bound, self.exact), len(one.runs(runs)), self.exact)
            return Finding(holds, f"{_said(one, left, runs)}; {surely(holds, f'above {number(bound)}')}.")
        other = quantity(self.b)
        right = other.estimate(runs)
        difference = contrast(runs, one, other, ratio=self.factor is not None)
        bound = self.margin if self.factor is None else self.factor
        fewest = min(len(one.runs(runs)), len(other.runs(runs)))
        holds = settled(_above(difference, bound, self.exact), fewest, self.exact)
        what = "difference" if self.factor is None else "ratio"
        pair = f"{_said(one, left, runs)}; {_said(other, right, runs)}"
        verb = surely(holds, f"above {number(bound)}")
        return Finding(holds, f"{pair}. The {what} is {shown(difference)}: {verb}.")


@dataclass(frozen=True, kw_only=True)
class Near:
    """`a` is within `tolerance` of `b`."""

    a: Mapping[str, Any] | str
    b: Mapping[str, Any] | str | float
    tolerance: float
    exact: bool = False

    def __call__(self, runs: Runs) -> Finding:
        """Weigh the distance."""
        one = quantity(self.a)
        left, fewest = one.estimate(runs), len(one.runs(runs))
        if isinstance(self.b, int | float):
            gap = Interval(*(end - float(self.b) for end in left))
            against = number(float(self.b))
        else:
            other = quantity(self.b)
            gap = contrast(runs, one, other, ratio=False)
            against, fewest = _said(other, other.estimate(runs), runs), min(fewest, len(other.runs(runs)))
        ends = _ends(gap, self.exact)
        holds = settled(ends is not None and max(map(abs, ends)) <= self.tolerance, fewest, self.exact)
        text = f"{_said(one, left, runs)} against {against}; off by {shown(gap)}"
        return Finding(holds, f"{text}, {surely(holds, f'within {number(self.tolerance)}')}.")


@dataclass(frozen=True, kw_only=True)
class Trend:
    """`a` rises or falls with a numeric config key, by rank (Spearman's coefficient over all runs)."""

    a: Mapping[str, Any] | str
    over: str  # the config key
    direction: Literal["rises", "falls"]
    exact: bool = False

    def __call__(self, runs: Runs) -> Finding:
        """Correlate."""
        one, sign = quantity(self.a), 1.0 if self.direction == "rises" else -1.0
        steps = levels(runs, self.over, one.where)
        if len(steps) < 2:
            raise Absent(one.name, f"these runs have one value of {self.over} alone")
        values = [one.values(part) for _, part in steps]
        rank = _rank_correlation(np.array([level for level, _ in steps]), values)
        ends = (number(float(values[0].mean())), number(float(values[-1].mean())))
        above = _above(Interval(*sorted_ends(rank, sign)), 0.0, self.exact)
        holds = settled(above, min(map(len, values)), self.exact)
        where = f"{self.over} {number(steps[0][0])} to {number(steps[-1][0])}"
        text = f"{one.name} goes from {ends[0]} to {ends[1]} over {where}; rank correlation {shown(rank)}"
        said = {True: f"it {self.direction}", False: f"it does not surely {self.direction[:-1]}"}
        return Finding(holds, f"{text}: {said[holds] if holds is not None else _open(f'it {self.direction}')}.")


@dataclass(frozen=True, kw_only=True)
class Middle:
    """`a` is best at a value of a numeric config key between the smallest and the largest, and surely above both."""

    a: Mapping[str, Any] | str
    over: str  # the config key

    def __call__(self, runs: Runs) -> Finding:
        """Compare the best level with both ends."""
        one = quantity(self.a)
        steps = levels(runs, self.over, one.where)
        if len(steps) < 3:
            raise Absent(one.name, f"these runs have no value of {self.over} between the smallest and the largest")
        values = [one.values(part) for _, part in steps]
        means = [float(own.mean()) for own in values]
        best = int(np.argmax(means))
        says = ", ".join(f"{number(level)}: {number(value)}" for (level, _), value in zip(steps, means, strict=True))
        if min(len(values[i]) for i in (0, best, -1)) < 2:
            return Finding(None, f"{one.name} by {self.over} ({says}): {_open('it is best between the ends')}.")
        if best in (0, len(steps) - 1):
            return Finding(False, f"{one.name} by {self.over} ({says}): the best is at an end.")
        gaps = [_gap(one, steps[best][1], steps[end][1]) for end in (0, -1)]
        holds = all(_above(gap, 0.0, False) for gap in gaps)
        text = f"{one.name} by {self.over} ({says}): {number(steps[best][0])} is above the ends by "
        return Finding(holds, f"{text}{shown(gaps[0])} and {shown(gaps[1])}{'' if holds else ', which is not sure'}.")


def _gap(one: Quantity, left: Runs, right: Runs) -> Interval:
    a, b = one.values(left), one.values(right)

    def statistic(first: list[Array], second: list[Array], axis: int = 0) -> Array:
        return first[0].mean(axis) - second[0].mean(axis)

    value = float(a.mean() - b.mean())
    if min(len(a), len(b)) < 2:
        return Interval(value, float("nan"), float("nan"))
    low, high = stratified_bootstrap(statistic, [a], [b], level=LEVEL, replicates=REPLICATES)
    return Interval(value, float(low), float(high))


def _rank_correlation(level: Array, values: list[Array]) -> Interval:
    """Spearman's coefficient between the level and the value, runs drawn anew within each level."""
    ranks = np.concatenate([np.full(len(own), float(i)) for i, own in enumerate(values)])
    del level  # only its order counts

    def statistic(groups: list[Array], axis: int = 0) -> Array:
        every = np.concatenate(groups, axis)
        order = every.argsort(axis).argsort(axis).astype(np.float64)
        x, y = ranks - ranks.mean(), order - order.mean(axis, keepdims=True)
        return (x * y).sum(axis) / np.sqrt((x**2).sum() * (y**2).sum(axis))

    value = float(statistic(values))
    if min(map(len, values)) < 2:
        return Interval(value, float("nan"), float("nan"))
    low, high = stratified_bootstrap(statistic, values, level=LEVEL, replicates=REPLICATES)
    return Interval(value, float(low), float(high))


def sorted_ends(found: Interval, sign: float) -> tuple[float, float, float]:
    """The interval of sign · what was found."""
    low, high = sorted((sign * found.low, sign * found.high))
    return sign * found.value, low, high


def _ends(found: Interval, exact: bool) -> tuple[float, float] | None:
    if exact:
        return found.value, found.value
    return (found.low, found.high) if found.known else None


def _above(found: Interval, bound: float, exact: bool) -> bool:
    ends = _ends(found, exact)
    return ends is not None and ends[0] > bound


def settled(holds: bool, runs: int, exact: bool) -> bool | None:
    """Whether a rule about so many runs, those of its smaller side, holds; None for one that needs an interval."""
    return holds if exact or runs > 1 else None


def surely(holds: bool | None, what: str) -> str:
    """`surely above 3`, or whatever else is known of it."""
    if holds is None:
        return _open(f"it is {what}")
    return f"surely {what}" if holds else f"not surely {what}"


def _open(what: str) -> str:
    return f"whether {what} cannot be judged: {NO_INTERVAL}"


def _said(what: Quantity, found: Interval, runs: Runs) -> str:
    count = len(what.runs(runs))
    return f"{what.name} {shown(found)} ({count} run{'s' if count != 1 else ''})"
