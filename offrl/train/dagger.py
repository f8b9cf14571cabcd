"""Learning from an expert who says what to do in the states that the learner comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from offrl.algos.base import Algorithm
from offrl.data.aggregate import Aggregate
from offrl.envs.make import Env
from offrl.errors import UserError
from offrl.train.acting import Actor
from offrl.train.control import Control, Situation, discrepancy
from offrl.train.experts import Expert, load_expert
from offrl.train.loop import RunContext, Trainer
from offrl.train.statistics import RunningMoments
from offrl.types import Experience, State


class Shared:
    """A policy of two: the learner and the expert, one of whom acts."""

    def __init__(self, algo: Algorithm, expert: Expert, control: Control, num_envs: int) -> None:
        self.algo, self.expert, self.control = algo, expert, control
        self.iteration: int | None = None  # None: before the first, while the expert acts alone
        self.acting = torch.zeros(num_envs, dtype=torch.bool)
        self.held = torch.zeros(num_envs, dtype=torch.int64)
        self.label = torch.empty(0)  # what the expert said last
        self.switches = 0  # changes of control within an episode, since somebody asked
        self.apart = torch.zeros(())  # sum over steps of the discrepancy of expert and learner
        self._fresh = torch.ones(num_envs, dtype=torch.bool)  # at the first step of an episode

    def act(self, obs: Tensor) -> Tensor:
        """The learner's."""
        return self.algo.act(obs)

    def explore(self, obs: Tensor, step: int) -> Tensor:
        """Ask both, and let one of them act."""
        here = obs.cpu()
        self.label = self.expert.act(here)
        learner = self.algo.act(obs).cpu()
        if self.iteration is None:
            acting = torch.ones_like(self.acting)
        else:
            now = Situation(here, learner, self.label, self.acting, self.held, self.iteration, self.algo)
            acting = self.control.expert_acts(now)
        self.switches += int(((acting != self.acting) & ~self._fresh).sum())
        self.apart += discrepancy(learner, self.label).sum()
        self.held = torch.where(acting, self.held + 1, 0)
        self.acting, self._fresh = acting, torch.zeros_like(acting)
        return torch.where(acting.view(-1, *(1,) * (learner.dim() - 1)), self.label, learner)

    def restart(self, envs: Sequence[int]) -> None:
        """New episodes begin: nobody has acted in them yet."""
        if envs:
            self.expert.restart(envs)
            ended = torch.zeros_like(self._fresh)
            ended[list(envs)] = True
            self.acting, self.held, self._fresh = (
                self.acting & ~ended,
                torch.where(ended, 0, self.held),
                self._fresh | ended,
            )

    def state(self) -> State:
        """Who acts, and what is not reported yet."""
        who = {"acting": self.acting.clone(), "held": self.held.clone(), "fresh": self._fresh.clone()}
        return {**who, "switches": self.switches, "apart": self.apart.clone(), "expert": self.expert.state()}

    def load(self, state: State) -> None:
        """Go on from `state`."""
        self.acting, self.held, self._fresh, self.apart = (
            cast(Tensor, state[name]) for name in ("acting", "held", "fresh", "apart")
        )
        self.switches = cast(int, state["switches"])
        self.expert.load(cast(State, state["expert"]))


