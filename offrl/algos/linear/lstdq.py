"""Least-squares temporal differences for action values: Q of the data's policy by one linear solve, and the policy that
is greedy for it.

M. Lagoudakis and R. Parr, "Least-Squares Policy Iteration", JMLR 4, 2003, section 6 (figure 5):

    A = Φᵀ(Φ − gamma Φ'),    b = Φᵀr,    w = A⁻¹ b,    φ' = φ(s', a'),

where φ(s, a) is φ(s) in a block of its own for each action. With the logged next action for a', as here, it values the
policy that made the data; acting greedily is then one step of policy improvement. Differs from the paper: `ridge`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from offrl.algos.linear.arrays import Arrays, greedy, weights
from offrl.algos.linear.least_squares import LeastSquares
from offrl.nn.heads.distribution import Distribution
from offrl.types import ActionKind, Batch, Metrics, Spec


@dataclass(eq=False, kw_only=True)
class LSTDQ(LeastSquares):
    """Least-squares temporal differences for action values."""

    action_kinds: ClassVar[frozenset[ActionKind]] = frozenset({"discrete"})
    needs: ClassVar[tuple[str, ...]] = ("next_action",)

    def build(self, spec: Spec) -> None:
        self.map = self.features.build(spec.obs)
        shape = spec.action.choices[0], self.map.count
        self.learned = Arrays(saved=True, weights=shape)
        size = math.prod(shape)
        self.sums = Arrays(saved=False, matrix=(size, size), vector=(size,), seen=(size,), rows=())

    def clear(self) -> None:
        self.sums.clear()

    def gather(self, batch: Batch) -> None:
        counted = weights(batch)  # [B]
        phi = self.pairs(batch.obs, batch.action)  # [B, KF]
        following = batch.discount.double().unsqueeze(1) * self.pairs(batch.next_obs, self.next_action(batch))
        weighted = counted.unsqueeze(1) * phi
        self.sums.add(
            matrix=weighted.T @ (phi - following),
            vector=batch.reward.double() @ weighted,
            seen=weighted.sum(0),
            rows=counted.sum(),
        )

    def next_action(self, batch: Batch) -> Tensor:
        """a' [B]: the logged one."""
        return batch.next_action

    def solve(self) -> Metrics:
        sums = self.sums
        found = torch.linalg.solve_ex(self.ridged(sums.matrix), sums.vector).result
        change = (found - self.learned.weights.flatten()).abs().amax()
        self.learned.weights.copy_(found.view_as(self.learned.weights))
        return {"critic/mean": sums.seen @ found / sums.rows, "critic/change": change}

    def pairs(self, obs: Tensor, action: Tensor) -> Tensor:
        """φ(s, a), [B, KF]: φ(s) in the block of the action."""
        chosen = torch.nn.functional.one_hot(action, len(self.learned.weights)).double()
        return (chosen.unsqueeze(-1) * self.map(obs).unsqueeze(-2)).flatten(-2)

    def critic(self, obs: Tensor) -> Tensor:
        """Q(s, ·), [B, K]."""
        return self.map(obs) @ self.learned.weights.T

    def distribution(self, obs: Tensor) -> Distribution:
        return greedy(self.critic(obs))
