"""AWAC and CRR: regress the policy on logged actions, each weighed by what a critic of that policy thinks of it.

AWAC: A. Nair, A. Gupta, M. Dalal and S. Levine, "AWAC: Accelerating Online Reinforcement Learning with Offline
Datasets", 2020, arXiv:2006.09359. CRR: Z. Wang et al., "Critic Regularized Regression", NeurIPS 2020,
arXiv:2006.15134. They are one algorithm: a critic learned by temporal differences under the policy, V(s) as its mean
over actions drawn from the policy, and a weight, exp(A) or 1(A > 0). CRR draws more actions, caps the weight lower,
lets the policy in the target lag, and has the critics choose among actions of the policy at test time, the critic
weighted policy (`algo=crr`). Differ from the papers: the minimum of two scalar critics for both, where CRR has one
distributional critic; AWAC's weights are capped where its code normalises them over the batch; with discrete actions
the mean over actions is exact.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from offrl.algos.base import Discounted
from offrl.algos.critics import bellman_loss
from offrl.errors import UserError
from offrl.functional import noise, weights
from offrl.nn.learner import Learner, Target
from offrl.nn.networks import MLP, Critics
from offrl.nn.policies import Policy
from offrl.types import ActionKind, Batch, Experience, Loss, Metrics, Network, Spec


@dataclass(eq=False, kw_only=True)
class CriticRegression(Discounted):
    """Weighted regression on the advantage under the policy itself."""

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"dataset", "replay"})
    action_kinds: ClassVar[frozenset[ActionKind]] = frozenset({"continuous", "discrete"})

    value_actions: int  # m: actions drawn for one V(s); with discrete actions V(s) is exact
    acting_actions: int  # drawn to act, of which the critics choose; 0: the mode of the policy
    critics: int  # E; their minimum is used
    lr: float
    target_rate: float  # step of the lagged critics
    target_policy_rate: float  # step of the lagged policy that acts in the target; 1: the policy itself
    target_period: int  # updates between such steps
    network: MLP
    policy: Policy

    def check(self) -> None:
        super().check()
        if self.value_actions < 1 or self.acting_actions < 0:
            raise UserError(
                f"algo.value_actions={self.value_actions} and algo.acting_actions={self.acting_actions}: "
                "at least 1 and 0 are needed"
            )

    def build(self, spec: Spec) -> None:
        self.discrete = spec.action.kind == "discrete"
        self.actor = Learner(self.policy.build(spec, self.network), self.lr)
        self.critic = Learner(Critics(spec, self.network, self.critics), self.lr)
        self.target_actor = Target(self.actor, self.target_policy_rate, self.target_period)
        self.target_critic = Target(self.critic, self.target_rate, self.target_period)

    @abstractmethod
    def weight(self, advantage: Tensor) -> Tensor:
        """How much each logged action counts, [B]."""

    def update(self, batch: Batch) -> Metrics:
        next_value = self.value(self.target_critic, batch.next_obs, self.target_actor(batch.next_obs))
        metrics = self.critic.descend(self.critic_loss, batch, next_value)
        value = self.value(self.critic, batch.obs, self.actor(batch.obs))
        advantage = self.critic(batch.obs, batch.action).amin(0) - value
        metrics |= self.actor.descend(self.actor_loss, batch, advantage)
        self.target_critic.track(self.critic)
        self.target_actor.track(self.actor)
        return metrics

    @torch.no_grad()
    def act(self, obs: Tensor) -> Tensor:
        """One of `acting_actions` drawn from the policy, its probability in proportion to exp Q (CRR's critic weighted
        policy), so it varies from call to call; with discrete actions the mode of π(a|s) exp Q(s, a).
        """
        if not self.acting_actions:
            return super().act(obs)
        policy, count = self.actor(obs), self.acting_actions
        if self.discrete:
            return (policy.log_probs[0] + self.critic(obs).amin(0)).argmax(-1)
        actions = policy.sample(count).clamp(-1.0, 1.0)  # [m, B, A]
        chosen = noise.gumbel_argmax(self._q(self.critic, obs, actions).mT)  # [B]
        return actions.gather(0, chosen[None, :, None].expand(1, *actions.shape[1:])).squeeze(0)

    def value(self, critic: Network, obs: Tensor, policy: Any) -> Tensor:
        """V(s) = E_{a ~ pi(s)} min_i Q_i(s, a), [B]."""
        if self.discrete:
            return (policy.log_probs[0].exp() * critic(obs).amin(0)).sum(-1)
        return self._q(critic, obs, policy.sample(self.value_actions).clamp(-1.0, 1.0)).mean(0)

    @staticmethod
    def _q(critic: Network, obs: Tensor, actions: Tensor) -> Tensor:
        """min_i Q_i of actions [m, B, A], [m, B]."""
        repeated = obs.expand(len(actions), *obs.shape).flatten(0, 1)
        return critic(repeated, actions.flatten(0, 1)).amin(0).unflatten(0, (len(actions), -1))

    def critic_loss(self, critic: Network, batch: Batch, next_value: Tensor) -> Loss:
        """(AWAC 4, CRR 1) every critic regresses on r + gamma V̄(s')."""
        return bellman_loss(critic, batch, batch.reward + batch.discount * next_value)

    def actor_loss(self, actor: Network, batch: Batch, advantage: Tensor) -> Loss:
        """(AWAC 13, CRR 2) clone the logged actions, each by its weight."""
        weight = self.weight(advantage)
        loss = (weight * actor(batch.obs).imitation_loss(batch.action)).mean()
        return loss, {"actor/loss": loss, "actor/weight": weight.mean(), "actor/advantage": advantage.mean()}


@dataclass(eq=False, kw_only=True)
class AWAC(CriticRegression):
    """Weight exp(β A)."""

    temperature: float  # beta: 0 clones, more trusts the advantage; the papers write exp(A / lambda), exp(A / beta)
    max_weight: float  # cap on the weight

    def weight(self, advantage: Tensor) -> Tensor:
        return weights.exponential(advantage, self.temperature, self.max_weight)


@dataclass(eq=False, kw_only=True)
class IndicatorCRR(CriticRegression):
    """Weight 1(A > 0): clone the actions that are better than the policy's own."""

    def weight(self, advantage: Tensor) -> Tensor:
        return weights.indicator(advantage)
