"""SAC (Haarnoja et al. 2018b) and CQL(H) (Kumar et al. 2020, equation 4 and appendix F)."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from offrl.types import Batch
from tests.reference.plain import adam, polyak, q_values, smallest, step


class Noise(NamedTuple):
    """What one update draws; the last three are CQL's (n = 0 for SAC)."""

    next_action: Tensor  # standard normal, [B, A]
    action: Tensor  # standard normal, [B, A]
    uniform: Tensor  # in [-1, 1], [n, B, A]
    here: Tensor  # standard normal, [n, B, A]
    there: Tensor


class SAC:
    """Critics first, then policy and temperature on what the policy drew."""

    def __init__(
        self,
        actor: nn.ModuleList,
        critics: nn.ModuleList,
        *,
        lr: float,
        actor_lr: float,
        temperature_lr: float,
        rate: float,
        initial_temperature: float,
        target_entropy: float,
        entropy_backup: float,
    ) -> None:
        self.actor, self.critics, self.target_critics = actor, critics, copy.deepcopy(critics)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(initial_temperature)))
        self.actor_optimizer = adam(actor.parameters(), actor_lr)
        self.critic_optimizer = adam(critics.parameters(), lr)
        self.alpha_optimizer = adam([self.log_alpha], temperature_lr)
        self.rate, self.target_entropy, self.entropy_backup = rate, target_entropy, entropy_backup

    def draw(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """a = tanh(mu + sigma noise), and its log density with the change of variables written out."""
        mean, log_std = self.actor[0](obs).chunk(2, dim=-1)
        normal = Normal(mean, log_std.clamp(-20, 2).exp())
        raw = normal.mean + normal.stddev * noise
        action = torch.tanh(raw)
        log_prob = normal.log_prob(raw) - torch.log((1 - action) * (1 + action))
        return action, log_prob.sum(dim=-1)

    def update(self, batch: Batch, noise: Noise) -> None:
        """One step of each network."""
        alpha = self.log_alpha.exp().item()
        with torch.no_grad():
            next_action, next_log_prob = self.draw(batch.next_obs, noise.next_action)
            next_q = smallest(q_values(self.target_critics, batch.next_obs, next_action))
            target = batch.reward + batch.discount * (next_q - self.entropy_backup * alpha * next_log_prob)
        step(self.critic_optimizer, self.critic_loss(batch, target, noise))

        action, log_prob = self.draw(batch.obs, noise.action)
        step(
            self.actor_optimizer,
            (alpha * log_prob - smallest(q_values(self.critics, batch.obs, action))).mean(),
        )
        step(self.alpha_optimizer, -(self.log_alpha * (log_prob.detach() + self.target_entropy)).mean())
        polyak(self.target_critics, self.critics, self.rate)

    def critic_loss(self, batch: Batch, target: Tensor, noise: Noise) -> Tensor:
        """Sum over critics of the mean squared Bellman error."""
        return torch.stack([((q - target) ** 2).mean() for q in q_values(self.critics, batch.obs, batch.action)]).sum()


class CQL(SAC):
    """With the conservative term on actions from three distributions, each score less its log density."""

    weight: float

    def critic_loss(self, batch: Batch, target: Tensor, noise: Noise) -> Tensor:
        """The Bellman error plus weight (log sum exp - Q of the data), critic by critic, action by action."""
        loss = super().critic_loss(batch, target, noise)
        with torch.no_grad():
            proposals = [(a, torch.full((len(a),), -a.shape[1] * math.log(2.0))) for a in noise.uniform]
            proposals += [self.draw(batch.obs, eps) for eps in noise.here]
            proposals += [self.draw(batch.next_obs, eps) for eps in noise.there]
        data = q_values(self.critics, batch.obs, batch.action)
        scores = [[q - density for q in q_values(self.critics, batch.obs, a)] for a, density in proposals]
        for i, q in enumerate(data):
            total = torch.stack([score[i].exp() for score in scores]).sum(dim=0)
            loss = loss + self.weight * (total.log() - q).mean()
        return loss
