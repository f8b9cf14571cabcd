"""Proximal policy optimisation: several passes over one rollout, held near the policy that made it.

J. Schulman et al., "Proximal Policy Optimization Algorithms", 2017, arXiv:1707.06347. Numbers in brackets are the
paper's equations. The ratio is clipped, moving away is penalised, or both: `clip` infinite and `kl_weight` above 0 is
the penalised form, fixed or adaptive. As is the custom since the authors' second code: advantages are normalised in
each minibatch, weights start orthogonal, Adam's epsilon is 1e-5, and the joint gradient of policy and value is clipped;
by default observations are normalised (`network`) and rewards scaled (`trainer.reward_scaling`).
Differs from that code: the value is not clipped, and V(s') after a time limit is the value of the true last
observation. Differs from the paper: the divergence is estimated from the actions taken, so that it exists for every
density, and the one that adapts its weight is the running mean over about the last pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from offrl.algos.policy_gradient.a2c import A2C
from offrl.errors import UserError
from offrl.functional.surrogates import clipped_surrogate, sampled_divergence
from offrl.types import Batch, Loss, Metrics, Rollout, Spec


@dataclass(eq=False, kw_only=True)
class PPO(A2C):
    """Proximal policy optimisation."""

    clip: float  # epsilon: how far the probability ratio may move and still gain; .inf: any way
    kl_weight: float  # beta: price of KL[old, new], at first
    kl_target: float  # nats between the old policy and the new that beta is adapted to
    kl_adaptation: float  # factor by which beta grows or shrinks after a rollout that missed the target; 1: fixed

    def check(self) -> None:
        super().check()
        if self.clip <= 0.0:
            raise UserError(f"algo.clip={self.clip} must be above 0: the ratio could not move at all")
        if self.kl_weight < 0.0 or self.kl_target <= 0.0 or self.kl_adaptation < 1.0:
            raise UserError(
                f"algo.kl_weight={self.kl_weight}, algo.kl_target={self.kl_target} and algo.kl_adaptation="
                f"{self.kl_adaptation}: want a weight of at least 0, a target above 0 and a factor of at least 1"
            )
        if self.kl_adaptation > 1.0 and self.kl_weight == 0.0:
            raise UserError(
                f"algo.kl_adaptation={self.kl_adaptation} multiplies algo.kl_weight, and that is 0: give a weight "
                "above 0 to begin with, such as algo.kl_weight=1"
            )

    def build(self, spec: Spec) -> None:
        super().build(spec)
        self.beta = nn.Buffer(torch.tensor(self.kl_weight))
        self.divergence = nn.Buffer(torch.tensor(self.kl_target))  # running mean over about a pass
        self.rate = nn.Buffer(torch.ones(()))  # of that mean

    @torch.no_grad()
    def prepare(self, rollout: Rollout) -> Batch:
        self._adapt()
        self.rate.fill_(min(1.0, self.batch_size / rollout.reward.numel()))
        return super().prepare(rollout)

    def _adapt(self) -> None:
        """Section 4: beta grows where the last rollout's policy went beyond 1.5 times the target, and shrinks where it
        stayed within 1 / 1.5 of it."""
        far, near = self.divergence > 1.5 * self.kl_target, self.divergence < self.kl_target / 1.5
        exponent = far.to(self.beta.dtype) - near.to(self.beta.dtype)
        self.beta.mul_(self.kl_adaptation**exponent)

    def update(self, batch: Batch) -> Metrics:
        metrics = super().update(batch)
        self.divergence.add_(self.rate * (metrics["actor/kl"] - self.divergence))
        return metrics

    def actor_loss(self, log_prob: Tensor, batch: Batch, advantage: Tensor) -> Loss:
        """(7) the clipped surrogate and (8) the price of moving away."""
        log_ratio = log_prob - batch.log_prob
        surrogate = clipped_surrogate(log_ratio, advantage, self.clip).mean()
        divergence = sampled_divergence(log_ratio).mean()
        return self.beta * divergence - surrogate, {
            "actor/kl": divergence,
            "actor/kl_weight": self.beta.clone(),
            "actor/clipped": ((log_ratio.exp() - 1.0).abs() > self.clip).to(log_ratio.dtype).mean(),
        }
