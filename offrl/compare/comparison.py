"""Groups of runs, measured alike: curves at the same steps, one score for each run, and what may be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from offrl.compare.groups import TASK_COLUMNS, Group, group, pooled
from offrl.compare.notes import about_runs, about_seeds
from offrl.compare.runs import Curve, Run, Runs
from offrl.errors import UserError

Array = NDArray[np.float64]
At = Literal["last", "best", "mean"]
Failed = Literal["leave_out", "count"]

POINTS = 100  # of an aligned curve, where the runs were not logged at the same steps
ESTIMATE = "evaluation/estimate"
PREFERRED = ("evaluation/score", "evaluation/return", ESTIMATE, "train/return")
NORMALISED = ("evaluation/score", "evaluation/success", "train/success")  # comparable from task to task


@dataclass(frozen=True)
class Aligned:
    """The curves of one group on one task at the same x."""

    x: Array  # [points]
    y: Array  # [runs, points]


@dataclass(frozen=True)
class Comparison:
    """What figures, tables and reports are made from."""

    runs: Runs
    groups: list[Group]
    keys: list[str]  # that tell the groups apart
    tasks: list[str]
    metric: str
    x: str
    at: At
    counted: dict[str, list[Run]]  # group -> runs that the figures are about
    curves: dict[tuple[str, str], Aligned]  # (group, task)
    notes: list[str] = field(default_factory=list[str])
    pivot: str | None = None  # one of the keys: its values are the columns of a table

    @property
    def comparable(self) -> bool:
        """Whether one number may speak for all tasks."""
        return len(self.tasks) == 1 or self.metric in NORMALISED

    @property
    def labels(self) -> list[str]:
        """Of the groups that have any scores."""
        return [each.label for each in self.groups if self.counted[each.label]]

    def scores(self, label: str, tasks: Sequence[str] | None = None, at: At | None = None) -> list[Array]:
        """One number a run, by task [runs]; tasks that the group lacks are left out."""
        wanted = [task for task in tasks or self.tasks if (label, task) in self.curves]
        return [_score(self.curves[label, task].y, at or self.at) for task in wanted]

    def shared_tasks(self, one: str, other: str) -> list[str]:
        """Tasks that both groups have been run on."""
        return [task for task in self.tasks if (one, task) in self.curves and (other, task) in self.curves]

    def together(self, label: str) -> tuple[Array, list[Array]] | None:
        """The group's curves on all tasks at one x; None where it lacks a task or the tasks' axes differ."""
        parts = [self.curves.get((label, task)) for task in self.tasks]
        if any(part is None for part in parts) or len({part.x[-1] for part in parts if part}) > 1:
            return None
        there = [part for part in parts if part is not None]
        x = max((part.x for part in there), key=lambda axis: (axis[0], len(axis)))
        return x, [np.array([np.interp(x, part.x, row) for row in part.y]) for part in there]


def compare(
    runs: Runs,
    by: Sequence[str] | None = None,
    metric: str | None = None,
    x: str = "step",
    at: At = "last",
    failed: Failed = "leave_out",
    pivot: str | None = None,
) -> Comparison:
    """Group, align and score.

    Raises `UserError` where there is nothing to compare: no such metric, axis or key, or no run with any number.
    """
    groups, keys = group(runs, by, pivot)
    wanted = metric or _choose(runs)
    runs.need_metric(wanted)
    runs.need_metric(x)
    split = any(key in TASK_COLUMNS for key in keys)
    notes: list[str] = []
    raw = {run.folder: runs.curve(run, wanted, x) for run in runs}
    usable = {run.folder for run in runs if len(raw[run.folder].x) and (failed == "count" or not run.failed)}
    if not usable:
        raise UserError(
            f"metric={wanted}: none of these runs ended well with such numbers (failed=count takes the others)"
        )
    tasks = ["all"] if split else list(dict.fromkeys(run.task for run in runs if run.folder in usable))
    counted = {each.label: [run for run in each.runs if run.folder in usable] for each in groups}
    curves: dict[tuple[str, str], Aligned] = {}
    for task in tasks:
        members = {label: [r for r in own if split or r.task == task] for label, own in counted.items()}
        axis = _axis([raw[run.folder] for own in members.values() for run in own], x, task, tasks, notes)
        for label, own in members.items():
            if own:
                y = np.array([np.interp(axis, *raw[run.folder]) for run in own])
                curves[label, task] = Aligned(axis, y)
    if wanted == ESTIMATE:
        notes.append("Compared are estimates by the logs that the runs learnt from: nobody has tried the policies.")
    notes = [*about_runs(runs, usable, failed), *about_seeds(groups, counted, tasks, split), *notes]
    inside = pooled(groups, runs)
    if inside:
        notes.append(f"Inside a group runs differ in {', '.join(inside)}; they are pooled as if they were repetitions.")
    return Comparison(runs, groups, keys, tasks, wanted, x, at, counted, curves, notes, pivot)


def _choose(runs: Runs) -> str:
    """The first of the preferred metrics that every run which logged anything has."""
    evaluated = [set(columns) for columns in runs.logged.values() if set(PREFERRED) & set(columns)]
    for metric in PREFERRED:
        if evaluated and all(metric in columns for columns in evaluated):
            return metric
    known = ", ".join(runs.metrics) or "nothing"
    raise UserError(f"these runs share none of {', '.join(PREFERRED)}: choose one by metric=... (logged: {known})")


def _axis(curves: Sequence[Curve], x: str, task: str, tasks: Sequence[str], notes: list[str]) -> Array:
    """Where all runs of a task are compared: up to the last x that all of them reach."""
    ends = [float(curve.x[-1]) for curve in curves]
    end = min(ends)
    if max(ends) > end * (1.0 + 1e-9) and x != "seconds":
        where = f" on {task}" if len(tasks) > 1 else ""
        notes.append(
            f"Runs{where} end between {x} {end:,.0f} and {max(ends):,.0f}: all are compared up to {end:,.0f}, "
            "the last that every one of them reached."
        )
    first = curves[0].x
    if all(len(curve.x) == len(first) and np.array_equal(curve.x, first) for curve in curves):
        return first
    shared = np.unique(np.concatenate([curve.x for curve in curves]))
    begin = min(max(float(curve.x[0]) for curve in curves), end)
    shared = shared[(shared >= begin) & (shared <= end)]
    return shared if len(shared) <= POINTS else np.linspace(begin, end, POINTS)


def _score(y: Array, at: At) -> Array:
    if at == "last":
        return y[:, -1]
    return y.max(1) if at == "best" else y.mean(1)
