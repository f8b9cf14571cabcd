"""The value of the data's policy from a linear model of rewards and of the next features.

R. Parr, L. Li, G. Taylor, C. Painter-Wakefield and M. Littman, "An Analysis of Linear Models, Linear Value-Function
Approximation, and Feature Selection for Reinforcement Learning", ICML 2008, section 3.1:

    w_r = (ΦᵀΦ)⁻¹ Φᵀr,    P_Φ = (ΦᵀΦ)⁻¹ ΦᵀΦ',    w_V = (I − gamma P_Φ)⁻¹ w_r.

Φ' is zero where the episode terminated. Differs from the paper: `ridge` is added to the diagonal of ΦᵀΦ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from offrl.algos.linear.arrays import Arrays
from offrl.algos.linear.least_squares import LeastSquares
from offrl.types import ActionKind, Batch, Metrics, Spec


@dataclass(eq=False, kw_only=True)
class LeastSquaresModel(LeastSquares):
    """Linear model in feature space; the value of the policy that made the data."""

    action_kinds: ClassVar[frozenset[ActionKind]] = frozenset({"continuous", "discrete", "multi_discrete"})
    is_policy: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("timestep",)

    def build(self, spec: Spec) -> None:
        self.map = self.features.build(spec.obs)
        count = self.map.count
        self.learned = Arrays(saved=True, weights=(count,))  # w_V
        square, line = (count, count), (count,)
        self.sums = Arrays(
            saved=False, gram=square, ahead=square, reward=line, seen=line, rows=(), first=line, episodes=()
        )

    def clear(self) -> None:
        self.sums.clear()

    def gather(self, batch: Batch) -> None:
        phi, reward = self.map(batch.obs), batch.reward.double()  # [B, F], [B]
        following = batch.discount.double().unsqueeze(1) * self.map(batch.next_obs)  # gamma φ(s')
        first = (batch.timestep == 0).double()
        self.sums.add(
            gram=phi.T @ phi,
            ahead=phi.T @ following,
            reward=reward @ phi,
            seen=phi.sum(0),
            rows=torch.ones_like(reward).sum(),
            first=first @ phi,
            episodes=first.sum(),
        )

    def solve(self) -> Metrics:
        sums = self.sums
        self.learned.weights.copy_(self.value_weights(self.ridged(sums.gram), sums.ahead, sums.reward))
        return {
            "value/mean": sums.seen @ self.learned.weights / sums.rows,
            "value/start": sums.first @ self.learned.weights / sums.episodes.clamp(min=1.0),
        }

    def value_weights(self, gram: Tensor, ahead: Tensor, reward: Tensor) -> Tensor:
        """w_V [F] by way of the model, from ΦᵀΦ, gamma ΦᵀΦ' and Φᵀr."""
        model = torch.linalg.solve_ex(gram, torch.cat((reward.unsqueeze(1), ahead), 1)).result
        reward_weights, transition = model[:, 0], model[:, 1:]  # w_r, gamma P_Φ
        return torch.linalg.solve_ex(torch.eye(len(gram)).to(gram) - transition, reward_weights).result

    def value(self, obs: Tensor) -> Tensor:
        """V(s), [B]."""
        return self.map(obs) @ self.learned.weights
