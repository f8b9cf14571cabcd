"""Solving instead of descending: whole passes over a log, or over a known MDP."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from offrl.algos.base import Algorithm, Solver
from offrl.data.dataset import Dataset
from offrl.envs.make import Env
from offrl.envs.spaces import obs_codec
from offrl.envs.tabular import Tabular
from offrl.errors import UserError
from offrl.train.loop import RunContext, Trainer
from offrl.types import Batch, Experience


@dataclass(eq=False, kw_only=True)
class Rounds(Trainer):
    """`updates` rounds, in each of which the algorithm sees all there is once and then solves. A step is a round."""

    totals: ClassVar[tuple[str, ...]] = ("updates",)

    updates: int

    @property
    def step(self) -> int:
        return self.update

    def planned_updates(self, algo: Algorithm) -> int:
        return self.updates

    def begin(self, run: RunContext) -> None:
        self._algo = cast(Solver, run.algo)
        gather = torch.compile(self._algo.gather) if run.compile else self._algo.gather
        self._gather = cast("Callable[[Batch], None]", gather)

    def advance(self, until: int) -> None:
        while self.update < until:
            self._algo.clear()
            for batch in self.everything():
                self._gather(batch)
            metrics = self._algo.solve()
            self.meter.add(metrics, dict.fromkeys(metrics, 1))
            self.update += 1

    @abstractmethod
    def everything(self) -> Iterable[Batch]:
        """All transitions, in batches."""


@dataclass(eq=False, kw_only=True)
class Solve(Rounds):
    """On every transition of a dataset."""

    experience: ClassVar[frozenset[Experience]] = frozenset({"passes"})

    n_step: int  # rewards summed before the algorithm bootstraps

    def begin(self, run: RunContext) -> None:
        super().begin(run)
        self._dataset = cast(Dataset, run.dataset)
        if run.algo.normalizes_obs:
            run.algo.set_obs_statistics(*self._dataset.obs_statistics())

    def everything(self) -> Iterable[Batch]:
        return self._dataset.passes(self._algo.batch_size)


@dataclass(eq=False, kw_only=True)
class Plan(Rounds):
    """On the MDP of a tabular environment: its transitions, weighted by their probabilities, are the data. Nothing is
    acted or drawn; the environment's time limit does not count, and the discount is the algorithm's."""

    experience: ClassVar[frozenset[Experience]] = frozenset({"model"})

    def begin(self, run: RunContext) -> None:
        super().begin(run)
        self._batch = transitions(cast(Env, run.env), run.algo.return_discount, run.device)
        if self._batch.obs.shape[1:] != run.spec.obs.shape or run.algo.normalizes_obs:
            raise UserError(
                "trainer=plan needs plain observations: no env.history, no env.wrappers, and features that do "
                "not standardise (features=one_hot, or features.normalize_obs=false)"
            )

    def everything(self) -> Iterable[Batch]:
        return [self._batch]


def transitions(recipe: Env, discount: float, device: torch.device) -> Batch:
    """Every transition that the MDP of a tabular environment can make, as one weighted batch.

    Raises `UserError` for any other environment, and for an MDP with a horizon, whose best policy depends on time.
    """
    env = recipe.make_one().unwrapped
    if not isinstance(env, Tabular) or env.mdp.horizon is not None:
        raise UserError(
            f"env={recipe.name} has no known finite MDP without a horizon: plan in env=gridworld or env=chain_walk, or "
            "learn from a log with algo=tabular_q dataset=..."
        )
    mdp, codec = env.mdp, obs_codec(env.observation_space, None)
    rows = np.stack([np.broadcast_to(codec.encode(env.observe(s)), codec.spec.shape) for s in range(mdp.states)])
    obs = torch.as_tensor(rows)
    state, action, following = (mdp.transition * ~mdp.terminal[:, None, None]).nonzero(as_tuple=True)
    edge: Any = (state, action, following)
    columns: tuple[Tensor, ...] = (
        obs[state],
        action,
        mdp.reward[edge],
        discount * ~mdp.terminal[following],
        obs[following],
    )
    return Batch(*(column.to(device) for column in columns), weight=mdp.transition[edge].to(device))
