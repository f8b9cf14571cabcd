"""The one interface to whatever keeps a run's metrics outside its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Label:
    """What a logger may say about a run."""

    name: str
    group: str | None = None  # the runs of one sweep share it
    tags: tuple[str, ...] = ()
    id: str | None = None  # of the run that is resumed


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
