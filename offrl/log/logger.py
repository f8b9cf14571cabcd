"""The one interface to whatever keeps a run's metrics outside its folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Label:
    """What a logger may say about a run."""

    name: str
    group: str | None = None  # runs that differ in their seeds alone share it
    tags: tuple[str, ...] = ()
    id: str | None = None  # of the run that is resumed


def sweep_group(folder: Path) -> str:
    """The group of a run in a sweep's folder: the sweep, and what this run varies beside its seed.

    `2026-01-01/3_algo.lr-0.1_seed-2` and `2026-01-01/4_algo.lr-0.1_seed-3` are of the group `2026-01-01 algo.lr-0.1`.
    """
    varied = re.sub(r"(^|_)seed-\d+(?=_|$)", "", re.sub(r"^\d+_", "", folder.name))
    return f"{folder.parent.name} {varied.strip('_')}".strip()


class Logger(Protocol):
    """Takes rows of metrics."""

    @property
    def id(self) -> str | None:
        """By which the run can be resumed; None where the logger has no such thing."""
        ...

    def log(self, row: Mapping[str, float]) -> None:
        """Keep one row; it carries the counters `step`, `update`, `env_step` and `seconds`."""
        ...

    def close(self, summary: Mapping[str, object], failed: bool) -> None:
        """Keep the results and end."""
        ...


class LoggerRecipe(Protocol):
    """What a `logger` node builds."""

    def open(self, folder: Path, config: Mapping[str, object], label: Label) -> Logger:
        """Begin (or go on with) the run that lives in `folder`."""
        ...


@dataclass(frozen=True)
class NoLogger:
    """Keeps nothing: the run's own metrics file is enough."""

    id: None = None

    def open(self, folder: Path, config: Mapping[str, object], label: Label) -> Logger:
        """Nothing to open."""
        del folder, config, label
        return self

    def log(self, row: Mapping[str, float]) -> None:
        """Nothing to keep."""

    def close(self, summary: Mapping[str, object], failed: bool) -> None:
        """Nothing to end."""
