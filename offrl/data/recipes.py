"""What a `dataset` node builds: where the data are, and how they are prepared for training."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch

from offrl.data import steps as episodes
from offrl.data.checks import refuse_poison
from offrl.data.dataset import Dataset, Memory, rescale_reward
from offrl.data.steps import Recording
from offrl.errors import UserError
from offrl.types import ObsSpec, Spec, Steps

IQL_RANGE = 1000.0  # the range that returns get under `normalize_reward=return_range`


@dataclass(frozen=True, kw_only=True)
class Preparation(ABC):
    """What is done to logged data before an algorithm sees them."""

    obs_keys: tuple[str, ...] | None  # parts of Dict observations, in order; none: all but the achieved goal
    history: int  # observations in a window; 0: just the present one
    memory: Memory
    max_transitions: int | None  # keep whole episodes, chosen by `subset_seed`, up to so many transitions
    subset_seed: int
    best_fraction: float  # keep this share of the episodes, those of highest return
    normalize_reward: Literal["none", "return_range"]  # return_range: times 1000 / (largest - smallest return)
    reward_scale: float  # then reward * scale + shift
    reward_shift: float
    out_of_bounds: Literal["clip", "refuse"]  # for actions outside the bounds of their space
    timeouts_at: int | None  # episodes that "terminate" after so many steps were cut off by a time limit

    @property
    @abstractmethod
    def name(self) -> str:
        """What to call the data."""

    @abstractmethod
    def read(self) -> Recording:
        """The data as they were logged."""

    def cache(self) -> Path | None:
        """Folder for files derived from the data; None where there is none."""
        return None

    def elsewhere(self) -> Self:
        """The same preparation, whatever the place that data are read from and kept in."""
        return replace(self, memory="auto")

    def load(
        self,
        needs: Sequence[str] = (),
        discount: float = 1.0,
        n_step: int = 1,
        device: torch.device | str = "cpu",
        context: int = 0,
    ) -> Dataset:
        """The data, checked and prepared, with the columns that an algorithm `needs`.

        Raises:
            UserError: for data that cannot be had, or would poison training, and settings that leave nothing
                of them.
        """
        recording = self.read()
        refuse_poison(recording, self.out_of_bounds)
        recording = reinterpret_timeouts(recording, self.timeouts_at)
        steps = self._choose(clip_actions(recording.steps, recording.spec))
        returns = episodes.returns(steps)
        scale = self.reward_scale
        if self.normalize_reward == "return_range":
            scale *= IQL_RANGE / max(float(returns.max() - returns.min()), 1e-8)
        settings = repr(replace(self.elsewhere(), obs_keys=recording.obs_keys))
        return Dataset(
            rescale_reward(steps, scale, self.reward_shift),
            with_history(recording.spec, self.history),
            needs=needs,
            discount=discount,
            n_step=n_step,
            context=context,
            device=device,
            memory=self.memory,
            cache=self.cache(),
            returns=returns,
            reward_map=(scale, self.reward_shift),
            fingerprint=hashlib.sha256(f"{recording.fingerprint} {settings}".encode()).hexdigest(),
        )

    def _choose(self, steps: Steps) -> Steps:
        if not 0.0 < self.best_fraction <= 1.0:
            raise UserError(f"dataset.best_fraction={self.best_fraction} is not in (0, 1]")
        if self.best_fraction < 1.0:
            returns = episodes.returns(steps)
            count = max(1, round(self.best_fraction * len(returns)))
            best = np.zeros(len(returns), np.bool_)
            best[np.argsort(-returns, kind="stable")[:count]] = True
            steps = episodes.select(steps, best)
        if self.max_transitions is not None and self.max_transitions < len(steps):
            steps = episodes.select(steps, self._subset(episodes.lengths(steps), self.max_transitions))
        return steps

    def _subset(
        self, lengths: np.ndarray[tuple[int], np.dtype[np.int64]], room: int
    ) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        order = np.random.default_rng(self.subset_seed).permutation(len(lengths))
        kept = np.zeros(len(lengths), np.bool_)
        kept[order[np.cumsum(lengths[order]) <= room]] = True
        if not kept.any():
            raise UserError(
                f"dataset.max_transitions={room} is less than one episode ({lengths[order[0]]} steps): raise it"
            )
        return kept


@dataclass(frozen=True, kw_only=True)
class MinariData(Preparation):
    """A Minari dataset, on this machine or fetched from its remote."""

    id: str
    download: bool

    @property
    def name(self) -> str:
        return self.id

    def read(self) -> Recording:
        from offrl.data import minari

        return minari.read(self.id, download=self.download, obs_keys=self.obs_keys or ())

    def cache(self) -> Path | None:
        from offrl.data import minari

        return minari.cache_folder(self.id)


def with_history(spec: Spec, history: int) -> Spec:
    """`spec` with windows of `history` frames; 0 leaves it alone."""
    if history == 0:
        return spec
    return replace(spec, obs=ObsSpec((history, *spec.obs.shape), spec.obs.dtype, history))


def clip_actions(steps: Steps, spec: Spec) -> Steps:
    """Continuous actions within [-1, 1], wherever their coordinate has bounds at all."""
    if spec.action.kind != "continuous":
        return steps
    limit = np.where(np.isfinite(spec.action.low) & np.isfinite(spec.action.high), 1.0, np.inf).astype(np.float32)
    if (np.abs(steps.action) <= limit).all():
        return steps
    return replace(steps, action=np.clip(steps.action, -limit, limit))


def reinterpret_timeouts(recording: Recording, length: int | None) -> Recording:
    """Let episodes that terminate after exactly `length` steps be truncated instead.

    Where successors were not logged, their last steps go: nothing is known of what value to bootstrap from.
    """
    if length is None:
        return recording
    steps = recording.steps
    ends = episodes.ends(steps)
    limited = np.zeros(len(steps), np.bool_)
    limited[ends[episodes.lengths(steps) == length]] = True
    limited &= steps.terminated
    if recording.chained:
        rows = np.arange(len(steps)) if recording.rows is None else recording.rows
        return replace(recording, steps=episodes.without_ends(steps, limited), rows=rows[~limited])
    terminated, truncated = steps.terminated & ~limited, steps.truncated | limited
    return replace(recording, steps=replace(steps, terminated=terminated, truncated=truncated))
