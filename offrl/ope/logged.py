"""A log and the policy that is asked about: all that estimators and their models are made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from offrl.ope.evidence import Array, Evidence, pad
from offrl.types import Batch, Spec

CHUNK = 8192  # rows handled at a time
LONG = 20  # chunks, beyond which a pass shows its progress


class Target(Protocol):
    """The policy whose worth is asked for."""

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        """[B] log p(action | obs); raises `UserError` where there is no density."""
        ...

    def choices(self, obs: Tensor) -> Tensor:
        """What it does: probabilities [B, K] of single discrete actions, or draws [B, draws, A] of others."""
        ...


class Chunk(NamedTuple):
    """Consecutive rows of a log."""

    rows: slice
    batch: Batch  # `discount` is 0 where the episode terminated, else 1
    to_go: Tensor  # [B] int64: steps that were still to come, this one included


@dataclass(frozen=True, eq=False)
class Log:
    """Whole episodes laid end to end, read a chunk at a time, so that they may be larger than memory."""

    read: Callable[[Tensor], Batch]  # row numbers [B] -> these rows
    spec: Spec
    lengths: NDArray[np.int64]  # [N] steps of each episode
    target: Target
    horizon: int  # T: steps of an episode whose rewards are asked for
    discount: float  # gamma of the return that is asked for

    @property
    def rows(self) -> int:
        """Steps in all."""
        return int(self.lengths.sum())

    @property
    def discrete(self) -> bool:
        """Whether actions are single choices."""
        return self.spec.action.kind == "discrete"

    @cached_property
    def episode(self) -> NDArray[np.int64]:
        """[rows] number of the episode."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @cached_property
    def timestep(self) -> NDArray[np.int64]:
        """[rows] from 0 in each episode."""
        return np.arange(self.rows) - np.repeat(np.cumsum(self.lengths) - self.lengths, self.lengths)

    @cached_property
    def last(self) -> NDArray[np.int64]:
        """[N] last row of each episode."""
        return np.cumsum(self.lengths) - 1

    def chunks(self) -> Iterator[Chunk]:
        """All rows, in order; of a long log with a bar on a terminal."""
        starts = range(0, self.rows, CHUNK)
        for start in tqdm(starts, "reading the log", leave=False, disable=None if len(starts) > LONG else True):
            part = slice(start, min(start + CHUNK, self.rows))
            yield Chunk(
                part,
                self.read(torch.arange(part.start, part.stop)),
                torch.as_tensor(self.horizon - self.timestep[part]),
            )

    def gather(self, what: Callable[[Chunk], Tensor]) -> Array:
        """[rows] one number a row."""
        out = np.empty(self.rows)
        for chunk in self.chunks():
            out[chunk.rows] = what(chunk).double().numpy()
        return out

    def evidence(self, log_behaviour: Array | None) -> Evidence:
        """Episodes side by side. Without `log_behaviour` [rows] (log b(a|s)) all ratios are 1: for models alone."""
        reward = self.gather(lambda chunk: chunk.batch.reward)
        ratio = np.zeros(self.rows)
        if log_behaviour is not None:
            ratio = self.log_target - log_behaviour
        return Evidence(self.pad(reward), self.pad(ratio), self.pad(np.ones(self.rows)).astype(np.bool_), self.discount)

    @cached_property
    def log_target(self) -> Array:
        """[rows] log p(a|s)."""
        return self.gather(lambda chunk: self.target.log_prob(chunk.batch.obs, chunk.batch.action))

    def pad(self, values: Array) -> Array:
        """[rows] -> [N, T]."""
        return pad(values, self.lengths, self.horizon)

    def breaks(self, endless: bool = False) -> NDArray[np.int64]:
        """Last rows of the episodes that the log breaks off before they end, by themselves or, if not `endless`, at the
        horizon."""
        alive = self.read(torch.as_tensor(self.last)).discount.numpy() > 0.0
        return self.last[alive & (endless | (self.lengths < self.horizon))]
