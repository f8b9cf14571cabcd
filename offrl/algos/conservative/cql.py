"""Conservative Q-learning for continuous actions: SAC whose critics are pressed down wherever the data is
silent.

A. Kumar, A. Zhou, G. Tucker and S. Levine, "Conservative Q-Learning for Offline Reinforcement Learning",
NeurIPS 2020, arXiv:2006.04779. This is CQL(H), equation 4, its integral estimated by importance sampling as
in appendix F: actions drawn uniformly, from the policy at s and from the policy at s'. Differs from the
authors' code: the weight alpha is fixed (their Lagrange form is off for locomotion), the policy is not first cloned,
and networks have two layers of 256 (`network`), theirs three. With `squared_gap` the gap itself is what should vanish:
its square is penalised, which pulls the soft maximum back up where it is below the value of the logged action.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from offrl.algos.actor_critic.sac import SAC
from offrl.functional import noise
from offrl.types import Batch, Experience, Loss, Network


@dataclass(eq=False, kw_only=True)
class CQL(SAC):
    """Conservative Q-learning, continuous actions."""

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"dataset", "replay"})
    written_is_faster: ClassVar[bool] = True  # the penalty's many rows go in blocks (offrl/nn/row_blocks.py)

    conservative_weight: float  # alpha of the paper
    squared_gap: bool  # penalise the square of the gap, not the gap as the paper does
    penalty_actions: int  # drawn from each of the three distributions, a state

    def critic_loss(self, critic: Network, batch: Batch, target: Tensor) -> Loss:
        """(4) the Bellman error, plus alpha (log ∫ exp Q(s, a) da − Q(s, a_data)) or its square."""
        sampled, log_density = self._penalty_actions(batch)  # [3n, B, A], [3n, B]
        actions = torch.cat((batch.action.unsqueeze(0), sampled))  # the data's first: one pass serves both terms
        rows = actions.shape[0]
        obs = batch.obs.expand(rows, *batch.obs.shape).flatten(0, 1)
        q = critic(obs, actions.flatten(0, 1)).unflatten(1, (rows, -1))  # [E, 1 + 3n, B]
        data_q, others = q[:, 0], self.pressed_values(q[:, 1:], batch)
        soft_maximum = (others - log_density).logsumexp(1) - math.log(others.shape[1])  # [E, B]
        gap = soft_maximum - data_q
        bellman = (data_q - target).square().mean(1).sum(0)
        loss = bellman + self.conservative_weight * (gap.square() if self.squared_gap else gap).mean(1).sum(0)
        return loss, {
            "critic/loss": loss,
            "critic/bellman": bellman,
            "critic/gap": gap.mean(),
            "critic/mean": data_q.mean(),
        }

    def pressed_values(self, q: Tensor, batch: Batch) -> Tensor:
        """The values [E, 3n, B] of the actions drawn, as the penalty sees them."""
        return q

    def _penalty_actions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Actions [3n, B, A] and the log density [3n, B] that each was drawn with."""
        count = self.penalty_actions
        shape = (count, *batch.action.shape)
        uniform = noise.uniform(shape, batch.action) * 2.0 - 1.0
        uniform_density = uniform.new_full(shape[:-1], -shape[-1] * math.log(2.0))
        here, here_density = self.actor(batch.obs).sample_and_log_prob(count)
        there, there_density = self.actor(batch.next_obs).sample_and_log_prob(count)
        return torch.cat((uniform, here, there)), torch.cat((uniform_density, here_density, there_density))
