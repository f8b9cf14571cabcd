"""A deterministic policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from offrl.nn.heads.distribution import Distribution
from offrl.nn.heads.recipe import Ability, ReadOut
from offrl.types import ActionSpec


class Point(Distribution):
    """One action a row, without spread."""

    def __init__(self, action: Tensor) -> None:
        self.action = action  # [B, A]

    def sample(self, count: int | None = None) -> Tensor:
        return self.action if count is None else self.action.expand(count, *self.action.shape)

    def mode(self) -> Tensor:
        return self.action

    def imitation_loss(self, action: Tensor) -> Tensor:
        """Squared error, summed over action dimensions."""
        return (self.action - action).square().sum(-1)


@dataclass(frozen=True, kw_only=True)
class Deterministic(ReadOut):
    """Recipe: a = tanh(f(obs))."""

    abilities: ClassVar[frozenset[Ability]] = frozenset({"reparameterised"})

    def head(self, actions: ActionSpec) -> tuple[nn.Module, int]:
        return _Point(), actions.size


class _Point(nn.Module):
    def forward(self, outputs: Tensor) -> Distribution:
        return Point(outputs.tanh())
