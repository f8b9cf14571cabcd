"""QT-Opt: Q-learning with continuous actions, without a policy network; the cross-entropy method finds the maximum.

D. Kalashnikov et al., "QT-Opt: Scalable Deep Reinforcement Learning for Vision-Based Robotic Manipulation", CoRL
2018, arXiv:1806.10293, section 4. Two lagged networks value the next action, which the first of them chooses: a
running average of the moving one, and an older copy of that average. Differs from it: squared error instead of a
cross-entropy, since returns are not success probabilities here; Adam; the older copy is renewed every `lag` updates,
so it is up to so many updates old; exploration adds Gaussian noise to the action found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from offrl.algos.base import Discounted
from offrl.errors import UserError
from offrl.functional import noise
from offrl.functional.search import cross_entropy_method
from offrl.nn.learner import Learner, Target
from offrl.nn.networks import MLP, Critics
from offrl.types import ActionKind, Batch, Experience, Loss, Metrics, Network, Spec


@dataclass(eq=False, kw_only=True)
class QTOpt(Discounted):
    """Q-learning with an argmax by sampling."""

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"replay", "dataset"})
    action_kinds: ClassVar[frozenset[ActionKind]] = frozenset({"continuous"})

    lr: float
    target_rate: float  # Polyak step of the average
    lag: int  # updates between two copies of the average
    samples: int  # actions drawn in each iteration of the search
    elites: int  # the best of them, to which the next Gaussian is fitted
    iterations: int
    exploration_noise: float  # standard deviation of the noise on actions taken
    network: MLP

    def check(self) -> None:
        super().check()
        if not 1 <= self.elites <= self.samples:
            raise UserError(f"algo.elites={self.elites} must be from 1 to algo.samples={self.samples}")
        if self.iterations < 1 or self.lag < 1:
            raise UserError(f"algo.iterations={self.iterations} and algo.lag={self.lag} must be at least 1")

    def build(self, spec: Spec) -> None:
        self.size = spec.action.size
        self.critic = Learner(Critics(spec, self.network, 1), self.lr)
        self.average = Target(self.critic, self.target_rate)
        self.older = Target(cast(Any, self.average), 1.0, self.lag)

    def update(self, batch: Batch) -> Metrics:
        metrics = self.critic.descend(self.critic_loss, batch, self.target(batch))
        self.average.track(self.critic)
        self.older.track(cast(Any, self.average))  # a copy of a copy: all that it needs is a network
        return metrics

    def target(self, batch: Batch) -> Tensor:
        """y = r + gamma min_i Q̄_i(s', argmax_a Q̄_1(s', a)), [B]."""
        obs = batch.next_obs
        action = self.search(self.average, obs)
        next_q = torch.minimum(self.average(obs, action), self.older(obs, action)).squeeze(0)
        return batch.reward + batch.discount * next_q

    def critic_loss(self, critic: Network, batch: Batch, target: Tensor) -> Loss:
        """Squared temporal-difference error."""
        q = critic(batch.obs, batch.action).squeeze(0)  # [B]
        loss = (q - target).square().mean()
        return loss, {"critic/loss": loss, "critic/mean": q.mean()}

    def search(self, critic: Network, obs: Tensor) -> Tensor:
        """argmax_a Q(obs, a), nearly, [B, A]; at first any action is as likely as its opposite."""
        mean = obs.new_zeros((obs.shape[0], self.size), dtype=self.critic.lr.dtype)
        many = obs.expand(self.samples, *obs.shape).flatten(0, 1)

        def score(action: Tensor) -> Tensor:
            return critic(many, action.flatten(0, 1)).reshape(self.samples, -1)

        sizes = {"samples": self.samples, "elites": self.elites, "iterations": self.iterations}
        return cross_entropy_method(score, mean, torch.ones_like(mean), **sizes)

    @torch.no_grad()
    def act(self, obs: Tensor) -> Tensor:
        return self.search(self.critic, obs)

    @torch.no_grad()
    def explore(self, obs: Tensor, step: int) -> Tensor:
        action = self.act(obs)
        return (action + self.exploration_noise * noise.normal(tuple(action.shape), action)).clamp(-1.0, 1.0)
