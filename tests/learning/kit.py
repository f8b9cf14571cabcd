"""Small tasks whose settings stand in `benchmarks/tasks.py`, run to their end."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from benchmarks.logs import LOGS
from benchmarks.tasks import TASKS
from offrl.paths import config_dir
from tests.train.kit import run


def reached(name: str, folder: Path, *more: str) -> float:
    """The mean return of the last evaluation of a small task, with `more` settings than its own."""
    task = TASKS[f"small_{name}"]
    length = f"trainer.updates={task.updates}" if task.log else f"trainer.steps={task.steps}"
    steps = LOGS[task.log]() if task.log else None
    return run(folder, whole(*task.ours, length, *more), steps=steps).progress.last["return"]


def whole(*overrides: str) -> dict[str, Any]:
    """The resolved config, what is not said at the defaults of the program."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        composed = compose("config", ["name=test", "logger=none", *overrides])
    return cast("dict[str, Any]", OmegaConf.to_container(composed, resolve=True))
