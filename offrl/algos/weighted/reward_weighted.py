"""Cloning in proportion to reward: three weights without a value function.

EMRL and RWR: J. Peters and S. Schaal, "Reinforcement Learning by Reward-weighted Regression for Operational Space
Control", ICML 2007: expectation-maximisation takes the reward, made positive, as an improper probability, so that
the M-step is maximum likelihood with the reward as the weight; RWR is its form with exp(β r). The third weighs by the
whole return from a step on. Differ from the paper: β is fixed, where they adapt it; the policy is any head, fitted by
gradient steps, where they solve a linear Gaussian one; weights are capped.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from offrl.algos.base import Discounted
from offrl.algos.imitation.bc import BC
from offrl.errors import UserError
from offrl.functional import weights
from offrl.types import Batch, Experience, Loss, Network, Steps


@dataclass(eq=False, kw_only=True)
class WeightedCloning(BC):
    """Behaviour cloning in which every row has a weight. Only a log has the reward of what was done: an expert who is
    asked names actions alone.
    """

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"dataset"})

    @abstractmethod
    def weight(self, batch: Batch) -> Tensor:
        """How much each logged action counts, [B]."""

    def actor_loss(self, actor: Network, batch: Batch) -> Loss:
        """Make the logged action likely, in proportion to its weight."""
        weight = self.weight(batch)
        loss = (weight * actor(batch.obs).imitation_loss(batch.action)).mean()
        return loss, {"actor/loss": loss, "actor/weight": weight.mean()}


@dataclass(eq=False, kw_only=True)
class EMRL(WeightedCloning):
    """Weight r, which must not be negative: a negative one would push actions away without bound."""

    single_steps: ClassVar[bool] = True

    def check_data(self, steps: Steps) -> None:
        lowest = float(steps.reward.min())
        if lowest < 0.0:
            raise UserError(
                f"algo=emrl weighs by the reward, and these data hold a negative one ({lowest:g}): raise "
                f"dataset.reward_shift by {rounded_up(-lowest):g}, or use algo=rwr, whose weights are always positive"
            )

    def weight(self, batch: Batch) -> Tensor:
        return batch.reward


@dataclass(eq=False, kw_only=True)
class RWR(WeightedCloning):
    """Weight exp(β r)."""

    single_steps: ClassVar[bool] = True

    temperature: float  # beta: 0 clones, more trusts the reward
    max_weight: float  # cap on the weight

    def weight(self, batch: Batch) -> Tensor:
        return weights.exponential(batch.reward, self.temperature, self.max_weight)


@dataclass(eq=False, kw_only=True)
class ReturnWeighted(RWR, Discounted):
    """Weight exp(β G), G the discounted return from the step on."""

    single_steps: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("return_to_go",)

    def weight(self, batch: Batch) -> Tensor:
        return weights.exponential(batch.return_to_go, self.temperature, self.max_weight)


def rounded_up(number: float) -> float:
    """The next number of three digits above one that is above 0: more than it, by at most a hundredth."""
    unit = 10.0 ** (math.floor(math.log10(number)) - 2)
    return (math.floor(number / unit) + 1) * unit
