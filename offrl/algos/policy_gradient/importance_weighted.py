"""Importance-weighted policy gradient: climb an estimate of one's return from episodes that another policy acted.

L. Peshkin and C. Shelton, "Learning from Scarce Experience", ICML 2002; per decision D. Precup, R. Sutton and S. Singh,
"Eligibility Traces for Off-Policy Policy Evaluation", ICML 2000. The objective is Σ_t w_t γ^t r_t with weights over the
whole trajectory or per decision, both unbiased, of which the gradient is the off-policy policy gradient with causality;
or Σ_t ρ_t G_t with the step's own ratio, which leaves out how often states are met and what is done later (S. Levine
et al. 2020, arXiv:2005.01643, section 3.3). The old policy is a log's, or one's own some steps ago. `kl_weight` prices
KL[b, π], estimated from the actions taken. Differs from the papers: Adam, capped weights, no baseline (a
self-normalised estimate has one built in: adding a constant to the returns does not move it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from offrl.algos.policy_gradient.episodes import FromEpisodes
from offrl.errors import UserError
from offrl.functional.importance import Weighting, capped_exp, effective_share, lifted_exp, log_weights
from offrl.functional.surrogates import sampled_divergence
from offrl.nn.policies import Density
from offrl.types import Batch, Experience, Loss, Metrics, Network, Steps


@dataclass(eq=False, kw_only=True)
class ImportanceWeighted(FromEpisodes):
    """Off-policy policy gradient."""

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"dataset", "rollout"})
    needs: ClassVar[tuple[str, ...]] = ("log_prob", "return_to_go")

    weighting: Weighting
    self_normalized: bool  # weights divided by their mean over the episodes, which trades variance for bias
    max_weight: float  # cap on a weight; .inf: none
    kl_weight: float  # price of moving away from the old policy

    def check(self) -> None:
        super().check()
        if self.max_weight <= 0.0 or self.kl_weight < 0.0:
            raise UserError(
                f"algo.max_weight={self.max_weight} must be above 0, algo.kl_weight={self.kl_weight} not below"
            )

    @property
    def context(self) -> int:
        """The longest episode that a log may have."""
        return self.horizon

    @property
    def fewest_rows(self) -> int:
        """One episode's weight in proportion to itself is 1, whatever the policy does."""
        return 2 if self.self_normalized and self.weighting != "step" else 1

    def check_data(self, steps: Steps) -> None:
        ends = np.flatnonzero(np.asarray(steps.terminated) | np.asarray(steps.truncated))
        longest = int(np.diff(ends, prepend=-1, append=len(steps) - 1).max())
        if longest > self.horizon:
            raise UserError(
                f"algo.horizon={self.horizon}, and the longest logged episode has {longest} steps: weights of whole "
                f"episodes need algo.horizon={longest} (or more)"
            )

    def log_prob_of(self, policy: Density, action: Tensor) -> Tensor:
        """As logs have it: an action on a bound stands for all that were clipped to it."""
        return policy.clipped_log_prob(action)

    def update(self, batch: Batch) -> Metrics:
        return self.actor.descend(self.loss, self.from_the_start(batch))

    def loss(self, actor: Network, rows: Batch) -> Loss:
        """Minus the weighted return, plus the price of moving away."""
        log_ratio = self.log_probs(actor, rows) - rows.log_prob * rows.mask
        log_weight = log_weights(log_ratio, self.weighting)  # [E, T]
        if self.self_normalized and self.weighting != "step":  # only proportions count, and products underflow
            weight = lifted_exp(log_weight, self.max_weight)
        else:
            weight = capped_exp(log_weight, self.max_weight)
        value = self.estimate(weight, rows)
        divergence = (sampled_divergence(log_ratio) * rows.mask).sum() / rows.mask.sum()
        return self.kl_weight * divergence - value, {
            "actor/value": value,
            "actor/kl": divergence,
            "weight/effective": self.effective(weight, rows),
        }

    def effective(self, weight: Tensor, rows: Batch) -> Tensor:
        """The share of the steps, or of the episodes by their last weights, that the estimate really uses."""
        if self.weighting == "step":
            return effective_share(weight * rows.mask, rows.mask.sum())
        return effective_share(weight[:, -1])

    def estimate(self, weight: Tensor, rows: Batch) -> Tensor:
        """The policy's return by the weighted episodes (a surrogate of it, where weights are those of steps)."""
        if self.weighting == "step":
            norm = (weight * rows.mask).sum() / rows.mask.sum()
            earned = rows.return_to_go
        else:
            norm = weight.mean(0)  # [T]; an episode that is over keeps its weight
            earned = rows.reward * self.discount ** torch.arange(rows.reward.shape[1], device=rows.reward.device)
        if self.self_normalized:
            weight = weight / norm
        return (weight * earned * rows.mask).sum(1).mean()
