"""MPO: improve the policy without parameters on sampled actions (E-step), then regress on that within a trust region.

A. Abdolmaleki et al., "Maximum a Posteriori Policy Optimisation", ICLR 2018, arXiv:1806.06920; numbers in brackets are
its equations. The M-step bounds the policy's mean and spread apart, by Lagrange multipliers, as in the authors'
"Relative Entropy Regularized Policy Iteration", 2018, arXiv:1812.02256, and in Acme. Differs from them: one-step (or
n-step) targets where the paper has Retrace; no penalty on actions beyond the bounds, which the critic sees clipped;
the spread is diagonal. Differs from Acme alone: a bound and its multiplier hold for the divergence summed over the
numbers of an action, as in the paper, where Acme has one of each for every number; temperature and multipliers are
exponentials of what Adam moves, not softplus, so that a step changes each by a share of `dual_lr`, not by that amount.
With discrete actions the E-step weighs all of them, and one bound, `mean_bound`, holds the whole policy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from offrl.algos.base import Discounted
from offrl.algos.critics import bellman_loss
from offrl.errors import UserError
from offrl.functional import weights
from offrl.functional.divergence import categorical_kl, decoupled_gaussian_kl
from offrl.nn.learner import Learner, Target
from offrl.nn.networks import MLP, Critics
from offrl.nn.policies import Gaussian, Normal
from offrl.types import ActionKind, Batch, Experience, Loss, Metrics, Network, Spec


class Duals(nn.Module):
    """The temperature η of the E-step, and the multipliers α of the two bounds of the M-step; all above 0."""

    def __init__(self, temperature: float, mean: float, std: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor([temperature, mean, std]).log())

    def forward(self) -> tuple[Tensor, Tensor]:
        """(η 0-d, α [2])."""
        value = self.log.exp() + 1e-8
        return value[0], value[1:]


@dataclass(eq=False, kw_only=True)
class MPO(Discounted):
    """Maximum a posteriori policy optimisation."""

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"replay", "dataset"})
    action_kinds: ClassVar[frozenset[ActionKind]] = frozenset({"continuous", "discrete"})

    actions: int  # n: drawn from the lagged policy, a state; all of them are taken where they are discrete
    bound: float  # epsilon: KL of the E-step's weights from the lagged policy, in nats
    mean_bound: float  # epsilon_mu: KL by the mean of the new policy from the lagged one, over all numbers of an action
    std_bound: float  # epsilon_Sigma: KL by its spread, likewise
    initial_temperature: float  # eta
    initial_mean_multiplier: float  # alpha_mu
    initial_std_multiplier: float  # alpha_Sigma
    dual_lr: float  # of the logarithms of temperature and multipliers
    lr: float
    critics: int  # E; their minimum is used
    target_rate: float  # step of the lagged networks
    target_period: int  # updates between such steps
    network: MLP
    policy: Gaussian  # mean and spread are bounded apart

    def check(self) -> None:
        super().check()
        for name in ("actions", "initial_temperature", "initial_mean_multiplier", "initial_std_multiplier"):
            if getattr(self, name) <= 0:
                raise UserError(f"algo.{name}={getattr(self, name)} must be above 0")

    def build(self, spec: Spec) -> None:
        self.discrete = spec.action.kind == "discrete"
        self.actor = Learner(self.policy.build(spec, self.network), self.lr)
        self.critic = Learner(Critics(spec, self.network, self.critics), self.lr)
        self.target_actor = Target(self.actor, self.target_rate, self.target_period)
        self.target_critic = Target(self.critic, self.target_rate, self.target_period)
        duals = Duals(self.initial_temperature, self.initial_mean_multiplier, self.initial_std_multiplier)
        self.duals = Learner(duals, self.dual_lr)
        self.bounds = (self.mean_bound, self.std_bound)

    def update(self, batch: Batch) -> Metrics:
        _, log_prior, q = self.proposals(batch.next_obs, self.target_actor(batch.next_obs))
        metrics = self.critic.descend(self.critic_loss, batch, (log_prior.exp() * q).sum(0))
        old = self.target_actor(batch.obs)
        action, log_prior, q = self.proposals(batch.obs, old)
        temperature, multipliers = self.duals()
        weight = weights.nonparametric(q, log_prior, temperature)
        metrics |= self.actor.descend(self.actor_loss, batch, old, action, weight, multipliers)
        metrics |= self.duals.descend(self.dual_loss, q, log_prior, metrics["actor/kl_mean"], metrics["actor/kl_std"])
        self.target_actor.track(self.actor)
        self.target_critic.track(self.critic)
        return metrics

    def proposals(self, obs: Tensor, policy: Any) -> tuple[Tensor, Tensor, Tensor]:
        """n actions a state [n, B, ...], the logarithm of their share of the policy [n, B], and their Q̄ [n, B]."""
        if self.discrete:
            log_prior = policy.log_probs[0].T  # [K, B]
            action = torch.arange(len(log_prior), device=obs.device).unsqueeze(1).expand(log_prior.shape)
            return action, log_prior, self.target_critic(obs).amin(0).T
        action = policy.sample(self.actions)
        repeated = obs.expand(self.actions, *obs.shape).flatten(0, 1)
        q = self.target_critic(repeated, action.clamp(-1.0, 1.0).flatten(0, 1)).amin(0).unflatten(0, action.shape[:2])
        return action, torch.full_like(q, -math.log(self.actions)), q

    def critic_loss(self, critic: Network, batch: Batch, next_value: Tensor) -> Loss:
        """Every critic regresses on r + gamma E Q̄(s', a'), a' of the lagged policy."""
        return bellman_loss(critic, batch, batch.reward + batch.discount * next_value)

    def actor_loss(
        self, actor: Network, batch: Batch, old: Any, action: Tensor, weight: Tensor, multipliers: Tensor
    ) -> Loss:
        """(10)–(12) maximum likelihood of the weighted actions, less α KL for each of the two bounds."""
        new = actor(batch.obs)
        if self.discrete:
            log_prob = new.log_prob(action)  # [n, B]
            divergence = categorical_kl(old.log_probs[0], new.log_probs[0])
            kl = torch.stack((divergence, torch.zeros_like(divergence))).mean(1)
        else:
            log_prob = Normal(new.mean, old.log_std).log_prob(action) + Normal(old.mean, new.log_std).log_prob(action)
            kl = torch.stack(decoupled_gaussian_kl(old.mean, old.log_std, new.mean, new.log_std)).mean(1)
        loss = -(weight * log_prob).sum(0).mean() + (multipliers * kl).sum()
        entropy = new.entropy().mean()
        return loss, {"actor/loss": loss, "actor/kl_mean": kl[0], "actor/kl_std": kl[1], "actor/entropy": entropy}

    def dual_loss(self, duals: Network, q: Tensor, log_prior: Tensor, kl_mean: Tensor, kl_std: Tensor) -> Loss:
        """(8) for η; α grows while its KL is above its bound."""
        temperature, multipliers = duals()
        loss = weights.temperature_dual(q, log_prior, temperature, self.bound)
        loss = loss + multipliers[0] * (self.bounds[0] - kl_mean) + multipliers[1] * (self.bounds[1] - kl_std)
        return loss, {"temperature/value": temperature, "multiplier/mean": multipliers[0]}
