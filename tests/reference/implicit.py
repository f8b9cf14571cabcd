"""Implicit Q-learning (Kostrikov et al. 2022, equations 5 to 7), in the authors' order: V, policy, Q, target."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Normal

from offrl.types import Batch
from tests.reference.plain import adam, polyak, q_values, smallest, step


class IQL:
    """`log_std` None means discrete actions: critics have one output an action, the policy is categorical."""

    def __init__(
        self,
        value: nn.ModuleList,
        actor: nn.ModuleList,
        critics: nn.ModuleList,
        log_std: Tensor | None,
        *,
        lr: float,
        rate: float,
        expectile: float,
        temperature: float,
        max_weight: float,
    ) -> None:
        self.value, self.actor, self.critics = value, actor, critics
        self.target_critics = copy.deepcopy(critics)
        self.log_std = None if log_std is None else nn.Parameter(log_std.clone())
        self.value_optimizer, self.critic_optimizer = (
            adam(value.parameters(), lr),
            adam(critics.parameters(), lr),
        )
        self.actor_optimizer = adam([*actor.parameters(), *([] if self.log_std is None else [self.log_std])], lr)
        self.rate, self.expectile, self.temperature, self.max_weight = (
            rate,
            expectile,
            temperature,
            max_weight,
        )

    def q(self, critics: nn.ModuleList, obs: Tensor, action: Tensor) -> list[Tensor]:
        """Q_i of the logged actions."""
        if self.log_std is None:
            return [critic(obs)[torch.arange(len(obs)), action] for critic in critics]
        return q_values(critics, obs, action)

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        """log pi(a|s), [B]."""
        outputs = self.actor[0](obs)
        if self.log_std is None:
            return Categorical(logits=outputs).log_prob(action)
        return Normal(torch.tanh(outputs), self.log_std.exp()).log_prob(action).sum(dim=1)

    def update(self, batch: Batch) -> None:
        """One step of each network."""
        with torch.no_grad():
            q = smallest(self.q(self.target_critics, batch.obs, batch.action))
        difference = q - self.value[0](batch.obs).squeeze(1)
        weight = torch.where(difference > 0, self.expectile, 1 - self.expectile)
        step(self.value_optimizer, (weight * difference**2).mean())

        with torch.no_grad():
            advantage = q - self.value[0](batch.obs).squeeze(1)
            weight = torch.clamp(torch.exp(self.temperature * advantage), max=self.max_weight)
        step(self.actor_optimizer, -(weight * self.log_prob(batch.obs, batch.action)).mean())

        with torch.no_grad():
            target = batch.reward + batch.discount * self.value[0](batch.next_obs).squeeze(1)
        errors = [((q - target) ** 2).mean() for q in self.q(self.critics, batch.obs, batch.action)]
        step(self.critic_optimizer, torch.stack(errors).sum())
        polyak(self.target_critics, self.critics, self.rate)
