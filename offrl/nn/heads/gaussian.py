"""Gaussian policies, plain and squashed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from offrl.functional import noise
from offrl.nn.heads.distribution import Density, Distribution
from offrl.nn.heads.recipe import Ability, ReadOut
from offrl.types import ActionSpec

LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
SQUASHED = 1.0 - 1e-6  # how near to a bound a tanh is told from it


class Normal(Density):
    """Independent Gaussians; a sample may lie outside [-1, 1], the mode is clipped to it."""

    def __init__(self, mean: Tensor, log_std: Tensor, limit: Tensor | float = 1.0) -> None:
        self.mean, self.log_std = mean, log_std  # [B, A], and the same or [A]
        self.limit = limit  # of what is executed, [A]

    def sample(self, count: int | None = None) -> Tensor:
        shape = self.mean.shape if count is None else (count, *self.mean.shape)
        return self.mean + self.log_std.exp() * noise.normal(tuple(shape), self.mean)

    def mode(self) -> Tensor:
        return self.mean.clamp(-1.0, 1.0)

    def log_prob(self, action: Tensor) -> Tensor:
        return log_normal(action, self.mean, self.log_std).sum(-1)

    def clipped_log_prob(self, action: Tensor) -> Tensor:
        return clipped(action, self.mean, self.log_std, self.limit).sum(-1)

    def entropy(self) -> Tensor:
        return (self.log_std + (LOG_SQRT_2PI + 0.5)).expand_as(self.mean).sum(-1)


class SquashedNormal(Density):
    """tanh of a Gaussian (Haarnoja et al. 2018, arXiv:1812.05905, appendix C)."""

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self.normal = Normal(mean, log_std)

    def sample(self, count: int | None = None) -> Tensor:
        return self.normal.sample(count).tanh()

    def mode(self) -> Tensor:
        return self.normal.mean.tanh()

    def sample_and_log_prob(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        """([*count, B, A], [*count, B]), from the draw before squashing: no inverse tanh, no clipped
        density."""
        shape = self.normal.mean.shape if count is None else (count, *self.normal.mean.shape)
        z = noise.normal(tuple(shape), self.normal.mean)
        raw = self.normal.mean + self.normal.log_std.exp() * z
        gaussian = 0.5 * z.square() + self.normal.log_std + LOG_SQRT_2PI
        return raw.tanh(), -(gaussian + log_tanh_slope(raw)).sum(-1)

    def log_prob(self, action: Tensor) -> Tensor:
        raw = unsquashed(action)
        return self.normal.log_prob(raw) - log_tanh_slope(raw).sum(-1)

    def clipped_log_prob(self, action: Tensor) -> Tensor:
        """[B]: as if `SQUASHED` were the bound, since rounding carries what lies beyond it onto ±1."""
        raw, mean, log_std = unsquashed(action), self.normal.mean, self.normal.log_std
        inside = log_normal(raw, mean, log_std) - log_tanh_slope(raw)
        return torch.where(action.abs() < SQUASHED, inside, log_beyond(raw, mean, log_std)).sum(-1)

    def entropy(self) -> Tensor:
        """A one-sample estimate: the squashed Gaussian has no closed form."""
        return -self.sample_and_log_prob()[1]


def log_normal(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log N(x; mean, std), number by number."""
    z = (x - mean) * (-log_std).exp()
    return -(0.5 * z.square() + log_std + LOG_SQRT_2PI)


def log_beyond(bound: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log of the probability of all that lies beyond `bound`, on the side of 0 where it is."""
    return log_cdf(bound.sign() * (mean - bound) * (-log_std).exp())


def clipped(action: Tensor, mean: Tensor, log_std: Tensor, limit: Tensor | float) -> Tensor:
    """log N(action; mean, std), number by number; at ±1 or beyond the log of the probability of all that lies there.

    `limit` is 1, or infinite where nothing is clipped.
    """
    beyond = log_beyond(action.sign(), mean, log_std)
    return torch.where(action.abs() < limit, log_normal(action, mean, log_std), beyond)


def log_cdf(z: Tensor) -> Tensor:
    """log P(Z ≤ z), Z standard normal, with nothing lost in either tail. As `torch.special.log_ndtr`, which many runs
    at once cannot call as one.
    """
    low, high = z.clamp(max=0.0) / math.sqrt(2.0), z.clamp(min=0.0) / math.sqrt(2.0)
    tail = (0.5 * torch.special.erfcx(-low)).log() - low.square()
    return torch.where(z < 0.0, tail, torch.log1p(-0.5 * torch.special.erfc(high)))


def unsquashed(action: Tensor) -> Tensor:
    """The inverse of tanh; of actions on the bounds, which have none, or almost there, that of `SQUASHED`."""
    return action.clamp(-SQUASHED, SQUASHED).atanh()


def log_tanh_slope(raw: Tensor) -> Tensor:
    """log(1 − tanh²(raw)), in the form that does not underflow."""
    return 2.0 * (math.log(2.0) - raw - F.softplus(-2.0 * raw))


@dataclass(frozen=True, kw_only=True)
class Gaussian(ReadOut):
    """Recipe: a Gaussian, its mean bounded by tanh or not, its spread a function of the observation or
    not."""

    abilities: ClassVar[frozenset[Ability]] = frozenset({"density", "reparameterised"})

    tanh_mean: bool
    state_dependent_std: bool
    initial_log_std: float  # where the spread does not depend on the observation
    min_log_std: float
    max_log_std: float

    def head(self, actions: ActionSpec) -> tuple[nn.Module, int]:
        return _Gaussian(self, actions), actions.size * (1 + self.state_dependent_std)


@dataclass(frozen=True, kw_only=True)
class TanhGaussian(ReadOut):
    """Recipe: tanh of a Gaussian whose mean and spread depend on the observation."""

    abilities: ClassVar[frozenset[Ability]] = frozenset({"density", "reparameterised"})

    min_log_std: float
    max_log_std: float

    def head(self, actions: ActionSpec) -> tuple[nn.Module, int]:
        return _TanhGaussian(self), 2 * actions.size


class _Gaussian(nn.Module):
    limit: Tensor

    def __init__(self, recipe: Gaussian, actions: ActionSpec) -> None:
        super().__init__()
        self.tanh_mean, self.bounds = recipe.tanh_mean, (recipe.min_log_std, recipe.max_log_std)
        free = None if recipe.state_dependent_std else torch.full((actions.size,), recipe.initial_log_std)
        self.log_std = None if free is None else nn.Parameter(free)
        self.register_buffer("limit", actions.limit, persistent=False)

    def forward(self, outputs: Tensor) -> Distribution:
        mean, log_std = outputs.chunk(2, -1) if self.log_std is None else (outputs, self.log_std)
        return Normal(mean.tanh() if self.tanh_mean else mean, log_std.clamp(*self.bounds), self.limit)


class _TanhGaussian(nn.Module):
    def __init__(self, recipe: TanhGaussian) -> None:
        super().__init__()
        self.bounds = (recipe.min_log_std, recipe.max_log_std)

    def forward(self, outputs: Tensor) -> Distribution:
        mean, log_std = outputs.chunk(2, -1)
        return SquashedNormal(mean, log_std.clamp(*self.bounds))
