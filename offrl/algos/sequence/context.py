"""What a policy that reads sequences is shown: the last K steps of an episode, and how to read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from offrl.errors import UserError
from offrl.nn.networks import Encoder, Normalize
from offrl.nn.transformer import CausalTransformer, Transformer, drop, initialise
from offrl.types import ActionSpec, ObsSpec, Spec


class Context(NamedTuple):
    """K steps of N episodes, oldest first; the action of the last one is not looked at."""

    obs: Tensor  # [N, K, *obs.shape]
    action: Tensor  # [N, K, ...]
    return_to_go: Tensor  # [N, K] undiscounted
    timestep: Tensor  # [N, K] int64
    mask: Tensor  # [N, K] bool: which steps are there
    dropout: float | None  # while learning: every step is asked for its action; None: only the last one


class ContextEncoder(Encoder):
    """A context -> features [N·K, W] from which to choose the action of each step, or of the last ones [N, W].

    Return to go, observation and action are three places each step, with the step's own embedding added.
    """

    def __init__(self, spec: Spec, recipe: Transformer, timesteps: int, return_scale: float) -> None:
        super().__init__()
        if len(spec.obs.shape) != 1:
            raise UserError(
                f"a policy over sequences reads vectors, but observations have shape {spec.obs.shape}: leave "
                "env.history at 0, or use an environment without images"
            )
        self.action, self.return_scale = spec.action, return_scale
        self.normalize = Normalize(spec.obs.shape) if recipe.normalize_obs else None
        self.embed_return = nn.Linear(1, recipe.width)
        self.embed_obs = nn.Linear(spec.obs.shape[0], recipe.width)
        self.embed_action = nn.Linear(sum(spec.action.choices) or spec.action.size, recipe.width)
        self.embed_timestep = nn.Embedding(timesteps, recipe.width)
        self.norm = nn.LayerNorm(recipe.width)
        self.apply(initialise)
        self.transformer: CausalTransformer = recipe.transformer()
        self.features = recipe.width

    def forward(self, context: Context) -> Tensor:
        obs = context.obs if self.normalize is None else self.normalize(context.obs)
        step = self.embed_timestep(context.timestep.clamp(max=self.embed_timestep.num_embeddings - 1))
        places = (
            self.embed_return(context.return_to_go.unsqueeze(-1) / self.return_scale),
            self.embed_obs(obs),
            self.embed_action(as_numbers(context.action, self.action)),
        )
        x = self.norm(torch.stack([place + step for place in places], 2).flatten(1, 2))  # [N, 3K, W]
        x = self.transformer(drop(x, context.dropout), context.mask.repeat_interleave(3, 1), context.dropout)
        seen = x.unflatten(1, (-1, 3))[:, :, 1]  # at the observation: [N, K, W]
        return seen[:, -1] if context.dropout is None else seen.flatten(0, 1)


def as_numbers(action: Tensor, spec: ActionSpec) -> Tensor:
    """Actions [...] or [..., A] as inputs [..., F]: themselves, or one number for each choice."""
    if spec.kind == "continuous":
        return action
    columns = action.unsqueeze(-1) if spec.kind == "discrete" else action
    dtype = torch.get_default_dtype()
    hot = [F.one_hot(index, count) for index, count in zip(columns.unbind(-1), spec.choices, strict=True)]
    return torch.cat(hot, -1).to(dtype)


@dataclass(frozen=True, kw_only=True)
class ContextReader(Transformer):
    """Recipe for the networks of a policy whose observation is a `Context`."""

    spec: Spec
    timesteps: int  # that have an embedding of their own
    return_scale: float

    def encoder(self, obs: ObsSpec) -> Encoder:
        return ContextEncoder(self.spec, self, self.timesteps, self.return_scale)
