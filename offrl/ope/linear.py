"""Fitted Q evaluation and LSTDQ with values that are linear in features.

H. Le, C. Voloshin and Y. Yue, "Batch Policy Learning under Constraints", ICML 2019, arXiv:1903.08738, algorithm 3
(fitted Q evaluation); M. Lagoudakis and R. Parr, "Least-Squares Policy Iteration", JMLR 4, 2003, figure 5 (LSTDQ).

With linear features every regression has the same normal equations, so all of them need one pass over the log:
G = Σ φ φᵀ, B = Σ φ φ'_pᵀ with φ'_p = E_{a'~p} φ(s', a') (0 after the end), c = Σ φ r. Then backward induction is
w_h = G⁻¹ (c + gamma B w_{h−1}), and LSTDQ its fixed point (G − gamma B)⁻¹ c. The sums are kept part by part, so
cross-fitting costs no further pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from offrl.errors import UserError
from offrl.ope.evidence import Array
from offrl.ope.features import Embedding, Features, spaced
from offrl.ope.logged import Log
from offrl.ope.values import ValueModel, others

LARGEST = 4096  # features of a state and action: their moments are matrices of this size
SAMPLE = 50_000  # rows from which means and spreads are taken


@dataclass(frozen=True, kw_only=True)
class Linear(ValueModel):
    """Q_h(s, a) = φ(s, a)·w_h. A discrete action has features of the state of its own; a continuous one joins the
    state."""

    features: Features
    ridge: float  # added to the diagonal of G, as a share of its mean

    def fit(self, log: Log, fold: NDArray[np.int64]) -> tuple[Array, Array, NDArray[np.int64], Array]:
        encode = encoder(log, self.features)
        sums = moments(log, encode, fold)
        weights = torch.stack([self._solve(log, sums, part) for part in range(int(fold.max()) + 1)])
        part_of = torch.as_tensor(fold[log.episode])
        q, v = np.empty(log.rows), np.empty(log.rows)
        for chunk in log.chunks():
            w = weights[part_of[chunk.rows], self._index(chunk.to_go)]  # [B, p]
            state = encode.state(chunk.batch.obs)
            q[chunk.rows] = (encode.taken(state, chunk.batch.action) * w).sum(-1).numpy()
            v[chunk.rows] = (encode.expected(state, log.target.choices(chunk.batch.obs)) * w).sum(-1).numpy()
        ends = log.breaks(endless=self.stationary)
        after = [self._after(log, encode, weights, int(row), int(part_of[row])) for row in ends]
        return q, v, ends, np.array(after)

    def _gram(self, gram: Tensor) -> Tensor:
        """G, made safe to invert."""
        return gram + self.ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)

    def _solve(self, log: Log, moments: Moments, part: int) -> Tensor:
        """w [T + 1, p] for h = 0 … T, or [1, p] if stationary."""
        gram, onward, reward = (torch.as_tensor(others(moment.numpy(), part)) for moment in moments)
        gram = self._gram(gram)
        if self.stationary:
            return torch.linalg.solve(gram - log.discount * onward, reward)[None]
        base, step = torch.linalg.solve(gram, torch.cat([reward[:, None], log.discount * onward], 1)).split(
            [1, len(gram)], 1
        )
        rows = [torch.zeros_like(reward)]
        for _ in range(log.horizon):
            rows.append(base[:, 0] + step @ rows[-1])
        return torch.stack(rows)

    def _index(self, to_go: Tensor) -> Tensor:
        return torch.zeros_like(to_go) if self.stationary else to_go.clamp(min=0)

    def _after(self, log: Log, encode: Encoder, weights: Tensor, row: int, part: int) -> float:
        """V of the state in which an episode breaks off."""
        obs = log.read(torch.as_tensor([row])).next_obs
        to_go = torch.as_tensor([log.horizon - int(log.timestep[row]) - 1])
        expected = encode.expected(encode.state(obs), log.target.choices(obs))
        return float((expected * weights[part, self._index(to_go)]).sum())


@dataclass(frozen=True, kw_only=True)
class Averager(Linear):
    """The same, but w_h is a mean of targets instead of a regression on them: Σ φ y / Σ φ, feature by feature, for
    features that are shares of 1. Means never exceed what they are taken of, so backward induction cannot diverge,
    however long the horizon and however far the target policy leaves the data (G. Gordon, "Stable Function
    Approximation in Dynamic Programming", ICML 1995; D. Ormoneit and S. Sen, "Kernel-Based Reinforcement Learning",
    Machine Learning 49, 2002).

    In exchange values are smoothed over the width of a feature.
    """

    def _gram(self, gram: Tensor) -> Tensor:
        whole = gram.sum(1)  # Σ φ, since the features of a row add up to one
        return torch.diag(whole + self.ridge * whole.mean() + 1e-12)


class Moments(NamedTuple):
    """Sums over the rows of each part; all float64."""

    gram: Tensor  # [folds, p, p] φ φᵀ
    onward: Tensor  # [folds, p, p] φ φ'_pᵀ
    reward: Tensor  # [folds, p] φ r


@dataclass(frozen=True)
class Encoder:
    """φ(s, a), and its mean over the target's actions."""

    embedding: Embedding
    mean: Tensor
    spread: Tensor
    choices: int  # K of a discrete action, 0 for continuous ones
    size: int  # p

    def state(self, obs: Tensor) -> Tensor:
        """[B, d] of a discrete problem, else the normalised state [B, inputs] itself."""
        scaled = (obs.flatten(1).double() - self.mean) / self.spread
        return self.embedding(scaled) if self.choices else scaled

    def taken(self, state: Tensor, action: Tensor) -> Tensor:
        """φ(s, a) [B, p]."""
        if self.choices:
            return self.expected(state, torch.nn.functional.one_hot(action, self.choices))
        return self.embedding(torch.cat([state, action.double()], -1))

    def expected(self, state: Tensor, choices: Tensor) -> Tensor:
        """Σ_a p(a|s) φ(s, a), or the mean over draws of it [B, p]."""
        if self.choices:
            return (choices.double()[:, :, None] * state[:, None, :]).flatten(1)
        draws = choices.double()
        joined = torch.cat([state[:, None].expand(-1, draws.shape[1], -1), draws], -1)
        return self.embedding(joined).mean(1)


