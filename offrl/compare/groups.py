"""Which runs belong together: found from what differs between their configs, or as the user says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from offrl.build import did_you_mean
from offrl.compare.runs import COLUMNS, Run, Runs, Value
from offrl.errors import UserError

# Keys that say how a run was watched or called, not what it did. Those of the task are looked at apart.
_ASIDE = re.compile(r"(seed|name|tags|run|resume|dry_run|job)$|(logger|evaluation|lecture|hardware)\.")
_TASK = re.compile(r"(env|dataset)\.")
TASK_COLUMNS = ("env", "dataset", "task")


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed and their task alone."""

    label: str
    values: Mapping[str, Value]  # of the keys that tell the groups apart
    runs: tuple[Run, ...]

    def without(self, key: str) -> str:
        """The label, but for one of the keys."""
        return named({own: value for own, value in self.values.items() if own != key})


def differing(runs: Runs) -> list[str]:
    """Every key in which runs differ, but for seeds and for what comes with another task; `algo` first."""
    keys = [key for key in runs.keys if not _ASIDE.match(key) and _varies(runs, key) and not _follows_seed(runs, key)]
    own = [key for key in keys if not _TASK.match(key) or _varies_within_tasks(runs, key)]
    return [*(["algo"] if _varies(runs, "algo") else []), *sorted(own, key=lambda key: (key.count("."), key))]


def telling(runs: Runs, keys: Sequence[str]) -> list[str]:
    """As few of `keys`, in their order, as tell apart all that `keys` tell apart."""
    chosen: list[str] = []
    all_kinds, kinds = len(_kinds(runs, keys)), 1
    for key in keys:
        if kinds < all_kinds and len(_kinds(runs, [*chosen, key])) > kinds:
            chosen.append(key)
            kinds = len(_kinds(runs, chosen))
    return chosen


def group(runs: Runs, by: Sequence[str] | None, pivot: str | None = None) -> tuple[list[Group], list[str]]:
    """The groups, and the keys that tell them apart: `by`, or the fewest that do, and `pivot`.

    Raises `UserError` for a key that no run has.
    """
    known = {*COLUMNS, *runs.keys}
    for word, key in [*(("by", key) for key in by or ()), *([("pivot", pivot)] if pivot else [])]:
        if key not in known:
            raise UserError(f"{word}={key}: no run has that config key{did_you_mean(key, known)}")
    started = Runs(tuple(run for run in runs if run.config), runs.logged)
    keys = list(by) if by is not None else telling(started, differing(started))
    keys += [pivot] if pivot and pivot not in keys else []
    groups: dict[tuple[Value, ...], list[Run]] = {}
    for run in started:
        groups.setdefault(tuple(run.get(key) for key in keys), []).append(run)
    common = next((run.algo for run in started), "runs") or "runs"
    made = [
        Group(named(dict(zip(keys, kind, strict=True))) or common, dict(zip(keys, kind, strict=True)), tuple(members))
        for kind, members in groups.items()
    ]
    return sorted(made, key=lambda each: [order(value) for value in each.values.values()]), keys


def pooled(groups: Iterable[Group], runs: Runs) -> list[str]:
    """Keys that differ even inside a group: its runs are no repetitions of each other."""
    found: dict[str, None] = {}
    for each in groups:
        found.update(dict.fromkeys(differing(runs.only(each.runs))))
    return list(found)


def say(value: Value) -> str:
    """A config value as a person would write it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _varies(runs: Runs, key: str) -> bool:
    return len({run.get(key) for run in runs}) > 1


def _varies_within_tasks(runs: Runs, key: str) -> bool:
    return any(_varies(runs.only([run for run in runs if run.task == task]), key) for task in {r.task for r in runs})


def _follows_seed(runs: Runs, key: str) -> bool:
    return all(run.get(key) == run.seed for run in runs)


def _kinds(runs: Runs, keys: Sequence[str]) -> set[tuple[Value, ...]]:
    return {tuple(run.get(key) for key in keys) for run in runs}


def _short(keys: Sequence[str]) -> list[str]:
    """`trainer.n_step` as `n_step`, where that names no other."""
    lasts = [key.rpartition(".")[2] for key in keys]
    return [last if lasts.count(last) == 1 else key for key, last in zip(keys, lasts, strict=True)]


def named(values: Mapping[str, Value]) -> str:
    """Values of config keys as a person would name them: `SAC, n_step=3`."""
    parts = [
        say(value) if key in COLUMNS and key != "seed" else f"{short}={say(value)}"
        for (key, value), short in zip(values.items(), _short(list(values)), strict=True)
        if value is not None and value != ""
    ]
    return ", ".join(parts)


def order(value: Value) -> tuple[bool, float, str]:
    """To sort by: numbers by size before texts by letter."""
    number = isinstance(value, int | float)
    return (not number, float(value) if number else 0.0, "" if number else str(value))
