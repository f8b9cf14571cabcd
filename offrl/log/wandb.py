"""Weights & Biases: the only place that knows it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from offrl.log.logger import Label, Logger, NoLogger

if TYPE_CHECKING:
    from wandb.sdk.wandb_run import Run


@dataclass(frozen=True)
class Wandb:
    """Sends every row of metrics to Weights & Biases, or keeps it in the run folder until `wandb sync`."""

    mode: Literal["offline", "online", "disabled"]
    project: str
    entity: str | None  # None: the account's own
    timeout: float  # seconds to wait for the server before going on offline

    def open(self, folder: Path, config: Mapping[str, object], label: Label) -> Logger:
        """Begin a run, or go on with the one of `label.id`. Online without a key or a network becomes offline."""
        if self.mode == "disabled":
            return NoLogger()
        from wandb.errors import Error

        try:
            return WandbLogger(self._begin(self.mode, folder, config, label))
        except Error as error:
            if self.mode == "offline":
                raise
            reason = str(error).strip().splitlines()[0]
            print(
                f"logger: Weights & Biases cannot be reached ({reason}); this run is kept offline in "
                f"{folder / 'wandb'}: `wandb login`, then `wandb sync` sends it",
                file=sys.stderr,
            )
            return WandbLogger(self._begin("offline", folder, config, label))

    def _begin(
        self, mode: Literal["offline", "online"], folder: Path, config: Mapping[str, object], label: Label
    ) -> Run:
        import wandb

        settings = wandb.Settings(
            silent=True,
            console="off",
            init_timeout=self.timeout,
            disable_git=True,
            x_save_requirements=False,
            x_disable_stats=mode == "offline",
            x_disable_meta=mode == "offline",
            reinit="create_new",  # runs that train as one are open at once
        )
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            dir=folder,
            mode=mode,
            id=label.id,
            resume="allow" if label.id else None,
            name=label.name,
            group=label.group,
            tags=label.tags,
            config=dict(config),
            settings=settings,
        )
        # A resumed run starts again from its checkpoint, so W&B's own count of rows would not match: ours is the axis.
        run.define_metric("step", hidden=True)
        run.define_metric("*", step_metric="step")
        return run


class WandbLogger:
    """An open Weights & Biases run."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @property
    def id(self) -> str | None:
        """By which the run can be resumed."""
        return self.run.id

    def log(self, row: Mapping[str, float]) -> None:
        """Keep one row."""
        self.run.log(dict(row))

    def close(self, summary: Mapping[str, object], failed: bool) -> None:
        """Keep the results and end the run."""
        for key, value in summary.items():
            self.run.summary[key] = value
        self.run.finish(exit_code=int(failed))
