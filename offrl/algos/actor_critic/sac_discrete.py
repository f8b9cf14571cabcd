"""Soft actor-critic for discrete actions: every expectation over the policy is a sum over all actions.

P. Christodoulou, "Soft Actor-Critic for Discrete Action Settings", 2019, arXiv:1910.07207. Numbers in brackets are
that paper's equations. Differs from it: `target_entropy` is a knob (the paper takes 0.98 of the largest entropy), and
the lagged critics move softly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from offrl.algos.actor_critic.sac import SAC
from offrl.nn.policies import Categorical
from offrl.types import ActionKind, Network, Spec


@dataclass(eq=False, kw_only=True)
class DiscreteSAC(SAC):
    """Soft actor-critic, discrete actions. `target_entropy` is a share of log K, the entropy of uniform actions."""

    action_kinds: ClassVar[frozenset[ActionKind]] = frozenset({"discrete"})

    policy: Categorical  # pyright: ignore[reportIncompatibleVariableOverride] - the one head for such actions

    def build(self, spec: Spec) -> None:
        super().build(spec)
        self.entropy_floor = self.target_entropy * math.log(spec.action.choices[0])  # nats

    def evaluate(
        self, actor: Network, critic: Network, obs: Tensor, merge: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """(10), (12): Σ_a pi(a|s) Q(s, a) and Σ_a pi(a|s) log pi(a|s), [B] each."""
        log_probs = actor(obs).log_probs[0]  # [B, K]
        probs = log_probs.exp()
        return (probs * merge(critic(obs))).sum(-1), (probs * log_probs).sum(-1)
