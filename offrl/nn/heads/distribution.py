"""What every policy head offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Distribution(ABC):
    """Over actions, one for each row of observations.

    Where an action is asked about, it may have further axes in front, [..., B, A].
    """

    @abstractmethod
    def sample(self, count: int | None = None) -> Tensor:
        """One action a row, [B, A] (discrete: [B]), or `count` of them, [count, B, A]; differentiable where the head
        is reparameterised.
        """

    @abstractmethod
    def mode(self) -> Tensor:
        """The action to be judged by, in [-1, 1] where continuous."""

    @abstractmethod
    def imitation_loss(self, action: Tensor) -> Tensor:
        """[B]: what cloning `action` costs; −log p(action | obs) where there is a density."""


class Density(Distribution):
    """A distribution that can say how likely an action is."""

    @abstractmethod
    def log_prob(self, action: Tensor) -> Tensor:
        """[B], in nats, summed over action dimensions."""

    @abstractmethod
    def entropy(self) -> Tensor:
        """[B], in nats."""

    def clipped_log_prob(self, action: Tensor) -> Tensor:
        """[B]: as `log_prob`, of an action that an environment clips: on a bound or beyond it, what lies there, in
        all."""
        return self.log_prob(action)

    def imitation_loss(self, action: Tensor) -> Tensor:
        return -self.log_prob(action)


def sampled_entropy(distribution: Density) -> Tensor:
    """[B]: entropy from one sample a row, for densities without a closed form.

    Value and gradient are unbiased: since E[∇ log p] = 0, the gradient of −E[log p] is −E[log p ∇ log p].
    """
    log_prob = distribution.log_prob(distribution.sample().detach())
    known = log_prob.detach()
    return -known - known * (log_prob - known)
