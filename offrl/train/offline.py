"""Learning from a fixed dataset alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from offrl.algos.base import Algorithm
from offrl.data.dataset import Dataset
from offrl.data.steps import returns
from offrl.train.loop import RunContext, Trainer
from offrl.types import Experience, State


@dataclass(eq=False, kw_only=True)
class Offline(Trainer):
    """`updates` batches drawn uniformly from the dataset. A step is an update."""

    experience: ClassVar[frozenset[Experience]] = frozenset({"dataset"})
    totals: ClassVar[tuple[str, ...]] = ("updates",)

    updates: int
    n_step: int  # rewards summed before the algorithm bootstraps

    @property
    def step(self) -> int:
        return self.update

    def planned_updates(self, algo: Algorithm) -> int:
        return self.updates

    def begin(self, run: RunContext) -> None:
        self._dataset = cast(Dataset, run.dataset)
        if run.algo.whole_episodes:
            self._dataset.only_ends()
        if run.algo.normalizes_obs:
            run.algo.set_obs_statistics(*self._dataset.obs_statistics())
        run.algo.set_earnings(float(returns(self._dataset.steps).max()), *self._dataset.reward_map)
        self._updater = run.updater(self.meter)

    def advance(self, until: int) -> None:
        self._updater.run(self._dataset, until - self.update)
        self.update = until

    def state(self) -> State:
        return {**super().state(), "dataset": self._dataset.state()}

    def load(self, state: State, run: RunContext) -> None:
        super().load(state, run)
        self._dataset.load(cast(State, state["dataset"]))
