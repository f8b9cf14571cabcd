"""Off-policy policy gradient with state distribution correction: learn from a log as if its states were one's own.

Y. Liu, A. Swaminathan, A. Agarwal and E. Brunskill, "Off-Policy Policy Gradient with State Distribution Correction",
UAI 2019, arXiv:1904.08473. The gradient is E_b[w(s) ρ(s,a) A(s,a) ∇ log π(a|s)], w(s) the ratio of discounted state
distributions under π and b. The estimator of w is the discounted one of Q. Liu, L. Li, Z. Tang and D. Zhou, "Breaking
the Curse of Horizon", NeurIPS 2018, arXiv:1810.12429: w must carry the mass of states over a transition, so a network
is fitted to leave no residual that a Gaussian kernel can see (the largest over the unit ball of its space, in closed
form). Differs from the first paper: w is no longer scaled to mean 1, since the start pins it and episodes may end; V is
a network fitted by weighted temporal differences, and A its error; the data's probabilities are taken as logged, not
smoothed; one step of each network a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from offrl.algos.base import Discounted
from offrl.errors import UserError
from offrl.functional.importance import capped_exp
from offrl.nn.learner import Learner
from offrl.nn.networks import MLP, Value
from offrl.nn.policies import Policy
from offrl.types import ActionKind, Batch, Experience, Loss, Metrics, Network, Spec


@dataclass(eq=False, kw_only=True)
class StateCorrected(Discounted):
    """Off-policy policy gradient, its state distribution corrected."""

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"dataset"})
    structural: ClassVar[frozenset[str]] = frozenset({"max_weight"})  # its logarithm is taken once
    action_kinds: ClassVar[frozenset[ActionKind]] = frozenset({"continuous", "discrete", "multi_discrete"})
    needs: ClassVar[tuple[str, ...]] = ("log_prob", "timestep")
    single_steps: ClassVar[bool] = True

    lr: float  # of the policy
    value_lr: float
    ratio_lr: float
    bandwidth: float  # of the kernel, in root mean square distances between observations
    max_weight: float  # cap on rho
    network: MLP
    policy: Policy

    def check(self) -> None:
        super().check()
        if self.bandwidth <= 0.0 or self.max_weight <= 0.0:
            raise UserError(f"algo.bandwidth={self.bandwidth} and algo.max_weight={self.max_weight} must be above 0")

    @property
    def fewest_rows(self) -> int:
        """The loss of w is over pairs of rows."""
        return 2

    def build(self, spec: Spec) -> None:
        if spec.obs.is_image:
            raise UserError("this algorithm compares observations by their distance, which means nothing for images")
        self.actor = Learner(self.policy.build(spec, self.network, needs="density"), self.lr)
        self.value = Learner(Value(spec, self.network), self.value_lr)
        self.ratio = Learner(Value(spec, self.network), self.ratio_lr)

    def update(self, batch: Batch) -> Metrics:
        log_prob = self.actor(batch.obs).clipped_log_prob(batch.action)
        rho = capped_exp(log_prob - batch.log_prob, self.max_weight)
        metrics = self.ratio.descend(self.ratio_loss, batch, rho)
        weight = self.visits(batch) * state_ratio(self.ratio, batch.obs) * rho  # [B]
        target = batch.reward + batch.discount * self.value(batch.next_obs)
        metrics |= self.value.descend(self.value_loss, batch, weight, target)
        advantage = batch.reward + batch.discount * self.value(batch.next_obs) - self.value(batch.obs)
        return metrics | self.actor.descend(self.actor_loss, batch, weight * advantage)

    def visits(self, batch: Batch) -> Tensor:
        """[B] gamma^t: what a logged step counts in the discounted distribution of the log."""
        return self.discount ** batch.timestep.to(batch.reward.dtype)

    def ratio_loss(self, ratio: Network, batch: Batch, rho: Tensor) -> Loss:
        """Mass that w leaves over: at s', gamma^(t+1) (w(s) rho − w(s')), and at the start 1 − w(s)."""
        here, there = state_ratio(ratio, batch.obs), state_ratio(ratio, batch.next_obs)
        carried = self.visits(batch) * batch.discount * (here * rho - there)
        begun = (batch.timestep == 0) * (1.0 - here)
        points = torch.cat((batch.next_obs, batch.obs)).flatten(1)
        mass = torch.cat((carried, begun))
        rows = torch.arange(len(rho), device=mass.device).repeat(2)
        others = rows[:, None] != rows  # a row's own noise, squared, is not residual, and would pull w to 0
        loss = mass @ (self.kernel(points) * others) @ mass / (len(rho) * (len(rho) - 1))
        return loss, {"ratio/loss": loss, "ratio/mean": here.mean()}

    def kernel(self, points: Tensor) -> Tensor:
        """[n, n] exp(−|x − y|² / (2 h²)), h in units of the points' own spread."""
        distance = (points[:, None] - points).square().sum(-1)
        return (-distance / (2.0 * self.bandwidth**2 * distance.mean().clamp(min=1e-12))).exp()

    def value_loss(self, value: Network, batch: Batch, weight: Tensor, target: Tensor) -> Loss:
        """Temporal differences, each counted as often as π would meet it."""
        v = value(batch.obs)
        loss = (weight * (v - target).square()).mean()
        return loss, {"value/loss": loss, "value/mean": v.mean()}

    def actor_loss(self, actor: Network, batch: Batch, weight: Tensor) -> Loss:
        """−w rho A log π(a|s)."""
        loss = -(weight * actor(batch.obs).clipped_log_prob(batch.action)).mean()
        return loss, {"actor/loss": loss}


def state_ratio(ratio: Network, obs: Tensor) -> Tensor:
    """[B] w(s) > 0."""
    return F.softplus(ratio(obs))
