"""Learning from a dataset first, then online from the dataset and fresh experience together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from offrl.algos.base import Algorithm
from offrl.data.dataset import Dataset
from offrl.data.mixture import Mixture
from offrl.errors import UserError
from offrl.train.loop import RunContext
from offrl.train.replay import OnReplay
from offrl.types import Experience, State


@dataclass(eq=False, kw_only=True)
class OfflineToOnline(OnReplay):
    """`updates` on the dataset alone, then `steps` in the environment with mixed batches.

    A step is an update in the first phase and an environment step in the second, on one axis: evaluations go through
    both. Observation statistics are the dataset's. Online, a pre-trained policy explores from its first step; one that
    is not warms up with uniform actions.
    """

    experience: ClassVar[frozenset[Experience]] = frozenset({"dataset", "replay"})
    totals: ClassVar[tuple[str, ...]] = ("updates", "steps")

    updates: int  # of pre-training; 0: online from the start, with the data in every batch
    offline_ratio: float  # share of the dataset in an online batch

    def check(self) -> None:
        super().check()
        if not 0.0 <= self.offline_ratio <= 1.0:
            raise UserError(f"trainer.offline_ratio={self.offline_ratio} is not in [0, 1]")

    @property
    def step(self) -> int:
        return self.update - self.online_update + self.env_step

    @property
    def total(self) -> int:
        return self._pretraining + self.steps

    @property
    def _pretraining(self) -> int:
        """Updates of the first phase; what was done of them counts, once the second has begun."""
        return self.update - self.online_update if self.env_step else self.updates

    @property
    def _random_warmup(self) -> bool:
        return self.updates == 0

    def planned_updates(self, algo: Algorithm) -> int:
        return self.updates + super().planned_updates(algo)

    def begin(self, run: RunContext) -> None:
        self.online_update = 0
        super().begin(run)
        self._dataset = cast(Dataset, run.dataset)
        self._source = Mixture((self._dataset, self._replay), (self.offline_ratio, 1.0 - self.offline_ratio))
        if self._moments is not None:
            self._moments = None
            run.algo.set_obs_statistics(*self._dataset.obs_statistics())

    def advance(self, until: int) -> None:
        if self.step < self._pretraining:
            count = min(until, self._pretraining) - self.step
            self._updater.run(self._dataset, count)
            self.update += count
        if self.step < until:
            super().advance(until)

    def state(self) -> State:
        return {**super().state(), "dataset": self._dataset.state()}

    def load(self, state: State, run: RunContext) -> None:
        super().load(state, run)
        self._dataset.load(cast(State, state["dataset"]))
