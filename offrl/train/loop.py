"""The loop that every trainer shares: advance to the next thing that is due, do it, go on."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, cast

import torch

from offrl.algos.base import Algorithm
from offrl.data.dataset import Dataset
from offrl.envs.make import Env
from offrl.errors import UserError
from offrl.log.logger import Logger
from offrl.log.metrics import MetricsFile
from offrl.train.evaluator import Evaluator
from offrl.train.ranks import Ranks
from offrl.train.rundir import RunDir
from offrl.train.together import CompanyUpdater, Member
from offrl.train.updater import Meter, Updater
from offrl.types import Experience, Policy, Spec, State, remembers


@dataclass
class Progress:
    """Where a run is, beyond the state of its parts."""

    seconds: float = 0.0  # of training alone: evaluations and files are not counted
    last: dict[str, float] = field(default_factory=dict[str, float])  # evaluation, with its step
    best: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(eq=False)
class RunContext:
    """All that a trainer needs to train."""

    algo: Algorithm  # built, on the device
    spec: Spec
    env: Env | None
    dataset: Dataset | None
    evaluator: Evaluator | None
    folder: RunDir
    logger: Logger
    config: dict[str, Any]
    device: torch.device
    compile: bool
    updates_per_call: int
    seed: int
    judge: Callback | None = None  # evaluates without an environment
    member: Member | None = None  # of the company that this run trains in
    ranks: Ranks | None = None  # the devices that share this run
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self.metrics = MetricsFile(self.folder.metrics)

    @property
    def policy(self) -> Policy:
        """Who acts: the algorithm, or in company whoever asks it together with the others."""
        return self.algo if self.member is None or remembers(self.algo) else self.member

    @property
    def writes(self) -> bool:
        """Whether the files of the run are this process's to write."""
        return self.ranks is None or self.ranks.leads

    def caught(self, own: int) -> int:
        """The signal that asks this run to stop, where `own` is what it has itself seen; 0: none."""
        if self.ranks is not None:  # all stop at the same step
            return self.ranks.largest(own)
        return own or (self.member.company.caught if self.member else 0)

    def updater(self, meter: Meter) -> Updater:
        """Who has the algorithm learn, and fills `meter`."""
        if self.member is not None:
            return CompanyUpdater(self.member, meter)
        meter.average = self.ranks.average_ if self.ranks else None
        return Updater(self.algo, meter, self.compile, self.updates_per_call)

    @property
    def title(self) -> str:
        """Algorithm, environment or data, and seed."""
        place = self.env.name if self.env is not None else self.config["name"]
        return f"{type(self.algo).__name__} · {place} · seed {self.seed}"

    def log(self, row: dict[str, float]) -> None:
        """Keep one row of metrics everywhere."""
        if not self.writes:
            return
        self.metrics.log(row)
        self.logger.log(row)


@dataclass(eq=False, kw_only=True)
class Trainer(ABC):
    """One way of feeding an algorithm. Fields are its knobs, each given once in its YAML; `begin` makes the rest."""

    experience: ClassVar[frozenset[Experience]]  # what it feeds; the algorithm must be able to learn from all of it
    totals: ClassVar[tuple[str, ...]]  # the knobs that say how long, which may change when a run is resumed

    log_interval: int  # steps between two rows of metrics
    checkpoint_interval: int
    keep_checkpoints: int  # the last so many
    pulse: int  # steps between two looks at signals and the progress bar
    max_q: float  # a mean Q- or V-value beyond this, in magnitude, is divergence

    def __post_init__(self) -> None:
        self.check()
        self.update = 0
        self.env_step = 0
        self.meter = Meter()

    def check(self) -> None:
        """Raise `UserError` for knobs that make no sense."""
        for name in ("log_interval", "checkpoint_interval", "keep_checkpoints", "pulse", "n_step"):
            if getattr(self, name, 1) < 1:  # not all trainers sum rewards over steps
                raise UserError(f"trainer.{name}={getattr(self, name)} must be at least 1")
        totals = {name: cast(int, getattr(self, name)) for name in self.totals}
        if min(totals.values()) < 0 or not any(totals.values()):
            given = " and ".join(f"trainer.{name}={total}" for name, total in totals.items())
            raise UserError(f"{given} must be at least {'1' if len(totals) == 1 else '0, and one of them at least 1'}")

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return sum(cast(int, getattr(self, name)) for name in self.totals)

    @property
    @abstractmethod
    def step(self) -> int:
        """The axis of everything: how far the run is, of `total`."""

    @abstractmethod
    def planned_updates(self, algo: Algorithm) -> int:
        """Updates of the whole run, about."""

    @abstractmethod
    def begin(self, run: RunContext) -> None:
        """Make what is needed to advance from step 0."""

    @abstractmethod
    def advance(self, until: int) -> None:
        """Train until `step` is at least `until`."""

    def read(self) -> dict[str, float]:
        """Means of what happened since the last call."""
        return self.meter.read()

    def state(self) -> State:
        """All that `begin` made and `advance` moved, beside the algorithm."""
        return {"update": self.update, "env_step": self.env_step, "meter": self.meter.state()}

    def load(self, state: State, run: RunContext) -> None:
        """Go on from `state`, after `begin`."""
        self.update, self.env_step = cast(int, state["update"]), cast(int, state["env_step"])
        self.meter.load(cast(State, state["meter"]), run.device)

    def close(self) -> None:  # noqa: B027 - a trainer without environments has nothing to let go of
        """Let go of environments."""


@dataclass
class Moment:
    """A point of the run at which callbacks are called."""

    trainer: Trainer
    run: RunContext
    row: dict[str, float]  # of metrics, to be filled by one callback and kept by another
    stop: bool = False  # set by a callback, it ends the training with this moment; those after it are then due


class Callback(Protocol):
    """Something that is due whenever `step` passes a multiple of `interval`, and at the end.

    With an interval of 0 it is due whenever another one is.
    """

    @property
    def interval(self) -> int: ...

    def __call__(self, moment: Moment) -> None: ...


def fit(trainer: Trainer, run: RunContext, callbacks: Sequence[Callback]) -> None:
    """Train to the end. Callbacks that are due at the same step are called in their order."""
    intervals = [callback.interval for callback in callbacks if callback.interval]
    while trainer.step < trainer.total:
        before, start = trainer.step, time.perf_counter()
        trainer.advance(min(trainer.total, *((before // every + 1) * every for every in intervals)))
        run.progress.seconds += time.perf_counter() - start
        moment, after = Moment(trainer, run, {}), trainer.step
        for callback in callbacks:
            every = callback.interval
            if not every or after // every > before // every or after >= trainer.total or moment.stop:
                callback(moment)
        if moment.stop:
            return
