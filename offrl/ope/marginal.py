"""Marginalised importance sampling: ratios of state distributions instead of products of action ratios."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from offrl.ope.estimator import Mean
from offrl.ope.evidence import Array, Evidence
from offrl.ope.logged import Log
from offrl.ope.tabular import tabulate


def marginal_weights(log: Log, evidence: Evidence, max_states: int) -> Array:
    """[N, T] d_t^p(s_t) / d_t^b(s_t) · rho_t, by which a reward is weighted; 0 beyond an episode's end.

    T. Xie, Y. Ma and Y.-X. Wang, "Towards Optimal Off-Policy Evaluation for Reinforcement Learning with Marginalized
    Importance Sampling", NeurIPS 2019, arXiv:1906.03393, its recursion of state marginals: d_0 is the share of first
    states, and d_{t+1}^p(s') = Σ_s d_t^p(s) · mean over the log's visits to s at step t of rho_t 1(s_{t+1} = s').
    """
    table = tabulate(log, max_states)
    states, steps = len(table.policy), evidence.steps
    ratio = np.exp(evidence.log_ratio)
    state, following = (log.pad(rows.astype(np.float64)).astype(np.int64) for rows in (table.state, table.following))
    alive = log.pad(table.alive) > 0.0
    weights = np.zeros_like(ratio)
    target = np.bincount(state[:, 0], minlength=states) / evidence.episodes  # d_t^p
    for t in range(steps):
        here = evidence.mask[:, t]
        visits = np.bincount(state[here, t], minlength=states)  # N · d_t^b
        relative = np.divide(target, visits, out=np.zeros(states), where=visits > 0)  # d_t^p / (N d_t^b)
        each = relative[state[here, t]] * ratio[here, t]
        weights[here, t] = each * evidence.episodes
        onward = alive[here, t]
        target = np.bincount(following[here, t][onward], each[onward], states)
    return weights


@dataclass(frozen=True, kw_only=True)
class MarginalizedImportanceSampling(Mean):
    """(1/N) Σ_i Σ_t gamma^t d_t^p(s_t)/d_t^b(s_t) rho_t r_t: of a tabular log, and not exponential in T (Xie et al.
    2019).

    The weights of an episode are estimated from all of them, which resampling their products does not show: it gets no
    interval.
    """

    resamples: ClassVar[bool] = False

    max_states: int  # different observations, beyond which the log is not tabular

    def prepare(self, log: Log, evidence: Evidence) -> Evidence:
        return replace(evidence, marginal=marginal_weights(log, evidence, self.max_states))

    def terms(self, evidence: Evidence) -> Array:
        assert evidence.marginal is not None, "marginal weights are missing"
        return (evidence.marginal * evidence.reward) @ evidence.powers[:-1]
