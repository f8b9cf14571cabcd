"""EDAC: many critics whose minimum is taken, kept apart by making their slopes in the action disagree.

G. An, S. Moon, J.-H. Kim and H. O. Song, "Uncertainty-Based Offline Reinforcement Learning with Diversified
Q-Ensemble", NeurIPS 2021, arXiv:2110.01548, algorithm 1. Without the diversity term it is SAC-N (`algo=sac_n`), which
needs many more critics. The authors' code takes equation 4 over min(E, A) critics drawn anew, for A numbers in an
action, and eta is tuned for that: here it is the mean over all such draws, which is equation 4 over all E times
min(E, A) / E. With A = 1 two slopes agree or oppose, whatever their size: there eta has no effect (the authors' code
divides by 0), and this is SAC-N. Differs from that code: no draw, and policy and temperature move after the critics,
not before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.func import grad

from offrl.algos.actor_critic.sac import SAC
from offrl.errors import UserError
from offrl.functional.ensembles import gradient_alignment
from offrl.types import Batch, Experience, Loss, Network, Spec


@dataclass(eq=False, kw_only=True)
class EDAC(SAC):
    """Ensemble-diversified actor-critic."""

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"dataset", "replay"})

    diversity_weight: float  # eta of the paper

    def check(self) -> None:
        super().check()
        if self.critics < 2:
            raise UserError(f"algo.critics={self.critics}: diversity needs at least two critics")

    def build(self, spec: Spec) -> None:
        super().build(spec)
        self.share = min(self.critics, spec.action.size) / self.critics

    def critic_loss(self, critic: Network, batch: Batch, target: Tensor) -> Loss:
        """The Bellman error, plus eta times how much the slopes ∇_a Q_i(s, a) of a few critics agree (4)."""

        def values(action: Tensor) -> tuple[Tensor, Tensor]:
            q = critic(batch.obs, action)  # [E, B]
            return q.sum(), q

        own = batch.action.expand(self.critics, *batch.action.shape)  # one copy a critic, to tell their slopes apart
        slopes, q = grad(values, has_aux=True)(own)
        bellman = (q - target).square().mean(1).sum(0)
        alignment = gradient_alignment(slopes)
        loss = bellman + self.diversity_weight * self.share * alignment
        return loss, {
            "critic/loss": loss,
            "critic/bellman": bellman,
            "critic/alignment": alignment,
            "critic/mean": q.mean(),
        }
