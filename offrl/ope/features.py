"""Features of states in which values are linear."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from offrl.errors import UserError

Embedding = Callable[[Tensor], Tensor]  # [..., inputs] float64 -> [..., features]


@dataclass(frozen=True, kw_only=True)
class Features(ABC):
    """Recipe of an embedding of vectors that have mean 0 and spread 1."""

    @abstractmethod
    def embedding(self, inputs: Tensor) -> Embedding:
        """For vectors like these [rows, inputs]."""


@dataclass(frozen=True, kw_only=True)
class Polynomial(Features):
    """1 and the numbers themselves; with degree 2 also their products."""

    degree: int

    def __post_init__(self) -> None:
        if self.degree not in (1, 2):
            raise UserError(f"features.degree={self.degree}: 1 or 2")

    def embedding(self, inputs: Tensor) -> Embedding:
        first, second = np.triu_indices(inputs.shape[1])

        def embed(x: Tensor) -> Tensor:
            parts = [torch.ones_like(x[..., :1]), x]
            if self.degree == 2:
                parts.append(x[..., first] * x[..., second])
            return torch.cat(parts, -1)

        return embed


@dataclass(frozen=True, kw_only=True)
class Fourier(Features):
    """1, the numbers themselves, and √(2/D) cos(ωᵀx + b): a Gaussian kernel of width `bandwidth`, approximated (A.
    Rahimi and B. Recht, "Random Features for Large-Scale Kernel Machines", NeurIPS 2007, algorithm 1)."""

    count: int  # D
    bandwidth: float  # times √(number of inputs)
    seed: int

    def embedding(self, inputs: Tensor) -> Embedding:
        generator = torch.Generator().manual_seed(self.seed)
        size = inputs.shape[1]
        width = self.bandwidth * math.sqrt(size)
        omega = torch.randn(size, self.count, generator=generator, dtype=torch.float64) / width
        phase = 2.0 * math.pi * torch.rand(self.count, generator=generator, dtype=torch.float64)

        def embed(x: Tensor) -> Tensor:
            waves = (x @ omega + phase).cos() * math.sqrt(2.0 / self.count)
            return torch.cat([torch.ones_like(x[..., :1]), x, waves], -1)

        return embed


@dataclass(frozen=True, kw_only=True)
class Landmarks(Features):
    """Shares of 1 among points that lie where the data are: softmax(−|x − l_j|² / 2 width²)."""

    count: int
    width: float  # in units of the mean distance of a landmark from the nearest other one

    def embedding(self, inputs: Tensor) -> Embedding:
        landmarks = inputs[spaced(len(inputs), self.count)].unique(dim=0)
        apart = torch.cdist(landmarks, landmarks).fill_diagonal_(math.inf).amin(1)
        spread = self.width * float(apart[apart.isfinite()].mean()) if len(landmarks) > 1 else 1.0

        def embed(x: Tensor) -> Tensor:
            flat = x.reshape(-1, x.shape[-1])
            share = (-0.5 * (torch.cdist(flat, landmarks) / spread).square()).softmax(-1)
            return share.reshape(*x.shape[:-1], len(landmarks))

        return embed


def spaced(rows: int, count: int) -> Tensor:
    """At most `count` of this many rows, evenly spaced, int64. (In float32 the last of 2²⁴ rows and more is no row.)"""
    return torch.as_tensor(np.linspace(0, rows - 1, min(count, rows)).astype(np.int64))
