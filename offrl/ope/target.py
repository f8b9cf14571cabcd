"""A trained algorithm as the policy that is asked about."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from offrl.algos.base import Algorithm
from offrl.errors import UserError
from offrl.nn.heads.gaussian import clipped
from offrl.types import END, Spec, remembers


@dataclass(frozen=True, eq=False)
class Trained:
    """What an algorithm does when it is deployed: `stochastic` as it explores, its schedules at their end, else its one
    best action.

    One action out of continuously many has no density. With a `kernel` width it is smoothed into a Gaussian of that
    width around it, in units of [-1, 1], clipped as actions are: then that policy is the one that is valued (N. Kallus
    and A. Zhou, "Policy Evaluation and Optimization with Continuous Treatments", AISTATS 2018, arXiv:1802.06037).
    """

    algo: Algorithm
    spec: Spec
    stochastic: bool
    kernel: float | None
    draws: int  # actions that stand for a distribution of other than single discrete ones

    def __post_init__(self) -> None:
        check_reactive(self.algo)
        check_drawing(self.spec, self.stochastic, self.kernel, self.draws)

    @torch.no_grad()
    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        """[B] log p(action | obs)."""
        if self.kernel is not None:
            mean = self._acts(obs)
            spread = torch.full_like(mean, math.log(self.kernel))
            return clipped(action, mean, spread, self.spec.action.limit.to(mean.device)).sum(-1)
        if self.stochastic:
            return self.algo.log_prob(obs, action)
        if self._continuous:
            raise UserError(
                "stochastic=false: one action out of continuously many has no density, so nothing can be weighted; use "
                "kernel=0.1 (smooths it, and says so), a model (estimator=fqe), or stochastic=true"
            )
        return (action == self.algo.act(obs)).reshape(len(obs), -1).all(1).double().log()

    @torch.no_grad()
    def choices(self, obs: Tensor) -> Tensor:
        """Probabilities [B, K] of single discrete actions, or draws [B, draws, A] of others."""
        if self.spec.action.kind != "discrete":
            if self.kernel is None and not self.stochastic:
                return self.algo.act(obs)[:, None]
            drawn = [self._draw(obs) for _ in range(self.draws)]
            return torch.stack(drawn, 1)
        if not self.stochastic:
            return torch.nn.functional.one_hot(self.algo.act(obs), self.spec.action.choices[0]).double()
        every = range(self.spec.action.choices[0])
        chances = [self.algo.log_prob(obs, torch.full((len(obs),), action, device=obs.device)) for action in every]
        return torch.stack(chances, -1).double().exp()

    @property
    def _continuous(self) -> bool:
        return self.spec.action.kind == "continuous"

    def _acts(self, obs: Tensor) -> Tensor:
        return self.algo.explore(obs, END) if self.stochastic else self.algo.act(obs)

    def _draw(self, obs: Tensor) -> Tensor:
        action = self._acts(obs)
        if not self._continuous:
            return action
        if self.kernel is not None:
            action = action + self.kernel * torch.randn_like(action)
        return self.spec.action.executed(action)


def check_reactive(algo: Algorithm) -> None:
    """Raise `UserError` for a policy whose actions depend on more than the observation."""
    if remembers(algo):
        raise UserError(
            f"{type(algo).__name__} acts by what it remembers of an episode, and what is estimated from a log here are "
            "policies that act by the observation alone: roll it out instead (offrl evaluate)"
        )


def check_drawing(spec: Spec, stochastic: bool, kernel: float | None, draws: int) -> None:
    """Raise `UserError` for a kernel that does not apply, or for no actions to draw."""
    if draws < 1:
        raise UserError(f"draws={draws}: at least one action must stand for a continuous distribution")
    if kernel is None:
        return
    if kernel <= 0.0:
        raise UserError(f"kernel={kernel}: a width above 0, or null")
    if stochastic:
        raise UserError(f"kernel={kernel} smooths a policy of one action: use it with stochastic=false")
    if spec.action.kind != "continuous":
        raise UserError(
            f"kernel={kernel} smooths continuous actions, and these are {spec.action.kind}: use kernel=null"
        )
