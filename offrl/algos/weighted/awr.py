"""Advantage-weighted regression: two regressions, the value on λ-returns and the policy on the logged actions.

X. B. Peng, A. Kumar, G. Zhang and S. Levine, "Advantage-Weighted Regression: Simple and Scalable Off-Policy
Reinforcement Learning", 2019, arXiv:1910.00177, algorithm 1. As in the authors' code advantages are standardised before
the exponential. Differs from it: a λ-return reaches to the end of its segment, where V takes over, not to the end of
the episode; one Adam step on each network in turn, where they take hundreds of momentum steps an iteration; the
advantage is standardised over the batch, where they do so over all samples; observations and values are as they come
(`network=mlp_normalized` standardises the former, as they do), and means beyond the bounds of actions cost nothing.
Steps are not drawn uniformly: segments end at a uniform one, so that those near the end of an episode are in fewer of
them, the last in one, a step in the middle in `segment`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from offrl.algos.base import Discounted
from offrl.errors import UserError
from offrl.functional import weights
from offrl.nn.learner import Learner
from offrl.nn.networks import MLP, Value
from offrl.nn.policies import Policy
from offrl.types import ActionKind, Batch, Experience, Loss, Metrics, Network, Spec


@dataclass(eq=False, kw_only=True)
class AWR(Discounted):
    """Advantage-weighted regression. `batch_size` counts segments."""

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"dataset", "replay"})
    action_kinds: ClassVar[frozenset[ActionKind]] = frozenset({"continuous", "discrete", "multi_discrete"})

    segment: int  # consecutive steps of one episode in a row of a batch
    trace: float  # lambda of the returns: 0 is one step, 1 all the segment
    temperature: float  # 1 / beta of the paper, in standard deviations: 0 clones, more trusts the advantage
    max_weight: float  # cap on the weight
    critic_lr: float
    actor_lr: float
    network: MLP
    policy: Policy

    def check(self) -> None:
        super().check()
        if self.segment < 1 or not 0.0 <= self.trace <= 1.0:
            raise UserError(f"algo.segment={self.segment} must be at least 1, algo.trace={self.trace} in [0, 1]")

    @property
    def context(self) -> int:
        return self.segment

    def build(self, spec: Spec) -> None:
        self.value = Learner(Value(spec, self.network), self.critic_lr)
        self.actor = Learner(self.policy.build(spec, self.network), self.actor_lr)

    def update(self, batch: Batch) -> Metrics:
        rows = Batch(*(column.flatten(0, 1) if column.numel() else column for column in batch))  # [B·T, ...]
        target = self.returns(batch, rows).flatten()
        metrics = self.value.descend(self.value_loss, rows, target)
        advantage = weights.standardized(target - self.value(rows.obs), rows.mask)
        return metrics | self.actor.descend(self.actor_loss, rows, advantage)

    def returns(self, batch: Batch, rows: Batch) -> Tensor:
        """λ-returns of every step of every segment, [B, T]; steps before an episode's first are meaningless."""
        next_value = self.value(rows.next_obs).view(batch.reward.shape)
        following = next_value[:, -1]
        returns: list[Tensor] = []
        for t in reversed(range(self.segment)):
            rest = next_value[:, t] + self.trace * (following - next_value[:, t])
            following = batch.reward[:, t] + batch.discount[:, t] * rest
            returns.append(following)
        return torch.stack(returns[::-1], 1)

    def value_loss(self, value: Network, rows: Batch, target: Tensor) -> Loss:
        """(algorithm 1, line 5) V regresses on the λ-returns."""
        v = value(rows.obs)
        loss = weights.masked_mean((v - target).square(), rows.mask)
        return loss, {"value/loss": loss, "value/mean": weights.masked_mean(v, rows.mask)}

    def actor_loss(self, actor: Network, rows: Batch, advantage: Tensor) -> Loss:
        """(algorithm 1, line 6) clone the logged actions, each in proportion to exp(A / beta)."""
        weight = weights.exponential(advantage, self.temperature, self.max_weight)
        loss = weights.masked_mean(weight * actor(rows.obs).imitation_loss(rows.action), rows.mask)
        return loss, {"actor/loss": loss, "actor/weight": weights.masked_mean(weight, rows.mask)}
