"""TD3+BC: TD3 on logged data, with the policy held to the logged action.

S. Fujimoto and S. S. Gu, "A Minimalist Approach to Offline Reinforcement Learning", NeurIPS 2021,
arXiv:2106.06860. Observations are normalised as the paper does (`network=mlp_normalized`). Differs from the
authors' code: normalised observations are clipped to [-10, 10] (`Normalize`); in nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch.nn import functional as F

from offrl.algos.actor_critic.td3 import TD3
from offrl.types import Batch, Experience, Loss, Network


@dataclass(eq=False, kw_only=True)
class TD3BC(TD3):
    """TD3 with behaviour cloning."""

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"dataset", "replay"})

    alpha: float  # weight of the value against cloning; 0 clones

    def actor_loss(self, actor: Network, batch: Batch) -> Loss:
        """(3), (5): climb lambda Q with lambda = alpha / mean |Q|, and stay near the logged action."""
        action = actor(batch.obs).mode()
        q = self.critic(batch.obs, action, 0)
        cloning = F.mse_loss(action, batch.action)
        loss = cloning - self.alpha / q.detach().abs().mean() * q.mean()
        return loss, {"actor/loss": loss, "actor/cloning": cloning}
