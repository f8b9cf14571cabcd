"""What the algorithms that learn from whole episodes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from offrl.algos.base import OnPolicy
from offrl.functional.importance import first_steps_first
from offrl.functional.returns import return_to_go
from offrl.nn.learner import Learner
from offrl.nn.networks import MLP
from offrl.nn.policies import Density, Policy
from offrl.types import ActionKind, Batch, Network, Rollout, Spec


@dataclass(eq=False, kw_only=True)
class FromEpisodes(OnPolicy):
    """A policy that learns from whole episodes: rows of a batch are episodes, [E, T, …], and `mask` [E, T] says which
    steps there are. `batch_size` counts episodes.

    A rollout is one episode of every environment, from its start to its end or to `horizon` steps, where it is cut.
    """

    action_kinds: ClassVar[frozenset[ActionKind]] = frozenset({"continuous", "discrete", "multi_discrete"})
    whole_episodes: ClassVar[bool] = True

    lr: float
    network: MLP
    policy: Policy

    def build(self, spec: Spec) -> None:
        self.actor = Learner(self.policy.build(spec, self.network, needs="density"), self.lr)

    @torch.no_grad()
    def prepare(self, rollout: Rollout) -> Batch:
        over = rollout.terminated | rollout.truncated
        mask = (over.cumsum(0) - over.long()) == 0  # [T, N] until the first end: what follows it is another episode
        reward = rollout.reward * mask
        columns = Batch(
            rollout.obs,
            rollout.action,
            reward,
            self.discount * (~rollout.terminated).to(reward.dtype),
            rollout.next_obs,
            return_to_go=return_to_go(reward, discount=self.discount),
            mask=mask,
        )
        rows = Batch(*(column.transpose(0, 1) if column.numel() else column for column in columns))
        return rows._replace(log_prob=self.log_probs(self.actor.network, rows))

    def log_probs(self, actor: Network, rows: Batch) -> Tensor:
        """[E, T] of the actions taken; 0 in padding."""
        policy = actor(rows.obs.flatten(0, 1))
        return self.log_prob_of(policy, rows.action.flatten(0, 1)).view_as(rows.reward) * rows.mask

    def log_prob_of(self, policy: Density, action: Tensor) -> Tensor:
        """[B] of actions as the policy drew them, before anything clips them."""
        return policy.log_prob(action)

    def from_the_start(self, rows: Batch) -> Batch:
        """The rows with their first steps in front and nothing in their padding; logged windows end with their last."""
        order = first_steps_first(rows.mask)
        mask = rows.mask.gather(1, order)

        def ordered(column: Tensor) -> Tensor:
            index = order.view(*order.shape, *[1] * (column.dim() - 2))
            return torch.take_along_dim(column, index, 1)

        moved = Batch(*(ordered(column) if column.numel() else column for column in rows))
        return moved._replace(mask=mask, reward=moved.reward * mask, return_to_go=moved.return_to_go * mask)
