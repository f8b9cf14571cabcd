"""What a reader has to know of runs before believing a comparison of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from offrl.compare.groups import Group
from offrl.compare.runs import Run, Runs
from offrl.functional.comparison import COVERED

FEW = 10  # runs of a group on a task; of fewer an interval is said to be too narrow


def about_runs(runs: Runs, usable: set[Path], failed: str) -> list[str]:
    """Those that failed (`failed`: count or leave_out), go on, or have logged nothing; `usable` are compared."""
    notes: list[str] = []
    bad = [run for run in runs if run.failed]
    if bad:
        fate = "counted by the last numbers they logged" if failed == "count" else "left out of all figures"
        notes.append(f"{len(bad)} of {len(runs)} runs failed ({_statuses(bad)}); they are {fate} and listed below.")
    unfinished = [run for run in runs if run.status in ("running", "interrupted")]
    if unfinished:
        notes.append(f"{len(unfinished)} of {len(runs)} runs have not finished ({_statuses(unfinished)}).")
    silent = [run for run in runs if not run.failed and run.folder not in usable]
    if silent:
        notes.append(
            f"{len(silent)} runs have logged nothing to compare yet: {', '.join(r.folder.name for r in silent)}."
        )
    return notes


def _statuses(runs: Sequence[Run]) -> str:
    kinds = [run.status for run in runs]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))


def _fewest(counted: dict[str, list[Run]], tasks: Sequence[str], split: bool) -> int | None:
    """The fewest runs, more than one, of a group on a task; None where there are enough of all."""
    counts = [sum(split or run.task == task for run in own) for own in counted.values() for task in tasks]
    return min((count for count in counts if 1 < count < FEW), default=None)


def about_seeds(groups: Sequence[Group], counted: dict[str, list[Run]], tasks: Sequence[str], split: bool) -> list[str]:
    """Single seeds, missing and repeated ones, and what few of them make of intervals."""
    notes: list[str] = []
    single: list[str] = []
    every = {run.seed for own in counted.values() for run in own}
    for each in groups:
        for task in tasks:
            seeds = [run.seed for run in counted[each.label] if split or run.task == task]
            where = each.label + (f" on {task}" if len(tasks) > 1 else "")
            if not seeds:
                notes.append(f"{where}: no run to compare; what is said of its tasks together leaves that one out.")
            elif len(set(seeds)) == 1:
                single.append(where)
            elif missing := sorted(every - set(seeds), key=str):
                notes.append(f"{where}: no run with seed {', '.join(map(str, missing))}.")
            if len(set(seeds)) < len(seeds):
                twice = sorted({seed for seed in seeds if seeds.count(seed) > 1}, key=str)
                again = ", ".join(map(str, twice))
                notes.append(f"{where}: seed {again} more than once; such runs are hardly independent.")
    if fewest := _fewest(counted, tasks, split):
        held = COVERED[max(count for count in COVERED if count <= fewest)]
        notes.append(
            f"There are as few as {fewest} runs of a group on a task. A bootstrap of so few is too narrow: what it "
            f"calls 95 % comes to {held} % for the mean of normally distributed scores: believe wide gaps alone."
        )
    if single:
        notes.insert(0, f"One seed proves nothing, and there are no intervals for it: {'; '.join(single)}.")
    return notes
