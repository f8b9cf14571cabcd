"""TD3: deterministic policy gradients with twin critics, smoothed targets and a delayed policy.

S. Fujimoto, H. van Hoof and D. Meger, "Addressing Function Approximation Error in Actor-Critic Methods", ICML
2018, arXiv:1802.09477, algorithm 1. As in the authors' code the lagged networks move only when the policy
does. Differs from it: actions are scaled to [-1, 1]. With one critic, no target noise and no delay it is DDPG
(Lillicrap et al. 2016, arXiv:1509.02971).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from offrl.algos.base import Discounted
from offrl.algos.critics import bellman_loss
from offrl.errors import UserError
from offrl.functional import noise
from offrl.nn.learner import Learner, Target
from offrl.nn.networks import MLP, Critics
from offrl.nn.policies import Deterministic
from offrl.types import ActionKind, Batch, Experience, Loss, Metrics, Network, Spec


@dataclass(eq=False, kw_only=True)
class TD3(Discounted):
    """Twin delayed deterministic policy gradients."""

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"replay", "dataset"})
    action_kinds: ClassVar[frozenset[ActionKind]] = frozenset({"continuous"})

    lr: float
    critics: int  # their minimum is the target
    target_rate: float  # Polyak step of the lagged networks
    target_noise: float  # standard deviation of the noise on target actions
    target_noise_clip: float  # its bound
    policy_delay: int  # critic updates for one of the policy
    exploration_noise: float  # standard deviation of the noise on actions taken
    network: MLP
    policy: Deterministic

    def check(self) -> None:
        super().check()
        if self.policy_delay < 1:
            raise UserError(f"algo.policy_delay={self.policy_delay}: the policy moves every 1, 2, … critic updates")

    def build(self, spec: Spec) -> None:
        self.actor = Learner(self.policy.build(spec, self.network), self.lr)
        self.critic = Learner(self.make_critics(spec), self.lr)
        self.target_actor = Target(self.actor, self.target_rate)
        self.target_critic = Target(self.critic, self.target_rate)
        self.phase = 0  # critic updates since the policy last moved

    def make_critics(self, spec: Spec) -> Critics:
        """The networks that value actions."""
        return Critics(spec, self.network, self.critics)

    def update(self, batch: Batch) -> Metrics:
        metrics = self.critic.descend(self.critic_loss, batch, self.target(batch))
        self.phase = (self.phase + 1) % self.policy_delay
        if self.phase == 0:
            metrics |= self.actor.descend(self.actor_loss, batch)
            self.target_actor.track(self.actor)
            self.target_critic.track(self.critic)
        return metrics

    def target(self, batch: Batch) -> Tensor:
        """y = r + gamma min_i Q_i(s', pi(s') + clipped noise), [B]."""
        next_q = self.target_critic(batch.next_obs, self.next_action(batch.next_obs)).amin(0)
        return batch.reward + batch.discount * next_q

    def next_action(self, next_obs: Tensor) -> Tensor:
        """pi(s') + clipped noise, [B, A]: the lagged policy's action, smoothed."""
        action = self.target_actor(next_obs).mode()
        drift = noise.normal(tuple(action.shape), action) * self.target_noise
        return (action + drift.clamp(-self.target_noise_clip, self.target_noise_clip)).clamp(-1.0, 1.0)

    def critic_loss(self, critic: Network, batch: Batch, target: Tensor) -> Loss:
        """Every critic regresses on the same target."""
        return bellman_loss(critic, batch, target)

    def actor_loss(self, actor: Network, batch: Batch) -> Loss:
        """Climb the first critic."""
        loss = -self.critic(batch.obs, actor(batch.obs).mode(), 0).mean()
        return loss, {"actor/loss": loss}

    @torch.no_grad()
    def explore(self, obs: Tensor, step: int) -> Tensor:
        action = self.act(obs)
        return (action + self.exploration_noise * noise.normal(tuple(action.shape), action)).clamp(-1.0, 1.0)

    def get_extra_state(self) -> Tensor:
        """The phase, so that a resumed run delays the policy as one never stopped."""
        return torch.tensor(self.phase)

    def set_extra_state(self, state: Tensor) -> None:
        """Take up the phase again."""
        self.phase = int(state)
