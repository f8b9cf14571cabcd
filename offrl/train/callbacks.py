"""What happens during training beside training."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from offrl.errors import UserError
from offrl.train.checkpoint import policy_state, save, save_numbered
from offrl.train.loop import Moment, RunContext, Trainer
from offrl.train.resume import OF_A_RANK, full_state
from offrl.train.stopping import asked_to_stop

if TYPE_CHECKING:
    from tqdm import tqdm


class Diverged(UserError):
    """The numbers of the training are no longer sensible."""


class Interrupted(Exception):
    """Somebody asked the run to stop; its checkpoint is written."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"{signal.Signals(number).name} at step {step:,}")
        self.number = number


@dataclass
class Measure:
    """Reads the meters into the row: the only place where training waits for the device."""

    interval: int
    seconds: float = 0.0
    counts: tuple[int, int] = (0, 0)

    def __call__(self, moment: Moment) -> None:
        trainer, seconds = moment.trainer, moment.run.progress.seconds
        moment.row.update(trainer.read())
        elapsed = seconds - self.seconds
        if elapsed > 0:
            moment.row["rate/updates_per_second"] = (trainer.update - self.counts[0]) / elapsed
            moment.row["rate/env_steps_per_second"] = (trainer.env_step - self.counts[1]) / elapsed
        self.begin(moment.trainer, moment.run)

    def begin(self, trainer: Trainer, run: RunContext) -> None:
        """Measure rates from here on."""
        self.seconds, self.counts = run.progress.seconds, (trainer.update, trainer.env_step)


@dataclass
class Guard:
    """Stops a run whose losses or Q-values are no longer finite, or absurd."""

    interval: int
    max_q: float

    def __call__(self, moment: Moment) -> None:
        for name, value in moment.row.items():
            if not math.isfinite(value):
                self._stop(moment, f"{name} = {value} is not finite")
            if name in ("critic/mean", "value/mean") and abs(value) > self.max_q:
                self._stop(moment, f"{name} = {value:g} is beyond trainer.max_q={self.max_q:g}")

    def _stop(self, moment: Moment, fault: str) -> NoReturn:
        Record()(moment)
        give_up(moment, fault)


def give_up(moment: Moment, fault: str) -> NoReturn:
    """Save the policy, for the autopsy, and end the run. Raises `Diverged`."""
    run, step = moment.run, moment.trainer.step
    write_policy(run, run.folder.checkpoints / "diverged.pt", step)
    raise Diverged(
        f"the training diverged by step {step:,}: {fault}. Metrics and policy up to there are in "
        f"{run.folder.root}. The usual remedies: a lower algo.lr, smaller rewards, normalised observations"
    )


@dataclass
class Evaluate:
    """Evaluates the policy, and keeps the best one as checkpoints/best.pt."""

    interval: int

    def __call__(self, moment: Moment) -> None:
        run, step = moment.run, moment.trainer.step
        if run.evaluator is None:
            return
        run.algo.eval()
        summary = run.evaluator(run.policy, believer=run.algo).summary(run.evaluator.reference)
        run.algo.train()
        moment.row.update({f"evaluation/{name}": value for name, value in summary.items()})
        run.progress.last = {"step": step, **summary}
        if not run.progress.best or summary["return"] > run.progress.best["return"]:
            run.progress.best = run.progress.last
            write_policy(run, run.folder.checkpoints / "best.pt", step)


@dataclass
class Record:
    """Keeps the row that the callbacks before it have filled."""

    interval: int = 0

    def __call__(self, moment: Moment) -> None:
        if moment.row:
            trainer = moment.trainer
            counters = {"step": trainer.step, "update": trainer.update, "env_step": trainer.env_step}
            moment.run.log({**counters, "seconds": moment.run.progress.seconds, **moment.row})


@dataclass
class Checkpoint:
    """Writes everything from which the run can go on."""

    interval: int
    keep: int

    def __call__(self, moment: Moment) -> None:
        write_checkpoint(moment, self.keep)


def write_checkpoint(moment: Moment, keep: int) -> None:
    """Write the checkpoint of this step, and the metrics up to it.

    Raises `Diverged` instead where a parameter is not finite: the one before is then the last from which to go on.
    """
    trainer, run = moment.trainer, moment.run
    for name, parameter in run.algo.named_parameters():
        if not parameter.isfinite().all():
            give_up(moment, f"{name} is not finite")
    own = full_state(trainer, run)
    if run.ranks is not None:
        own["followers"] = run.ranks.gathered({key: own[key] for key in OF_A_RANK})[1:]
    if not run.writes:
        return
    run.metrics.flush()
    state = policy_state(run.algo, run.spec, run.config, trainer.step) | own
    save_numbered(run.folder.checkpoints, trainer.step, state, keep)


def write_policy(run: RunContext, path: Path, step: int) -> None:
    """Write all that acting needs, and no more."""
    if run.writes:
        save(path, policy_state(run.algo, run.spec, run.config, step))


@dataclass
class Bar:
    """A progress bar on a terminal; nothing elsewhere."""

    interval: int
    name: str
    shows: bool = True
    bar: tqdm[Any] | None = None
    shown: dict[str, str] = field(default_factory=dict[str, str])

    @contextlib.contextmanager
    def shown_from(self, trainer: Trainer) -> Generator[None]:
        """Show the bar within the block, from where the trainer is."""
        if not sys.stderr.isatty() or not self.shows:
            yield
            return
        from tqdm import tqdm

        with tqdm(total=trainer.total, initial=trainer.step, desc=self.name, unit="step", unit_scale=True) as self.bar:
            yield

    def __call__(self, moment: Moment) -> None:
        if self.bar is None:
            return
        for key in ("evaluation/score", "evaluation/return", "train/return"):
            if key in moment.row:
                self.shown[key.rpartition("/")[2] if key != "train/return" else "training"] = f"{moment.row[key]:.1f}"
        self.bar.set_postfix(self.shown, refresh=False)
        self.bar.update(moment.trainer.step - self.bar.n)


@dataclass
class Signals:
    """Turns SIGTERM and Ctrl-C into a checkpoint and a clean end; a later one ends the process at once."""

    interval: int
    keep: int
    listens: bool  # not where others listen for it: in company, and in a thread
    caught: int = 0
    listening: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> Signals:
        if self.listens and threading.current_thread() is threading.main_thread():
            self.listening.enter_context(asked_to_stop(self._note))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.listening.close()

    def _note(self, number: int) -> None:
        self.caught = number

    def __call__(self, moment: Moment) -> None:
        caught = moment.run.caught(self.caught)
        if caught:
            write_checkpoint(moment, self.keep)
            raise Interrupted(caught, moment.trainer.step)
