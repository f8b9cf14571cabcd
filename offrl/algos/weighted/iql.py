"""Implicit Q-learning: improve on the data's policy without ever asking for the value of an action it lacks.

I. Kostrikov, A. Nair and S. Levine, "Offline Reinforcement Learning with Implicit Q-Learning", ICLR 2022,
arXiv:2110.06169. Numbers in brackets are the paper's equations. As in the authors' code, V moves first, then
the policy and Q with the new V. Differs from it: initial weights, and no cosine decay of the policy's
learning rate unless `decay_updates` says so. With discrete actions Q has one output an action and the policy
is categorical.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from offrl.algos.base import Discounted
from offrl.algos.critics import bellman_loss
from offrl.errors import UserError
from offrl.functional import weights
from offrl.functional.regression import expectile_loss
from offrl.nn.learner import Learner, Target
from offrl.nn.networks import MLP, Critics, Value
from offrl.nn.policies import Policy
from offrl.types import ActionKind, Batch, Experience, Loss, Metrics, Network, Spec


@dataclass(eq=False, kw_only=True)
class InSample(Discounted):
    """A critic, a value that stands for the best of the data's actions, and a policy that clones them by their
    advantage over it. What `value_loss` makes of "best" is the subclass's."""

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"dataset", "replay"})
    action_kinds: ClassVar[frozenset[ActionKind]] = frozenset({"continuous", "discrete"})

    temperature: float  # beta: 0 clones the data, more trusts the advantage
    max_weight: float  # cap on exp(beta A), so that no one sample owns the batch
    critics: int  # E; their minimum is used
    lr: float
    target_rate: float  # Polyak step of the lagged critics, per update
    decay_updates: int  # cosine decay of the policy's learning rate to 0 over so many updates; 0: none
    network: MLP
    policy: Policy

    def build(self, spec: Spec) -> None:
        self.value = Learner(Value(spec, self.network), self.lr)
        self.actor = Learner(self.policy.build(spec, self.network), self.lr)
        self.critic = Learner(Critics(spec, self.network, self.critics), self.lr)
        self.target_critic = Target(self.critic, self.target_rate)

    def update(self, batch: Batch) -> Metrics:
        q = self.target_critic(batch.obs, batch.action).amin(0)  # [B]
        metrics = self.value.descend(self.value_loss, batch, q)
        advantage = q - self.value(batch.obs)
        metrics |= self.actor.descend(self.actor_loss, batch, advantage)
        metrics |= self.critic.descend(self.critic_loss, batch, self.value(batch.next_obs))
        self.target_critic.track(self.critic)
        if self.decay_updates:
            self.actor.lr.copy_(self.lr * self._decay())
        return metrics

    @abstractmethod
    def value_loss(self, value: Network, batch: Batch, q: Tensor) -> Loss:
        """V regresses on the upper end of Q [B] over the data's actions."""

    def critic_loss(self, critic: Network, batch: Batch, next_value: Tensor) -> Loss:
        """(6) Q regresses on r + gamma V(s'): no action is drawn, so none is outside the data."""
        return bellman_loss(critic, batch, batch.reward + batch.discount * next_value)

    def actor_loss(self, actor: Network, batch: Batch, advantage: Tensor) -> Loss:
        """(7) clone the data's actions, each in proportion to exp(beta A)."""
        weight = weights.exponential(advantage, self.temperature, self.max_weight)
        loss = (weight * actor(batch.obs).imitation_loss(batch.action)).mean()
        return loss, {"actor/loss": loss, "actor/weight": weight.mean(), "actor/advantage": advantage.mean()}

    def _decay(self) -> Tensor:
        """Cosine from 1 to 0, by the number of steps that the policy has taken."""
        done = (self.actor.step / self.decay_updates).clamp(max=1.0)
        return 0.5 * (1.0 + torch.cos(math.pi * done))


@dataclass(eq=False, kw_only=True)
class IQL(InSample):
    """Implicit Q-learning."""

    expectile: float  # tau: 0.5 is the mean over the data's actions, 1 their maximum

    def check(self) -> None:
        super().check()
        if not 0.0 < self.expectile < 1.0:
            raise UserError(f"algo.expectile={self.expectile} is not in (0, 1)")

    def value_loss(self, value: Network, batch: Batch, q: Tensor) -> Loss:
        """(5) V regresses on an upper expectile of Q over the data's actions."""
        v = value(batch.obs)  # [B]
        loss = expectile_loss(q - v, self.expectile).mean()
        return loss, {"value/loss": loss, "value/mean": v.mean()}
