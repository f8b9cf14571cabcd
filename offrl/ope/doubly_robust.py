"""Doubly robust estimators: a model's value, corrected by what the importance-weighted rewards say of its errors.

The model's Q and V are fitted on other episodes than those that they correct (cross-fitting, `offrl.ope.values`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from offrl.errors import UserError
from offrl.ope.estimator import Estimator, Mean, ratio
from offrl.ope.evidence import Array, Evidence
from offrl.ope.importance import times
from offrl.ope.values import ValueModel


@dataclass(frozen=True, kw_only=True)
class Direct(Mean):
    """(1/N) Σ_i V(s_0): the model is believed. Fitted Q evaluation, LSTDQ and the maximum-likelihood model are this
    with their model.

    Its error is that of the model, which does not shrink by resampling episodes: it gets no interval.
    """

    weighs: ClassVar[bool] = False
    models: ClassVar[bool] = True
    resamples: ClassVar[bool] = False

    model: ValueModel

    def terms(self, evidence: Evidence) -> Array:
        return evidence.values()[1][:, 0]


@dataclass(frozen=True, kw_only=True)
class DoublyRobust(Mean):
    """V_t = V(s_t) + rho_t (r_t + gamma V_{t+1} − Q(s_t, a_t)), from the last step back; the estimate is the mean of
    V_0.

    N. Jiang and L. Li, "Doubly Robust Off-policy Value Evaluation for Reinforcement Learning", ICML 2016,
    arXiv:1511.03722, eq. 10; with one step it is the bandit estimator of M. Dudik, J. Langford and L. Li, ICML 2011,
    arXiv:1103.4601, eq. 1. Written out, Σ_t gamma^t (w_{t−1} V(s_t) + w_t (r_t − Q(s_t, a_t))).
    """

    models: ClassVar[bool] = True

    model: ValueModel

    def terms(self, evidence: Evidence) -> Array:
        q, v = evidence.values()
        error = times(evidence.weight[:, 1:], evidence.reward - q)
        return times(evidence.weight, v) @ evidence.powers + error @ evidence.powers[:-1]


@dataclass(frozen=True, kw_only=True)
class WeightedDoublyRobust(Estimator):
    """The same with weights that sum to one over the episodes at every step (Thomas & Brunskill 2016, arXiv:1604.00923,
    section 5)."""

    models: ClassVar[bool] = True

    model: ValueModel

    def __call__(self, evidence: Evidence, counts: Array) -> Array:
        q, v = evidence.values()
        weight, powers = evidence.relative_weight, evidence.powers
        return ratio(counts, weight, v) @ powers + ratio(counts, weight[:, 1:], evidence.reward - q) @ powers[:-1]


@dataclass(frozen=True, kw_only=True)
class SwitchDoublyRobust(Mean):
    """V(s) + rho 1(rho <= threshold) (r − Q(s, a)): the correction only where it is not wild; for one step.

    Y.-X. Wang, A. Agarwal and M. Dudik, "Optimal and Adaptive Off-policy Evaluation in Contextual Bandits", ICML 2017,
    arXiv:1612.01205, with the doubly robust form for the actions that it keeps. A threshold of 0 is the model alone, an
    infinite one the doubly robust estimator.
    """

    models: ClassVar[bool] = True

    model: ValueModel
    threshold: float  # largest ratio of probabilities that is used

    def check(self, evidence: Evidence) -> None:
        if evidence.steps > 1:
            raise UserError("estimator=switch_dr is for problems of one step; use estimator=dr, wdr or magic")

    def terms(self, evidence: Evidence) -> Array:
        q, v = evidence.values()
        weight = evidence.weight[:, 1]
        used = np.where(weight <= self.threshold, weight, 0.0)
        return v[:, 0] + used * (evidence.reward[:, 0] - q[:, 0])
