"""Extreme Q-learning: implicit Q-learning whose value is a soft maximum, found by Gumbel regression.

D. Garg, J. Hejna, M. Geist and S. Ermon, "Extreme Q-Learning: MaxEnt RL without Entropy", ICLR 2023,
arXiv:2301.02328. The error of a maximum is Gumbel-distributed; maximum likelihood under it makes V(s) = β log
E_{a ~ data} exp(Q(s, a) / β), the value of maximum-entropy learning, without an action drawn or an entropy known. As in
the authors' code the policy has a temperature of its own. Differs from it: the rest is IQL's, so that Q regresses by
squared errors, where they take Huber's loss (δ = 20), and V has no layer norm (theirs has; `network.layer_norm` gives
it to all networks).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from offrl.algos.weighted.iql import InSample
from offrl.errors import UserError
from offrl.functional.regression import gumbel_loss
from offrl.types import Batch, Loss, Network


@dataclass(eq=False, kw_only=True)
class XQL(InSample):
    """Extreme Q-learning."""

    value_scale: float  # beta: in units of Q; large is the mean over the data's actions, small their maximum
    error_clip: float  # cut-off of the error in units of beta

    def check(self) -> None:
        super().check()
        if self.value_scale <= 0.0:
            raise UserError(f"algo.value_scale={self.value_scale} must be above 0")

    def value_loss(self, value: Network, batch: Batch, q: Tensor) -> Loss:
        """(12) V regresses on the soft maximum of Q over the data's actions."""
        v = value(batch.obs)  # [B]
        loss = gumbel_loss(q - v, self.value_scale, self.error_clip)
        return loss, {"value/loss": loss, "value/mean": v.mean()}
