"""MAGIC: a blend of model and importance sampling, the share of each chosen by its estimated error.

P. Thomas and E. Brunskill, "Data-Efficient Off-Policy Policy Evaluation for Reinforcement Learning", ICML 2016,
arXiv:1604.00923, sections 7 (partial returns) and 8 (their blend).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from offrl.errors import UserError
from offrl.functional.quadratic import simplex_minimum
from offrl.ope.doubly_robust import WeightedDoublyRobust
from offrl.ope.estimator import Estimator, ratio
from offrl.ope.evidence import Array, Evidence
from offrl.ope.values import ValueModel


@dataclass(frozen=True, kw_only=True)
class Magic(Estimator):
    """x·g with x = argmin xᵀ(Ω + b bᵀ)x on the simplex, over the returns g of j = −1 … T − 1 steps of
    importance sampling that the model completes: g(−1) is the model alone, g(T − 1) weighted doubly robust.

    Ω is the covariance of g and b(j) the distance of g(j) from an interval of `confidence` for g(T − 1). It gets no
    interval: most of the blend is often the model's, whose bias and whose own sampling error no resample shows
    (percentile intervals of 95 % held the true value in one log of seven on Graph).

    The paper's interval is one of 50 %. Where few episodes have all the weight it is far too narrow, since no resample
    shows an episode that is missing, and a good model is then called biased: on ModelWin with 512 episodes the squared
    error is 4.3 times that of the model with 50 %, and 1.2 times with 90 %, the level in the code of Voloshin et al.
    2019 (there of a t interval over parts of the log).
    """

    models: ClassVar[bool] = True
    resamples: ClassVar[bool] = False

    model: ValueModel
    lengths: int  # different j at most, spread evenly
    replicates: int  # bootstrap resamples behind the interval
    confidence: float  # level of the interval
    legacy_covariance: bool  # leave out the factor N of Ω, as the authors' first code did
    seed: int  # of the resamples

    def check(self, evidence: Evidence) -> None:
        if evidence.episodes < 2:
            raise UserError("estimator=magic needs at least two episodes: it estimates a covariance over them")

    def __call__(self, evidence: Evidence, counts: Array) -> Array:
        chosen = np.unique(np.linspace(0, evidence.steps, min(self.lengths, evidence.steps + 1)).round().astype(int))
        return lengths_of_return(evidence, counts)[:, chosen] @ self.blend(evidence, chosen)

    def blend(self, evidence: Evidence, chosen: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Array:
        """x: the share of each of the `chosen` columns of `lengths_of_return`."""
        terms = episode_terms(evidence)[:, chosen]  # [N, J]: column sums are g
        error = terms - terms.mean(axis=0)
        covariance = error.T @ error / (evidence.episodes - 1)
        if not self.legacy_covariance:
            covariance *= evidence.episodes
        bias = self._bias(evidence, terms.sum(axis=0))
        return simplex_minimum(covariance + np.outer(bias, bias))

    def _bias(self, evidence: Evidence, returns: Array) -> Array:
        """Signed distance of each g(j) from the interval for the last one."""
        generator = np.random.default_rng(self.seed)
        share = np.full(evidence.episodes, 1.0 / evidence.episodes)
        counts = generator.multinomial(evidence.episodes, share, size=self.replicates).astype(np.float64)
        last = WeightedDoublyRobust(model=self.model)(evidence, counts)
        low, high = np.nanquantile(last, [(1.0 - self.confidence) / 2.0, (1.0 + self.confidence) / 2.0])
        low, high = min(low, returns[-1]), max(high, returns[-1])
        return returns - np.clip(returns, low, high)


def lengths_of_return(evidence: Evidence, counts: Array) -> Array:
    """[B, T + 1] g(j) for j = −1 … T − 1 (section 7)."""
    q, v = evidence.values()
    weight, powers = evidence.relative_weight, evidence.powers
    completed = ratio(counts, weight, v) * powers
    corrected = completed[:, :-1] + ratio(counts, weight[:, 1:], evidence.reward - q) * powers[:-1]
    return np.concatenate([np.zeros((len(counts), 1)), np.cumsum(corrected, axis=1)], axis=1) + completed


def episode_terms(evidence: Evidence) -> Array:
    """[N, T + 1] what each episode adds to each g(j)."""
    q, v = evidence.values()
    weight = evidence.relative_weight / evidence.relative_weight.sum(axis=0)
    completed = weight * v * evidence.powers
    corrected = completed[:, :-1] + weight[:, 1:] * (evidence.reward - q) * evidence.powers[:-1]
    return np.concatenate([np.zeros((evidence.episodes, 1)), np.cumsum(corrected, axis=1)], axis=1) + completed