@dataclass(eq=False, kw_only=True)
class DAgger(Trainer):
    """Iterations of `iteration_steps` environment steps, after each of which the learner makes
    `updates_per_iteration` updates on all that the expert has labelled. A step is an environment step.

    S. Ross, G. Gordon and D. Bagnell, AISTATS 2011, arXiv:1011.0686, algorithm 3.1; `control` says who acts. Differs
    from it: the learner goes on from its weights instead of beginning anew, and nothing chooses the best iteration but
    the evaluations (`checkpoints/best.pt`). All that happened, with who acted, is left in `aggregate.npz`. With
    `network.normalize_obs` the statistics are those of all states so far.
    """

    experience: ClassVar[frozenset[Experience]] = frozenset({"expert"})
    totals: ClassVar[tuple[str, ...]] = ("steps",)

    steps: int  # of all environments together
    warmup: int  # first steps, in which the expert acts alone; they are an iteration of their own
    iteration_steps: int  # environment steps between two trainings
    updates_per_iteration: int
    capacity: int  # steps that are kept: all of them
    expert: str  # scripted, module:name of a controller, or a run folder
    expert_checkpoint: str  # of a run folder: last, best, or the name of a file in checkpoints/
    control: Control

    def check(self) -> None:
        super().check()
        if self.iteration_steps < 1 or self.updates_per_iteration < 1 or self.warmup < 0:
            raise UserError("trainer.iteration_steps and trainer.updates_per_iteration must be ≥ 1, trainer.warmup ≥ 0")
        if self.capacity < self.steps:
            raise UserError(
                f"trainer.capacity={self.capacity} cannot hold trainer.steps={self.steps}, and DAgger forgets nothing: "
                "raise trainer.capacity"
            )

    @property
    def step(self) -> int:
        return self.env_step

    def planned_updates(self, algo: Algorithm) -> int:
        return self.steps // self.iteration_steps * self.updates_per_iteration

    def begin(self, run: RunContext) -> None:
        recipe, algo = cast(Env, run.env), run.algo
        self.control.check(algo, self.warmup)
        num_envs = recipe.default_num_envs
        expert = load_expert(self.expert, self.expert_checkpoint, recipe, run.spec, num_envs, run.seed)
        self._env = recipe.make(num_envs, run.seed)
        self._data = Aggregate(run.spec, self.capacity + num_envs, num_envs, run.device)
        self._shared = Shared(algo, expert, self.control, num_envs)
        self._actor = Actor(self._env, self._shared, run.device, run.seed)
        self._updater = run.updater(self.meter)
        self._moments = RunningMoments(run.spec.obs.shape) if algo.normalizes_obs else None
        self._record = run.folder.root / "aggregate.npz"
        self._shares = torch.zeros(3)  # steps, those by the expert, labels, since the last row of metrics
        expert.restart(range(num_envs))

    def advance(self, until: int) -> None:
        while self.step < until:
            before = self._iterations()
            self._act()
            due = self.updates_per_iteration * (self._iterations() - before)
            if due and len(self._data):
                if self._moments is not None:
                    self._shared.algo.set_obs_statistics(*self._moments.statistics())
                self._updater.run(self._data, due)
                self.update += due
        if self.step >= self.total:
            self._data.write(self._record)

    def _act(self) -> None:
        """One step of every environment."""
        shared, warm = self._shared, self.env_step < self.warmup
        shared.iteration = None if warm else self._iterations() - (self.warmup > 0)
        obs, taken, seen = self._actor.step(self.env_step)
        by_expert = shared.acting
        labelled = torch.ones_like(by_expert) if self.control.labels_all else by_expert
        outcome = (seen.reward, seen.terminated, seen.truncated, seen.next_obs)
        self._data.add(obs, shared.label, taken, by_expert, labelled, outcome)
        self._shares += torch.stack([torch.tensor(len(obs)), by_expert.sum(), labelled.sum()])
        if self._moments is not None:
            self._moments.add(obs)
        self.env_step += len(obs)
        shared.restart([episode.env for episode in seen.finished])

    def _iterations(self) -> int:
        """Iterations that are over; the last one may be shorter."""
        beyond = max(self.env_step - self.warmup, 0)
        whole = (self.env_step >= self.warmup > 0) + beyond // self.iteration_steps
        return whole + (self.env_step >= self.total and beyond % self.iteration_steps > 0)

    def read(self) -> dict[str, float]:
        row = super().read() | self._actor.read()
        steps, by_expert, labels = (float(share) for share in self._shares)
        if steps:
            row["control/expert_share"] = by_expert / steps
            row["control/labels"] = labels
            row["control/switches"] = float(self._shared.switches)
            row["control/discrepancy"] = float(self._shared.apart) / steps
        self._shares, self._shared.switches, self._shared.apart = torch.zeros(3), 0, torch.zeros(())
        return row

    def state(self) -> State:
        parts = {"data": self._data.state(), "actor": self._actor.state(), "shared": self._shared.state()}
        moments = self._moments.state() if self._moments else None
        return {**super().state(), **parts, "moments": moments, "shares": self._shares.clone()}

    def load(self, state: State, run: RunContext) -> None:
        super().load(state, run)
        self._data.load(cast(State, state["data"]))
        self._shared.load(cast(State, state["shared"]))
        self._shares = cast(Tensor, state["shares"])
        if self._moments is not None:
            self._moments.load(cast(State, state["moments"]))
        if not self._actor.load(cast(State, state["actor"])):
            self._data.cut()  # what was added last has no successor in the new episodes
            self._shared.restart(range(self._env.num_envs))

    def close(self) -> None:
        self._env.close()
