"""Learning online from a replay buffer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

from offrl.algos.base import Algorithm
from offrl.data.replay import Replay
from offrl.envs.make import Env
from offrl.errors import UserError
from offrl.train.acting import Actor
from offrl.train.loop import RunContext, Trainer
from offrl.train.statistics import RunningMoments
from offrl.types import Experience, Source, State


@dataclass(eq=False, kw_only=True)
class OnReplay(Trainer):
    """`steps` environment steps, and updates in a fixed ratio to them. A step is an environment step.

    With `network.normalize_obs` the statistics of the warm-up are used, and then frozen: Q-values of old transitions
    must not move because new ones arrive.
    """

    experience: ClassVar[frozenset[Experience]] = frozenset({"replay"})
    totals: ClassVar[tuple[str, ...]] = ("steps",)

    steps: int  # of all environments together
    warmup: int  # first steps, without updates; with uniform actions
    updates_per_step: float  # may be a fraction: 0.25 is an update every fourth step
    update_interval: int  # environment steps between two bursts of updates; the ratio holds whatever it is
    capacity: int  # transitions in the buffer
    n_step: int  # rewards summed before the algorithm bootstraps

    def check(self) -> None:
        super().check()
        for name, least in (("warmup", 0), ("updates_per_step", 0), ("update_interval", 1), ("capacity", 1)):
            if getattr(self, name) < least:
                raise UserError(f"trainer.{name}={getattr(self, name)} must be at least {least}")

    @property
    def step(self) -> int:
        return self.env_step

    def planned_updates(self, algo: Algorithm) -> int:
        return int(max(self.steps - self.warmup, 0) * self.updates_per_step)

    def begin(self, run: RunContext) -> None:
        recipe, algo, device = cast(Env, run.env), run.algo, run.device
        if not self.planned_updates(algo):
            print(f"note: trainer.warmup={self.warmup} of trainer.steps={self.steps} leaves no step with an update")
        num_envs = recipe.default_num_envs
        self._env = recipe.make(num_envs, run.seed)
        self._replay = Replay(
            run.spec,
            self.capacity,
            num_envs,
            discount=algo.return_discount,
            n_step=self.n_step,
            device=device,
            needs=algo.needs,
            context=algo.context,
            reward_map=run.dataset.reward_map if run.dataset is not None else (1.0, 0.0),  # all in one unit
        )
        self._source: Source = self._replay
        self._algo = algo
        self._actor = Actor(self._env, run.policy, device, run.seed)
        self._updater = run.updater(self.meter)
        self._moments = RunningMoments(run.spec.obs.shape) if algo.normalizes_obs else None
        self.online_update = 0

    def advance(self, until: int) -> None:
        while self.step < until:
            warm = self.env_step < self.warmup
            obs, action, seen = self._actor.step(self.env_step, random=warm and self._random_warmup)
            action = self._replay.spec.action.executed(action)
            self._replay.add(obs, action, seen.reward, seen.terminated, seen.truncated, seen.next_obs)
            self.env_step += len(obs)
            if warm and self._moments is not None:
                self._moments.add(obs)
                self._algo.set_obs_statistics(*self._moments.statistics())
            due = self._due()
            if due:
                self._updater.run(self._source, due)
                self.online_update += due
                self.update += due

    @property
    def _random_warmup(self) -> bool:
        """Whether the first actions are uniform, or the policy's."""
        return True

    def _due(self) -> int:
        """Updates owed by now: rounded over the whole run, so that no fraction is lost."""
        beyond = self.env_step - self.warmup
        if beyond <= 0 or beyond % self.update_interval >= self._env.num_envs:
            return 0
        owed = math.floor(beyond * self.updates_per_step + 1e-6) - self.online_update
        return owed - owed % max(self._updater.per_call, 1)  # a compiled graph holds so many at once

    def read(self) -> dict[str, float]:
        return super().read() | self._actor.read()

    def state(self) -> State:
        moments = self._moments.state() if self._moments else None
        parts = {"replay": self._replay.state(), "actor": self._actor.state(), "moments": moments}
        return {**super().state(), **parts, "online_update": self.online_update}

    def load(self, state: State, run: RunContext) -> None:
        super().load(state, run)
        self.online_update = cast(int, state["online_update"])
        self._replay.load(cast(State, state["replay"]))
        if not self._actor.load(cast(State, state["actor"])):
            self._replay.cut()  # what was added last has no successor in the new episodes
        if self._moments is not None:
            self._moments.load(cast(State, state["moments"]))

    def close(self) -> None:
        self._env.close()
