"""Models of what the target policy earns: Q and V of every logged step, for estimators that use a model.

A model values the episodes of one part by what it was fitted to in the other parts (cross-fitting: V. Chernozhukov et
al., "Double/debiased machine learning", 2018, arXiv:1608.00060), so that a doubly robust estimator does not inherit
what the model has learned by heart. Values are of the steps that are still to come within the horizon T: Q_h with h
steps to go, by backward induction, h = 1 … T. A `stationary` model instead has one Q for an endless future, and needs
gamma < 1."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from offrl.errors import UserError
from offrl.ope.evidence import Array
from offrl.ope.logged import Log


@dataclass(frozen=True, kw_only=True)
class ValueModel(ABC):
    """Recipe of a model."""

    stationary: bool  # one Q for an endless future; false: one for every number of steps to go

    def check(self, log: Log) -> None:
        """Raise `UserError` for a log that it cannot model."""
        if self.stationary and log.discount >= 1.0:
            raise UserError(
                f"stationary=true with discount={log.discount:g}: the value of an endless future is infinite; use "
                "discount=0.99 (or any below 1), or a model with stationary=false, which counts the steps to go"
            )

    def values(self, log: Log, folds: int, seed: int) -> tuple[Array, Array]:
        """(q [N, T], v [N, T + 1]) of the logged episodes, each by a model fitted to other ones; `folds` = 1 fits
        all."""
        self.check(log)
        fold = assign(len(log.lengths), folds, seed)
        q, v, ends, after = self.fit(log, fold)
        padded = np.concatenate([log.pad(v), np.zeros((len(log.lengths), 1))], axis=1)
        episode = log.episode[ends]
        within = log.lengths[episode] <= log.horizon
        padded[episode[within], log.lengths[episode[within]]] = after[within]
        return log.pad(q), padded

    @abstractmethod
    def fit(self, log: Log, fold: NDArray[np.int64]) -> tuple[Array, Array, NDArray[np.int64], Array]:
        """(q [rows], v [rows], the last rows of episodes that break off, V of the states in which they do).

        `fold` [N] says to which part an episode belongs; with one part only it is fitted to and asked about.
        """


def assign(episodes: int, folds: int, seed: int, key: str = "folds") -> NDArray[np.int64]:
    """Parts of equal size (give or take one) at random: [N] in 0 … folds − 1. `key` is the config's name of `folds`."""
    if not 1 <= folds <= episodes:
        raise UserError(f"{key}={folds}: the {episodes} episodes of the log cannot be split so; 1 turns it off")
    return np.random.default_rng(seed).permutation(episodes) % folds


def others(parts: Array, index: int) -> Array:
    """The sum of all parts [folds, ...] but the one at `index`; of the one part where there is no other."""
    return parts[0] if len(parts) == 1 else parts.sum(axis=0) - parts[index]
