"""PPO (Schulman et al. 2017, equations 7 and 9) with advantages by Schulman et al. 2016, equation 16."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Normal

from offrl.types import Batch, Rollout
from tests.reference.plain import adam, step


def advantages(rollout: Rollout, value: Tensor, next_value: Tensor, discount: float, trace: float) -> Tensor:
    """The sum of discounted errors written as such, [T, N]: quadratic in T, and hard to get wrong."""
    steps, envs = rollout.reward.shape
    result = torch.zeros_like(rollout.reward)
    for n in range(envs):
        for t in range(steps):
            for k in range(t, steps):
                future = 0.0 if rollout.terminated[k, n] else discount * next_value[k, n]
                error = rollout.reward[k, n] + future - value[k, n]
                result[t, n] += (discount * trace) ** (k - t) * error
                if rollout.terminated[k, n] or rollout.truncated[k, n]:
                    break
    return result


class PPO:
    """`log_std` None means discrete actions."""

    def __init__(
        self,
        actor: nn.ModuleList,
        value: nn.ModuleList,
        log_std: Tensor | None,
        *,
        lr: float,
        clip: float,
        value_weight: float,
        entropy_weight: float,
        max_norm: float,
    ) -> None:
        self.actor, self.value = actor, value
        self.log_std = None if log_std is None else nn.Parameter(log_std.clone())
        spread = [] if self.log_std is None else [self.log_std]
        self.optimizer = adam([*actor.parameters(), *spread, *value.parameters()], lr, eps=1e-5)
        self.clip, self.value_weight, self.entropy_weight, self.max_norm = (
            clip,
            value_weight,
            entropy_weight,
            max_norm,
        )

    def log_prob_and_entropy(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Of the present policy, [B] each."""
        outputs = self.actor[0](obs)
        if self.log_std is None:
            chances = Categorical(logits=outputs)
            return chances.log_prob(action), chances.entropy()
        normal = Normal(outputs, self.log_std.exp())
        return normal.log_prob(action).sum(dim=1), normal.entropy().sum(dim=1)

    def update(self, batch: Batch) -> None:
        """One step on one minibatch."""
        advantage = batch.advantage
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        log_prob, entropy = self.log_prob_and_entropy(batch.obs, batch.action)
        ratio = torch.exp(log_prob) / torch.exp(batch.log_prob)
        surrogates = [
            min(r * a, torch.clamp(r, 1 - self.clip, 1 + self.clip) * a) for r, a in zip(ratio, advantage, strict=True)
        ]
        value_error = ((self.value[0](batch.obs).squeeze(1) - batch.value_target) ** 2).mean()
        objective = (
            torch.stack(surrogates).mean() - self.value_weight * value_error + self.entropy_weight * entropy.mean()
        )
        step(self.optimizer, -objective, self.max_norm)
