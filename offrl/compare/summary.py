"""A comparison in numbers: tables of groups, of pairs and of runs."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from offrl.compare.comparison import Comparison
from offrl.compare.groups import order, say
from offrl.compare.runs import Run, Value
from offrl.functional.comparison import (
    Interval,
    interquartile_mean,
    interval,
    mean,
    median,
    optimality_gap,
    probability_of_improvement,
)

MISSING = "–"  # noqa: RUF001 (an en dash is meant)
Row = dict[str, Any]  # column -> text, number, Interval or None


@dataclass(frozen=True)
class Table:
    """Rows with one caption; `name` is that of its files."""

    name: str
    title: str
    rows: Sequence[Row]

    @property
    def columns(self) -> list[str]:
        """In the order of their first appearance."""
        return list(dict.fromkeys(key for row in self.rows for key in row))

    def csv(self) -> str:
        """One line a row; an interval takes three columns."""
        plain = [_widened(row) for row in self.rows]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in plain for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(plain)
        return text.getvalue()

    def markdown(self) -> str:
        """A pipe table."""
        lines = [self.columns, ["---"] * len(self.columns)]
        lines += [[shown(row.get(key)).replace("|", "\\|") for key in self.columns] for row in self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made."""

    level: float  # of confidence
    replicates: int
    seed: int


def group_table(comparison: Comparison, tasks: Sequence[str], target: float | None, how: Bootstrap) -> Table:
    """Scores and costs of each group on these tasks together."""
    rows = [_group_row(comparison, each.label, tasks, target, how) for each in comparison.groups]
    title = "Scores" + (f" on {tasks[0]}" if len(tasks) == 1 and len(comparison.tasks) > 1 else "")
    return Table("scores" if len(tasks) == len(comparison.tasks) else f"scores_{tasks[0]}", title, rows)


def _group_row(comparison: Comparison, label: str, tasks: Sequence[str], target: float | None, how: Bootstrap) -> Row:
    members = next(each.runs for each in comparison.groups if each.label == label)
    inside = [run for run in members if run.task in tasks or tasks == ["all"]]
    scores = comparison.scores(label, tasks)
    row: Row = {"group": label, "runs": sum(map(len, scores)), "failed": sum(run.failed for run in inside)}
    if not scores:
        return row
    make = functools.partial(interval, level=how.level, replicates=how.replicates, seed=how.seed)
    row |= {"IQM": make(interquartile_mean, scores), "median": make(median, scores), "mean": make(mean, scores)}
    if target is not None:
        row["optimality gap"] = make(functools.partial(optimality_gap, target=target), scores)
    row["last"] = float(mean(comparison.scores(label, tasks, "last")))
    row["best"] = float(mean(comparison.scores(label, tasks, "best")))
    counted = [run for run in comparison.counted[label] if run in inside]
    return row | _costs(counted)


def _costs(runs: Sequence[Run]) -> Row:
    """Medians of wall time and speed."""
    seconds = [float(run.facts["seconds"]) for run in runs if run.facts.get("seconds")]
    speeds = [run.facts["step"] / run.facts["seconds"] for run in runs if run.facts.get("seconds")]
    if not seconds:
        return {}
    return {"wall time [s]": float(np.median(seconds)), "steps/s": float(np.median(speeds))}


def pair_table(comparison: Comparison, how: Bootstrap) -> Table:
    """How likely a run of each group beats one of each other on the same task."""
    rows: list[Row] = []
    labels = comparison.labels
    for one in labels:
        for other in labels:
            if chance := improvement(comparison, one, other, how):
                rows.append({"group": one, "against": other, "P(better)": chance})
    return Table("improvement", "Probability of improvement", rows)


def improvement(comparison: Comparison, one: str, other: str, how: Bootstrap) -> Interval | None:
    """P(a run of `one` scores above a run of `other`), over the tasks that both were run on."""
    tasks = comparison.shared_tasks(one, other)
    if one == other or not tasks:
        return None
    pair = [comparison.scores(label, tasks) for label in (one, other)]
    return interval(probability_of_improvement, *pair, level=how.level, replicates=how.replicates, seed=how.seed)


def pivot_table(comparison: Comparison, key: str, tasks: Sequence[str], how: Bootstrap) -> Table:
    """IQM of groups on these tasks together: a column for each value of `key`, a row for what else tells them apart."""
    values = sorted({each.values[key] for each in comparison.groups}, key=order)
    rows: dict[str, Row] = {}
    for each in comparison.groups:
        row = rows.setdefault(
            each.without(key), {"group": each.without(key)} | {_head(key, value): None for value in values}
        )
        if scores := comparison.scores(each.label, tasks):
            cell = interval(interquartile_mean, scores, level=how.level, replicates=how.replicates, seed=how.seed)
            row[_head(key, each.values[key])] = cell
    where = f" on {tasks[0]}" if len(tasks) == 1 and len(comparison.tasks) > 1 else ""
    name = "pivot" if len(tasks) == len(comparison.tasks) else f"pivot_{tasks[0]}"
    return Table(name, f"IQM of {comparison.metric} by {key}{where}", list(rows.values()))


def _head(key: str, value: Value) -> str:
    return f"{key.rpartition('.')[2]}={say(value)}"


def run_table(comparison: Comparison) -> Table:
    """Every run, failed ones too."""
    of = {run.folder: each.label for each in comparison.groups for run in each.runs}
    rows: list[Row] = []
    for run in comparison.runs:
        curve = comparison.runs.curve(run, comparison.metric, comparison.x)
        last = {"last": float(curve.y[-1]), "best": float(curve.y.max())} if len(curve.y) else {}
        end = {f"last {comparison.x}": float(curve.x[-1])} if len(curve.y) else {}
        facts = {"group": of.get(run.folder, ""), "task": run.task, "seed": run.seed, "status": run.status}
        rows.append({"run": run.folder.name, **facts, **end, **last, **_costs([run])})
    return Table("runs", "Runs", rows)


def shown(value: object, digits: int = 3) -> str:
    """A cell as text."""
    if value is None:
        return MISSING
    if isinstance(value, Interval):
        ends = f" [{number(value.low, digits)}, {number(value.high, digits)}]" if value.known else ""
        return number(value.value, digits) + ends
    return number(value, digits) if isinstance(value, float) else str(value)


def number(value: float, digits: int = 3) -> str:
    """`digits` significant ones, thousands apart: 1,234 and 12.3 and 0.00123."""
    if not np.isfinite(value):
        return MISSING
    if value == 0.0 or 1e-3 <= abs(value) < 10.0**digits:
        return f"{value:.{digits}g}"
    return f"{value:,.0f}" if 1.0 <= abs(value) < 1e9 else f"{value:.{digits - 1}e}"


def _widened(row: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Interval):
            out |= {key: value.value, f"{key} low": value.low, f"{key} high": value.high}
        else:
            out[key] = value
    return out
