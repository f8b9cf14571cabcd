"""Soft actor-critic: maximise return and entropy, off-policy, with a learned temperature.

T. Haarnoja et al., "Soft Actor-Critic Algorithms and Applications", 2018, arXiv:1812.05905. Numbers in
brackets are that paper's equations. Differs from it: the temperature's loss uses log alpha for alpha, as the
authors' code and its followers do, and the critics, the policy and the temperature move in this order on one
batch. With many critics it is SAC-N (An et al. 2021), with `temperature_lr=0` the entropy's weight is fixed, and with
`entropy_weight=0` nothing but the return counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from offrl.algos.base import Discounted
from offrl.algos.critics import bellman_loss
from offrl.errors import UserError
from offrl.nn.learner import Learner, Target
from offrl.nn.networks import MLP, Critics
from offrl.nn.policies import TanhGaussian
from offrl.types import ActionKind, Batch, Experience, Loss, Metrics, Network, Spec


class Temperature(nn.Module):
    """alpha > 0, kept as its logarithm."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(math.log(initial)))

    def forward(self) -> Tensor:
        """log alpha, 0-d."""
        return self.log.clone()


@dataclass(eq=False, kw_only=True)
class SAC(Discounted):
    """Soft actor-critic."""

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"replay", "dataset"})
    action_kinds: ClassVar[frozenset[ActionKind]] = frozenset({"continuous"})

    lr: float  # of the critics
    actor_lr: float
    temperature_lr: float  # 0 keeps the temperature fixed
    initial_temperature: float  # alpha
    target_entropy: float  # nats for each action dimension
    entropy_weight: float  # multiplies alpha wherever it weighs the entropy: 0 is no entropy term at all
    entropy_backup: float  # share of the entropy term in the critics' target
    critics: int  # their minimum is used
    target_rate: float  # Polyak step of the lagged critics
    network: MLP
    policy: TanhGaussian

    def check(self) -> None:
        super().check()
        if self.initial_temperature <= 0.0:
            raise UserError(f"algo.initial_temperature={self.initial_temperature} must be above 0")

    def build(self, spec: Spec) -> None:
        self.actor = Learner(self.policy.build(spec, self.network), self.actor_lr)
        self.critic = Learner(self.make_critics(spec), self.lr)
        self.target_critic = Target(self.critic, self.target_rate)
        self.temperature = Learner(Temperature(self.initial_temperature), self.temperature_lr)
        self.entropy_floor = self.target_entropy * spec.action.size  # nats

    def make_critics(self, spec: Spec) -> Critics:
        """The networks that value actions."""
        return Critics(spec, self.network, self.critics)

    def update(self, batch: Batch) -> Metrics:
        alpha = self.entropy_weight * self.temperature().exp()
        metrics = self.critic.descend(self.critic_loss, batch, self.target(batch, alpha))
        metrics |= self.actor.descend(self.actor_loss, batch, alpha)
        metrics |= self.temperature.descend(self.temperature_loss, metrics["actor/entropy"])
        self.target_critic.track(self.critic)
        return metrics

    def target(self, batch: Batch, alpha: Tensor) -> Tensor:
        """(2), (3): y = r + gamma (min_i Q_i(s', a') − alpha log pi(a'|s')), a' ~ pi, [B]."""
        next_q, log_prob = self.evaluate(self.actor, self.target_critic, batch.next_obs, self.target_value)
        return batch.reward + batch.discount * (next_q - self.entropy_backup * alpha * log_prob)

    def critic_loss(self, critic: Network, batch: Batch, target: Tensor) -> Loss:
        """(5) every critic regresses on the same soft target."""
        return bellman_loss(critic, batch, target)

    def actor_loss(self, actor: Network, batch: Batch, alpha: Tensor) -> Loss:
        """(7) alpha log pi(a|s) − min_i Q_i(s, a), through the reparameterised action."""
        q, log_prob = self.evaluate(actor, self.critic, batch.obs, self.policy_value)
        loss = (alpha * log_prob - q).mean()
        return loss, {"actor/loss": loss, "actor/entropy": -log_prob.mean()}

    def temperature_loss(self, temperature: Network, entropy: Tensor) -> Loss:
        """(18) raise alpha while the entropy is below its floor."""
        log_alpha = temperature()
        loss = log_alpha * (entropy - self.entropy_floor)
        return loss, {"temperature/value": log_alpha.exp()}

    def evaluate(
        self, actor: Network, critic: Network, obs: Tensor, merge: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """(Q(s, a), log pi(a|s)), [B] each, at a reparameterised action; `merge` makes one value of the ensemble's."""
        action, log_prob = actor(obs).sample_and_log_prob()
        return merge(critic(obs, action)), log_prob

    def target_value(self, q: Tensor) -> Tensor:
        """[E, …] -> […]: the value of the critics' target."""
        return q.amin(0)

    def policy_value(self, q: Tensor) -> Tensor:
        """[E, …] -> […]: the value that the policy climbs."""
        return q.amin(0)
