"""DualDICE and GenDICE: how much oftener the target visits a state and action than the log does, found without knowing
who acted.

Both seek w(s, a) = d(s, a) / d_D(s, a), where d = (1 − gamma) Σ_t gamma^t P(s_t = s, a_t = a) under the target and d_D
is the log's share, as the saddle point of an objective in which only the log's transitions and first states appear.
Then J = E_D[w r] / (1 − gamma). An episode that ends leaves nothing to visit, so w averages to less than one there.

Here both players are linear in features φ(s, a), where the saddle point is the solution of equations, as in the tabular
form of the authors' own DualDICE, and need not be searched for by stochastic steps, which are known to wander (S.
Zhang, B. Liu and S. Whiteson, "GradientDICE", ICML 2020, arXiv:2001.11113). A form with networks for players was tried
and did not converge; there is none.

Letters: G = E_D φ φᵀ, B = E_D φ φ'ᵀ, φ' and φ_0 the target's means at s' (0 after the end) and at first states.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from offrl.errors import UserError
from offrl.functional.quadratic import nonnegative_least_squares
from offrl.ope.estimator import Estimator
from offrl.ope.evidence import Array, Evidence
from offrl.ope.features import Features
from offrl.ope.linear import Encoder, encoder, moments
from offrl.ope.logged import Log


@dataclass(frozen=True, kw_only=True)
class Dice(Estimator):
    """(1 / (1 − gamma)) of the mean of w r over all logged steps, those beyond the horizon too: visits are those of an
    endless future. The ratios are found from all episodes at once, and resampling those would not show their error: it
    gets no interval."""

    weighs: ClassVar[bool] = False
    resamples: ClassVar[bool] = False

    features: Features
    ridge: float  # added to the diagonals, as a share of the mean of G's

    def prepare(self, log: Log, evidence: Evidence) -> Evidence:
        if log.discount >= 1.0:
            raise UserError(
                f"discount={log.discount:g}: ratios of discounted visits need a discount below 1, such as discount=0.99"
            )
        encode = encoder(log, self.features)
        gram, onward, _ = (moment[0].numpy() for moment in moments(log, encode, np.zeros(len(log.lengths), np.int64)))
        onward, gram = log.discount * onward / log.rows, gram / log.rows
        obs = log.read(torch.as_tensor(log.last - log.lengths + 1)).obs
        first = encode.expected(encode.state(obs), log.target.choices(obs)).mean(0).numpy()
        slack = self.ridge * gram.diagonal().mean() * np.eye(len(gram))
        found = self.solve(log, encode, gram + slack, onward, (1.0 - log.discount) * first)
        weights = log.gather(lambda c: taken(encode, c.batch.obs, c.batch.action) @ torch.as_tensor(found))
        whole = replace(log, horizon=max(log.horizon, int(log.lengths.max())))
        return replace(whole.evidence(None), marginal=whole.pad(weights))

    def __call__(self, evidence: Evidence, counts: Array) -> Array:
        assert evidence.marginal is not None, "ratios are missing"
        steps = evidence.mask.sum(axis=1).astype(np.float64)
        total = (evidence.marginal * evidence.reward).sum(axis=1)
        return (counts @ total) / (counts @ steps) / (1.0 - evidence.discount)

    @abstractmethod
    def solve(self, log: Log, encode: Encoder, gram: Array, onward: Array, first: Array) -> Array:
        """The coefficients of w, given G, gamma B and (1 − gamma) φ_0."""


@dataclass(frozen=True, kw_only=True)
class DualDice(Dice):
    """min_ν max_ζ E_D[(ν(s, a) − gamma ν(s', a')) ζ(s, a) − ζ² / 2] − (1 − gamma) E ν(s_0, a_0), a' and a_0 of the
    target; the ratio is ζ, which must satisfy (G − gamma B)ᵀ ζ = (1 − gamma) φ_0.

    O. Nachum, Y. Chow, B. Dai and L. Li, "DualDICE: Behavior-Agnostic Estimation of Discounted Stationary Distribution
    Corrections", NeurIPS 2019, arXiv:1906.04733, its saddle point for f(x) = x² / 2. Linear, its estimate is LSTDQ's.
    """

    def solve(self, log: Log, encode: Encoder, gram: Array, onward: Array, first: Array) -> Array:
        return np.linalg.solve((gram - onward).T, first).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class GenDice(Dice):
    """min_τ≥0 max_f,u (1 − gamma) E f(s_0, a_0) + E_D[gamma τ f(s', a') − τ (f + f² / 4)] + λ (u E_D[τ − 1] − u² / 2),
    f and τ at (s, a) if not said otherwise; the ratio is τ.

    R. Zhang, B. Dai, L. Li and D. Schuurmans, "GenDICE: Generalized Offline Estimation of Stationary Values", ICLR
    2020, arXiv:2002.09072, its saddle point for the χ² divergence. With the best linear f and the best u it is
    eᵀ G_τ⁻¹ e + λ (E_D τ − 1)² / 2 with e = (1 − gamma) φ_0 − (G − gamma B)ᵀ τ and G_τ = E_D τ φ φᵀ: non-negative least
    squares, solved in `rounds`, each with G_τ of the last. Features are to be shares of 1, so that τ ≥ 0 where its
    coefficients are.
    """

    normalization: float  # λ: keeps the mean ratio at 1; 0 where episodes end, since it is less there
    rounds: int

    def prepare(self, log: Log, evidence: Evidence) -> Evidence:
        ended = bool((log.read(torch.as_tensor(log.last)).discount == 0.0).any())
        if ended and self.normalization > 0.0:
            raise UserError(
                f"estimator.gendice.normalization={self.normalization:g} holds the mean ratio at 1, and where episodes "
                "end it is less: use estimator.gendice.normalization=0"
            )
        return super().prepare(log, evidence)

    def solve(self, log: Log, encode: Encoder, gram: Array, onward: Array, first: Array) -> Array:
        mean = _weighted(log, encode, np.ones(encode.size))[1]
        divergence, found = gram, np.ones(len(gram))
        for _ in range(self.rounds):
            root = np.linalg.inv(np.linalg.cholesky(divergence))
            rows = np.concatenate([root @ (gram - onward).T, np.sqrt(self.normalization / 2.0) * mean[None]])
            found = nonnegative_least_squares(rows, np.append(root @ first, np.sqrt(self.normalization / 2.0)))
            slack = self.ridge * gram.diagonal().mean() * np.eye(len(gram))
            divergence = _weighted(log, encode, found)[0] + slack
        return found


def taken(encode: Encoder, obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """φ(s, a) [B, p]."""
    return encode.taken(encode.state(obs), action)


def _weighted(log: Log, encode: Encoder, coefficients: Array) -> tuple[Array, Array]:
    """(E_D τ φ φᵀ [p, p], E_D φ [p]) for τ = φ·coefficients."""
    gram, mean = np.zeros((encode.size, encode.size)), np.zeros(encode.size)
    for chunk in log.chunks():
        phi = taken(encode, chunk.batch.obs, chunk.batch.action).numpy()
        gram += (phi * (phi @ coefficients)[:, None]).T @ phi
        mean += phi.sum(axis=0)
    return gram / log.rows, mean / log.rows
