"""Behaviour cloning with three kinds of policy."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Normal

from tests.reference.plain import adam, step


class Cloning:
    """Maximum likelihood, or least squares where the policy has no spread."""

    def __init__(self, actor: nn.ModuleList, kind: str, lr: float, log_std: Tensor | None = None) -> None:
        self.actor, self.kind = actor, kind
        self.log_std = None if log_std is None else nn.Parameter(log_std.clone())
        self.optimizer = adam([*actor.parameters(), *([] if self.log_std is None else [self.log_std])], lr)

    def update(self, obs: Tensor, action: Tensor) -> None:
        """One step on the mean over the batch."""
        outputs = self.actor[0](obs)
        if self.kind == "deterministic":
            losses = ((torch.tanh(outputs) - action) ** 2).sum(dim=1)
        elif self.kind == "gaussian":
            assert self.log_std is not None
            losses = -Normal(torch.tanh(outputs), self.log_std.exp()).log_prob(action).sum(dim=1)
        else:
            losses = -Categorical(logits=outputs).log_prob(action)
        step(self.optimizer, losses.mean())
