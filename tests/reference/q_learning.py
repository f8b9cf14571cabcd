"""Deep Q-learning (Mnih et al. 2015; double: van Hasselt et al. 2016), and discrete CQL (Kumar et al. 2020)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from offrl.types import Batch
from tests.reference.plain import adam, polyak, step


class DQN:
    """One network with an output an action."""

    def __init__(
        self,
        critic: nn.ModuleList,
        *,
        lr: float,
        rate: float,
        period: int,
        double: bool,
        threshold: float,
        max_norm: float,
        conservative_weight: float = 0.0,
    ) -> None:
        self.critic, self.target_critic = critic, copy.deepcopy(critic)
        self.optimizer = adam(critic.parameters(), lr)
        self.rate, self.period, self.double = rate, period, double
        self.threshold, self.max_norm, self.weight = threshold, max_norm, conservative_weight
        self.updates = 0

    def target(self, row: int, batch: Batch) -> float:
        """y of one transition."""
        lagged = self.target_critic[0](batch.next_obs[row])
        chooser = self.critic[0](batch.next_obs[row]) if self.double else lagged
        return float(batch.reward[row] + batch.discount[row] * lagged[int(chooser.argmax())])

    def update(self, batch: Batch) -> None:
        """One clipped step, then the target every `period` steps."""
        with torch.no_grad():
            targets = [self.target(row, batch) for row in range(len(batch.reward))]
        losses: list[Tensor] = []
        for row, target in enumerate(targets):
            values = self.critic[0](batch.obs[row])
            q = values[int(batch.action[row])]
            huber = nn.functional.huber_loss(q, q.new_tensor(target), delta=self.threshold)
            losses.append(huber + self.weight * (values.exp().sum().log() - q))
        step(self.optimizer, torch.stack(losses).mean(), self.max_norm)
        self.updates += 1
        if self.updates % self.period == 0:
            polyak(self.target_critic, self.critic, self.rate)
