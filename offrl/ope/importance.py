"""Importance sampling: returns of another policy's episodes, weighted by how much likelier the target makes them.

D. Precup, R. Sutton and S. Singh, "Eligibility Traces for Off-Policy Policy Evaluation", ICML 2000; weights
w_t = rho_0 ⋯ rho_t with rho_t = p(a_t|s_t) / b(a_t|s_t); the weight of an ended episode stays what it was at its end.
In problems of one step the first two are the bandit estimators called IPS and SNIPS (Swaminathan & Joachims 2015).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offrl.ope.estimator import Estimator, Mean, ratio
from offrl.ope.evidence import Array, Evidence


@dataclass(frozen=True, kw_only=True)
class ImportanceSampling(Mean):
    """(1/N) Σ_i w_i G_i with the weight of the whole episode: unbiased, its variance exponential in T (Precup et al.
    2000, "importance sampling estimator")."""

    def terms(self, evidence: Evidence) -> Array:
        return times(evidence.weight[:, -1], evidence.returns)


@dataclass(frozen=True, kw_only=True)
class WeightedImportanceSampling(Estimator):
    """Σ_i w_i G_i / Σ_i w_i: consistent, biased, and always within the logged returns (Precup et al. 2000,
    "weighted importance sampling")."""

    def __call__(self, evidence: Evidence, counts: Array) -> Array:
        return ratio(counts, evidence.relative_weight[:, -1], evidence.returns)


@dataclass(frozen=True, kw_only=True)
class PerDecision(Mean):
    """(1/N) Σ_i Σ_t gamma^t w_it r_it: each reward is weighted by the decisions before it alone (Precup et al. 2000,
    "per-decision importance sampling")."""

    def terms(self, evidence: Evidence) -> Array:
        return times(evidence.weight[:, 1:], evidence.reward) @ evidence.powers[:-1]


@dataclass(frozen=True, kw_only=True)
class WeightedPerDecision(Estimator):
    """Σ_t gamma^t Σ_i w_it r_it / Σ_i w_it, normalised over episodes at every step: consistent weighted
    per-decision importance sampling (CWPDIS) of P. Thomas, "Safe Reinforcement Learning", dissertation, 2015,
    chapter 3."""

    def __call__(self, evidence: Evidence, counts: Array) -> Array:
        return ratio(counts, evidence.relative_weight[:, 1:], evidence.reward) @ evidence.powers[:-1]


def times(weight: Array, value: Array) -> Array:
    """The product, where a value of 0 stays 0 even under an infinite weight."""
    return np.where(value == 0.0, 0.0, weight * np.where(value == 0.0, 1.0, value))
