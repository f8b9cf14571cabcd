"""Learning online from fresh rollouts, each thrown away after use."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from offrl.algos.base import Algorithm, OnPolicy
from offrl.envs.make import Env
from offrl.functional import noise
from offrl.train.acting import Actor
from offrl.train.loop import RunContext, Trainer
from offrl.train.statistics import RewardScaler, RunningMoments
from offrl.types import Batch, Episode, Experience, Rollout, State


@dataclass(eq=False, kw_only=True)
class OnRollouts(Trainer):
    """`steps` environment steps, in rollouts of `algo.horizon` steps of every environment, or, for an algorithm that
    learns from `whole_episodes`, until each has played one episode from its start.

    A step is an environment step. With `network.normalize_obs` the statistics are of all observations so far, and move
    only between two rollouts; the first rollout is not normalised. The last rollout may overshoot `steps`: it is never
    shorter than the others.
    """

    experience: ClassVar[frozenset[Experience]] = frozenset({"rollout"})
    totals: ClassVar[tuple[str, ...]] = ("steps",)

    steps: int  # of all environments together
    reward_scaling: bool  # learn from rewards divided by the running deviation of the discounted return

    @property
    def step(self) -> int:
        return self.env_step

    def planned_updates(self, algo: Algorithm) -> int:
        return self.steps * cast(OnPolicy, algo).epochs // algo.batch_size

    def begin(self, run: RunContext) -> None:
        recipe = cast(Env, run.env)
        self._algo, self._device, self._seed = cast(OnPolicy, run.algo), run.device, run.seed
        self._env = recipe.make(recipe.default_num_envs, run.seed)
        self._actor = Actor(self._env, run.policy, run.device, run.seed)
        self._updater = run.updater(self.meter)
        self._moments = RunningMoments(run.spec.obs.shape) if run.algo.normalizes_obs else None
        self._scaler = RewardScaler(self._env.num_envs, run.algo.return_discount) if self.reward_scaling else None

    def advance(self, until: int) -> None:
        while self.env_step < until:
            self._algo.anneal(self.env_step / self.total)
            if self._moments is not None and self._moments.count:
                self._algo.set_obs_statistics(*self._moments.statistics())
            batch = self._algo.prepare(self._collect())
            for _ in range(self._algo.epochs):
                self._epoch(batch)

    def _collect(self) -> Rollout:
        """One rollout, on the device. Rewards may be scaled in it; the reported returns are the raw ones, of whole
        episodes those that are learned from, also where `algo.horizon` cut them.
        """
        rows: list[Rollout] = []
        whole, over = self._algo.whole_episodes, torch.zeros(self._env.num_envs, dtype=torch.bool)
        earned = torch.zeros(self._env.num_envs)
        if whole:
            entropy = np.random.SeedSequence([self._seed, self.env_step])
            self._actor.restart(int(entropy.generate_state(1)[0]))
        while len(rows) < self._algo.horizon and not (whole and over.all()):
            obs, action, seen = self._actor.step(self.env_step, counted=~over if whole else None)
            rows.append(Rollout(obs, action, seen.reward, seen.terminated, seen.truncated, seen.next_obs))
            self.env_step += len(obs)
            if whole:
                earned += seen.reward
                over |= seen.terminated | seen.truncated
        if whole:
            cut = (~over).nonzero().flatten().tolist()
            self._actor.finished += [Episode(env, float(earned[env]), len(rows), None) for env in cut]
        rollout = Rollout(*(torch.stack(column) for column in zip(*rows, strict=True)))
        if self._moments is not None:
            self._moments.add(rollout.obs.flatten(0, 1))
        if self._scaler is not None:
            reward = self._scaler(rollout.reward, rollout.terminated | rollout.truncated)
            rollout = rollout._replace(reward=reward)
        return Rollout(*(self._filled(column) for column in rollout))

    def _filled(self, column: Tensor) -> Tensor:
        """[T, N, ...] -> [horizon, N, ...] on the device: zero behind the end of whole episodes."""
        missing = self._algo.horizon - len(column)
        column = torch.cat((column, column.new_zeros(missing, *column.shape[1:]))) if missing else column
        return column.to(self._device)

    def _epoch(self, batch: Batch) -> None:
        """One pass over the rows in random order; the last minibatch holds what is left."""
        order = noise.permutation(len(batch.reward), batch.reward)
        # One gather, then views; an absent column stays absent.
        columns = [column[order].split(self._algo.batch_size) if column.numel() else repeat(column) for column in batch]
        for rows in zip(*columns, strict=False):
            self._updater.learn(Batch(*rows))
            self.update += 1

    def read(self) -> dict[str, float]:
        return super().read() | self._actor.read()

    def state(self) -> State:
        extra = {name: part.state() for name, part in (("moments", self._moments), ("scaler", self._scaler)) if part}
        return {**super().state(), "actor": self._actor.state(), **extra}

    def load(self, state: State, run: RunContext) -> None:
        super().load(state, run)
        self._actor.load(cast(State, state["actor"]))
        for name, part in (("moments", self._moments), ("scaler", self._scaler)):
            if part is not None:
                part.load(cast(State, state[name]))

    def close(self) -> None:
        self._env.close()
