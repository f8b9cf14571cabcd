"""Small tasks whose settings stand in `benchmarks/tasks.py`, run to their end."""

from __future__ import annotations

from pathlib import Path

from benchmarks.logs import LOGS
from benchmarks.tasks import TASKS
from tests.train.kit import config, run


def reached(name: str, folder: Path) -> float:
    """The mean return of the last evaluation of a small task."""
    task = TASKS[f"small_{name}"]
    length = f"trainer.updates={task.updates}" if task.log else f"trainer.steps={task.steps}"
    steps = LOGS[task.log]() if task.log else None
    return run(folder, config(*task.ours, length), steps=steps).progress.last["return"]
