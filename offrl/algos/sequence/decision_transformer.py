"""Decision Transformer: given what is still to be earned, and the steps so far, what would the data have done?

L. Chen et al., "Decision Transformer: Reinforcement Learning via Sequence Modeling", NeurIPS 2021, arXiv:2106.01345,
algorithm 1. Acting, it asks for a return and subtracts each reward from it. Differs from the paper: contexts end at a
uniformly drawn step, where theirs begin there; Adam without weight decay; the return asked for is, unless given, that
of the best episode in the data, where they try two by hand; any policy head, where theirs is deterministic
(`policy=deterministic`, the default here) or categorical. As in the authors' code for control observations are
standardised (here also clipped, see `Normalize`) and dropout begins at the embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from offrl.algos.base import Algorithm
from offrl.algos.sequence.context import Context, ContextReader
from offrl.errors import UserError
from offrl.functional.weights import masked_mean
from offrl.nn.learner import Learner
from offrl.nn.policies import Policy
from offrl.nn.transformer import Transformer
from offrl.types import ActionKind, Batch, Experience, Loss, Metrics, Network, Player, Spec


class Earned(nn.Module):
    """What its data earned: the largest return of an episode in them, in their units, and what they made of the
    environment's rewards, one by one: reward * scale + shift. 0, 1 and 0 until it hears.
    """

    best: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("best", torch.tensor(0.0))
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("shift", torch.tensor(0.0))

    def hear(self, best: float, scale: float, shift: float) -> None:
        """Take over those of the data."""
        self.best.fill_(best)
        self.scale.fill_(scale)
        self.shift.fill_(shift)

    def forward(self, reward: Tensor) -> Tensor:
        """A reward of the environment as the data would have it."""
        return reward * self.scale + self.shift


@dataclass(eq=False, kw_only=True)
class DecisionTransformer(Algorithm):
    """Return-conditioned sequence modelling. `batch_size` counts contexts."""

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"dataset"})
    action_kinds: ClassVar[frozenset[ActionKind]] = frozenset({"continuous", "discrete", "multi_discrete"})
    needs: ClassVar[tuple[str, ...]] = ("return_to_go", "timestep")

    context_length: int  # K: steps in view
    target_return: float | None  # to ask for, with rewards as the data have them; None: that of their best episode
    return_scale: float  # returns are divided by it
    timesteps: int  # with an embedding of their own; later ones share the last
    lr: float
    warmup_updates: int  # over which the learning rate rises from 0; 0: none
    max_grad_norm: float
    dropout: float
    network: Transformer
    policy: Policy

    def check(self) -> None:
        super().check()
        if self.context_length < 1 or self.timesteps < 1 or self.return_scale <= 0.0:
            raise UserError("algo.context_length and algo.timesteps must be at least 1, algo.return_scale above 0")
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"algo.dropout={self.dropout} is not in [0, 1)")

    @property
    def context(self) -> int:
        return self.context_length

    def build(self, spec: Spec) -> None:
        self.spec = spec
        self.numbers = max(spec.action.size, 1)  # in one action
        sizes: dict[str, Any] = vars(self.network)
        reader = ContextReader(**sizes, spec=spec, timesteps=self.timesteps, return_scale=self.return_scale)
        policy = self.policy.build(spec, reader)
        self.actor = Learner(policy, self.lr, max_grad_norm=self.max_grad_norm)
        self.earned = Earned()

    def set_earnings(self, best: float, scale: float, shift: float) -> None:
        self.earned.hear(best, scale, shift)

    def update(self, batch: Batch) -> Metrics:
        if self.warmup_updates:
            self.actor.lr.copy_(self.lr * ((self.actor.step + 1.0) / self.warmup_updates).clamp(max=1.0))
        return self.actor.descend(self.actor_loss, batch)

    def actor_loss(self, actor: Network, batch: Batch) -> Loss:
        """Make the logged action of every step likely, given the steps before it and what came of them: a mean over the
        numbers of an action too, which is what `max_grad_norm` is made for."""
        policy = actor(Context(batch.obs, batch.action, batch.return_to_go, batch.timestep, batch.mask, self.dropout))
        loss = masked_mean(policy.imitation_loss(batch.action.flatten(0, 1)), batch.mask.flatten())
        loss = loss / self.numbers
        return loss, {"actor/loss": loss}

    @property
    def target(self) -> Tensor:
        """The return to ask for, 0-d."""
        best = self.earned.best
        return best if self.target_return is None else torch.full_like(best, self.target_return)

    def player(self, envs: int, stochastic: bool) -> Player:
        """See `at_play`: it remembers the last K steps of every environment."""
        return Remembering(self, envs, stochastic)

    @torch.no_grad()
    def act(self, obs: Tensor) -> Tensor:
        """As at the first step of an episode; `player` goes on from there."""
        return self.player(len(obs), False).act(obs)

    @torch.no_grad()
    def explore(self, obs: Tensor, step: int) -> Tensor:
        return self.player(len(obs), True).act(obs)


class Remembering:
    """A Decision Transformer at play in N environments, with the last K steps of each."""

    def __init__(self, algo: DecisionTransformer, envs: int, stochastic: bool) -> None:
        self.actor, self.stochastic = algo.actor, stochastic
        self.target, self.earned = algo.target, algo.earned
        obs, action, length = algo.spec.obs, algo.spec.action, algo.context_length

        def zeros(*shape: int, dtype: torch.dtype | None = None) -> Tensor:
            return torch.zeros(envs, length, *shape, dtype=dtype or self.target.dtype, device=self.target.device)

        dtype = None if action.kind == "continuous" else torch.int64
        self.context = Context(
            zeros(*obs.shape),
            zeros(*action.shape, dtype=dtype),
            zeros(),
            zeros(dtype=torch.int64),
            zeros(dtype=torch.bool),
            None,
        )
        self.return_to_go = self.target.expand(envs).clone()  # [N]
        self.timestep = zeros(dtype=torch.int64)[:, 0]

    @torch.no_grad()
    def act(self, obs: Tensor) -> Tensor:
        """[N, *obs.shape] -> actions, with this observation added to what is remembered."""
        old = self.context
        here = torch.ones_like(old.mask[:, :1])
        self.context = Context(
            torch.cat((old.obs[:, 1:], obs.unsqueeze(1)), 1),
            torch.cat((old.action[:, 1:], torch.zeros_like(old.action[:, :1])), 1),
            torch.cat((old.return_to_go[:, 1:], self.return_to_go.unsqueeze(1)), 1),
            torch.cat((old.timestep[:, 1:], self.timestep.unsqueeze(1)), 1),
            torch.cat((old.mask[:, 1:], here), 1),
            None,
        )
        policy: Any = self.actor(self.context)
        return policy.sample() if self.stochastic else policy.mode()

    @torch.no_grad()
    def observe(self, action: Tensor, reward: Tensor, over: Tensor) -> None:
        """Less is to be earned now, in the units of the data; an episode that is over is forgotten."""
        self.context = self.context._replace(
            action=torch.cat((self.context.action[:, :-1], action.unsqueeze(1)), 1),
            mask=self.context.mask & ~over.unsqueeze(1),
        )
        self.return_to_go = torch.where(over, self.target, self.return_to_go - self.earned(reward))
        self.timestep = torch.where(over, 0, self.timestep + 1)