def encoder(log: Log, features: Features) -> Encoder:
    """Features of this log's states and actions; raises `UserError` for those that have none."""
    if log.spec.action.kind == "multi_discrete":
        raise UserError("linear value models take continuous or single discrete actions: use estimator=is or wis")
    sample = log.read(spaced(log.rows, SAMPLE))
    if sample.obs.dtype == torch.uint8:
        raise UserError("linear value models take vectors, and these observations are images")
    flat = sample.obs.flatten(1).double()
    spread = flat.std(0)
    spread = torch.where(spread > 1e-8, spread, 1.0)
    seen = (flat - flat.mean(0)) / spread
    choices = log.spec.action.choices[0] if log.discrete else 0
    embedding = features.embedding(seen if choices else torch.cat([seen, sample.action.double()], -1))
    encode = Encoder(embedding, flat.mean(0), spread, choices, 0)
    size = encode.taken(encode.state(sample.obs[:1]), sample.action[:1]).shape[1]
    if size > LARGEST:
        raise UserError(f"{size} features are more than the {LARGEST} that fit: lower features.count, or degree")
    return Encoder(embedding, encode.mean, encode.spread, choices, size)


def moments(log: Log, encode: Encoder, fold: NDArray[np.int64]) -> Moments:
    """One pass over the log."""
    parts, size = int(fold.max()) + 1, encode.size
    gram, onward = (torch.zeros(parts, size, size, dtype=torch.float64) for _ in range(2))
    reward = torch.zeros(parts, size, dtype=torch.float64)
    part_of = torch.as_tensor(fold[log.episode])
    for chunk in log.chunks():
        batch = chunk.batch
        taken = encode.taken(encode.state(batch.obs), batch.action)
        following = encode.expected(encode.state(batch.next_obs), log.target.choices(batch.next_obs))
        following *= batch.discount.double()[:, None]
        for part in range(parts):
            mine = (part_of[chunk.rows] == part).double()[:, None] * taken
            gram[part] += mine.T @ taken
            onward[part] += mine.T @ following
            reward[part] += mine.T @ batch.reward.double()
    return Moments(gram, onward, reward)
