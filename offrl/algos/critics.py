"""What algorithms with critics Q_i(s, a) share."""

from __future__ import annotations

from torch import Tensor

from offrl.types import Batch, Loss, Network


def bellman_loss(critic: Network, batch: Batch, target: Tensor) -> Loss:
    """Σ_i mean (Q_i(s, a) − y)²: every critic regresses on the same target y [B]."""
    q = critic(batch.obs, batch.action)  # [E, B]
    loss = (q - target).square().mean(1).sum(0)
    return loss, {"critic/loss": loss, "critic/mean": q.mean()}
