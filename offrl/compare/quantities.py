"""One number from each run: what verdicts weigh and lecture figures draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from offrl.build import TARGET, build
from offrl.compare.runs import Run, Runs
from offrl.errors import UserError
from offrl.functional.comparison import Interval, interval, mean, stratified_bootstrap

T = TypeVar("T")
Array = NDArray[np.float64]
LEVEL, REPLICATES = 0.95, 4000  # of every interval in a lecture


class Absent(UserError):
    """These runs lack what `name` is about. A sweep with other values may do so: what else it shows is not lost."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name, self.reason = name, reason


def there(parts: Iterable[Callable[[], T]]) -> list[T]:
    """What each part makes, without those whose runs are absent. Raises `Absent` where all of them are."""
    made: list[T] = []
    lost: list[Absent] = []
    for part in parts:
        try:
            made.append(part())
        except Absent as reason:
            lost.append(reason)
    if lost and not made:
        raise lost[0]
    return made


def picked(runs: Runs, condition: str | None, name: str) -> Runs:
    """The runs that meet a condition (see `Runs.where`) and have a config. Raises `Absent` where there is none."""
    try:
        met = runs.where(condition)
    except UserError as error:  # a key that no run has is as absent as a value that none has
        raise Absent(name, str(error)) from error
    found = met.only(run for run in met if run.config)
    if not len(found):
        raise Absent(name, f"no run with {condition}" if condition else "no run has begun")
    return found


def groups(conditions: Mapping[str, str], runs: Runs) -> list[tuple[str, Runs]]:
    """The runs of each label, without labels of which there is none. Raises `Absent` where that is all of them."""

    def group(label: str) -> tuple[str, Runs]:
        return label, picked(runs, conditions[label], label)

    return there(partial(group, label) for label in conditions)


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A metric at a point of the run, of the runs that a condition picks.

    `metric` may be `failed` or `diverged`: 1 for runs that ended so, 0 for others; or `data/return`: the mean return of
    the episodes in the log that a run learned from. `minus` and `over` name a second
    metric of the same run, at the same point, to take away or to divide by.
    """

    metric: str
    label: str = ""  # how texts and legends call it
    where: str | None = None  # SQL over config keys, see `Runs.where`
    at: float | Literal["last", "best", "worst", "first", "mean"] = "last"  # or a step: the last value up to it
    minus: str | None = None
    over: str | None = None

    @property
    def name(self) -> str:
        """The label, or else the metric."""
        return self.label or self.metric.replace("/", " ").replace("_", " ")

    def runs(self, runs: Runs) -> list[Run]:
        """The runs that have it. Raises `Absent` where none does, or where a run ends before `at`."""
        found = [run for run in picked(runs, self.where, self.name) if np.isfinite(self.of(runs, run))]
        if not found:
            raise Absent(self.name, f"no run{f' with {self.where}' if self.where else ''} has {self.metric}")
        return found

    def values(self, runs: Runs) -> Array:
        """[runs], in the order of `runs`. Raises as `runs` does."""
        return np.array([self.of(runs, run) for run in self.runs(runs)])

    def of(self, runs: Runs, run: Run) -> float:
        """Of one run; NaN where it never logged that. Raises `Absent` where the run ends before `at`."""
        if self.metric in ("failed", "diverged"):
            return float(run.failed if self.metric == "failed" else run.status == "diverged")
        if self.metric == "data/return":
            return float(run.facts.get("data_return", "nan"))
        value = self._read(runs, run, self.metric)
        if self.minus is not None:
            value -= self._read(runs, run, self.minus)
        if self.over is not None:
            value /= self._read(runs, run, self.over)
        return value

    def _read(self, runs: Runs, run: Run, metric: str) -> float:
        x, y = runs.curve(run, metric)
        if isinstance(self.at, float | int):
            self._need_step(runs, run, self.at)
            y = y[x <= self.at]
        if not len(y):
            return float("nan")
        ways = {"first": y[0], "best": y.max(), "worst": y.min(), "mean": y.mean()}
        return float(ways.get(str(self.at), y[-1]))

    def _need_step(self, runs: Runs, run: Run, step: float) -> None:
        """Raise `Absent` where the run's last row comes before `step`: no earlier value may pass for the one there."""
        rows = runs.logged.get(run.folder, {}).get("step", np.empty(0))
        if len(rows) and rows[-1] < step:
            raise Absent(self.name, f"the runs end at {rows[-1]:g}, before {step:g}")

    def estimate(self, runs: Runs) -> Interval:
        """The mean over runs with its interval."""
        return interval(mean, [self.values(runs)], level=LEVEL, replicates=REPLICATES)


def quantity(node: Mapping[str, Any] | str) -> Quantity:
    """A quantity from a config: a mapping of its fields, or the metric alone."""
    fields = {"metric": node} if isinstance(node, str) else node
    return build({TARGET: f"{__name__}.Quantity", **fields}, "lecture quantity")


def contrast(runs: Runs, one: Quantity, other: Quantity, *, ratio: bool) -> Interval:
    """one − other, or one / other, of the means over runs.

    Runs are drawn anew by pairs where both are about the same runs, or have the same seeds, each once. With a single
    run there is no interval.
    """
    a, b = one.values(runs), other.values(runs)
    order = _pairing(one.runs(runs), other.runs(runs))
    same = order is not None
    b = b[order] if same else b

    def statistic(*groups: Sequence[Array], axis: int = 0) -> Array:
        first, second = (
            (groups[0][0][..., 0], groups[0][0][..., 1]) if same else (groups[0][0], groups[1][0])
        )  # [..., runs]
        left, right = first.mean(axis), second.mean(axis)
        return left / right if ratio else left - right

    groups = [[np.stack([a, b], -1)]] if same else [[a], [b]]
    value = float(statistic(*groups))
    if min(len(a), len(b)) < 2:
        return Interval(value, float("nan"), float("nan"))
    low, high = stratified_bootstrap(statistic, *groups, level=LEVEL, replicates=REPLICATES)
    return Interval(value, float(low), float(high))


def _pairing(first: Sequence[Run], second: Sequence[Run]) -> list[int] | None:
    """Where each run of `first` has its partner in `second`."""
    ways: tuple[Callable[[Run], object], ...] = (lambda run: run.folder, lambda run: run.seed)
    for way in ways:
        left, right = [way(run) for run in first], [way(run) for run in second]
        if set(left) == set(right) and len(set(left)) == len(left) == len(right):
            return [right.index(each) for each in left]
    return None


def levels(runs: Runs, key: str, where: str | None = None) -> list[tuple[float, Runs]]:
    """The runs by the value of a numeric config key, smallest first.

    Raises `Absent` where it is no number in any run.
    """
    found: dict[float, list[Run]] = {}
    for run in picked(runs, where, key):
        value = run.get(key)
        if isinstance(value, int | float):
            found.setdefault(float(value), []).append(run)
    if not found:
        raise Absent(key, "these runs have no such number in their config")
    return [(value, runs.only(found[value])) for value in sorted(found)]
