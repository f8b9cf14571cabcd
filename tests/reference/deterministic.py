"""TD3 (Fujimoto et al. 2018, algorithm 1) and TD3+BC (Fujimoto & Gu 2021, equations 3 to 5)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from offrl.types import Batch
from tests.reference.plain import adam, polyak, q_values, smallest, step


class TD3:
    """`noise` is what the update draws: standard normal, [B, A]."""

    def __init__(
        self,
        actor: nn.ModuleList,
        critics: nn.ModuleList,
        *,
        lr: float,
        rate: float,
        noise_std: float,
        noise_clip: float,
        delay: int,
    ) -> None:
        self.actor, self.critics = actor, critics
        self.target_actor, self.target_critics = copy.deepcopy(actor), copy.deepcopy(critics)
        self.actor_optimizer, self.critic_optimizer = (
            adam(actor.parameters(), lr),
            adam(critics.parameters(), lr),
        )
        self.rate, self.noise_std, self.noise_clip, self.delay = rate, noise_std, noise_clip, delay
        self.updates = 0

    def update(self, batch: Batch, noise: Tensor) -> None:
        """Critics at every call, the rest at every `delay`-th."""
        with torch.no_grad():
            smoothing = torch.clamp(noise * self.noise_std, -self.noise_clip, self.noise_clip)
            next_action = torch.clamp(torch.tanh(self.target_actor[0](batch.next_obs)) + smoothing, -1, 1)
            next_q = smallest(q_values(self.target_critics, batch.next_obs, next_action))
            target = batch.reward + batch.discount * next_q
        errors = [((q - target) ** 2).mean() for q in q_values(self.critics, batch.obs, batch.action)]
        step(self.critic_optimizer, torch.stack(errors).sum())
        self.updates += 1
        if self.updates % self.delay == 0:
            step(self.actor_optimizer, self.actor_loss(batch))
            polyak(self.target_actor, self.actor, self.rate)
            polyak(self.target_critics, self.critics, self.rate)

    def actor_loss(self, batch: Batch) -> Tensor:
        """-Q_1(s, pi(s))"""
        return -q_values(self.critics, batch.obs, torch.tanh(self.actor[0](batch.obs)))[0].mean()


class TD3BC(TD3):
    """With a pull towards the logged action, and the value scaled to match."""

    alpha: float

    def actor_loss(self, batch: Batch) -> Tensor:
        """-lambda Q_1(s, pi(s)) + (pi(s) - a)^2, both averaged, the latter over dimensions too."""
        action = torch.tanh(self.actor[0](batch.obs))
        q = q_values(self.critics, batch.obs, action)[0]
        scale = self.alpha / q.abs().mean().item()
        return -scale * q.mean() + ((action - batch.action) ** 2).mean()
