"""A mixture of Gaussians: several ways to act, each with a spread of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from offrl.errors import UserError
from offrl.functional import noise
from offrl.nn.heads.distribution import Density, Distribution, sampled_entropy
from offrl.nn.heads.gaussian import clipped, log_normal
from offrl.nn.heads.recipe import Ability, ReadOut
from offrl.types import ActionSpec


class GaussianMixture(Density):
    """sum_k w_k N(mean_k, std_k), the components over the whole action (Bishop 1994, "Mixture Density Networks").

    A sample may lie outside [-1, 1], the mode is clipped to it.
    """

    def __init__(self, logits: Tensor, mean: Tensor, log_std: Tensor, limit: Tensor | float = 1.0) -> None:
        self.log_weight = logits.log_softmax(-1)  # [B, K]
        self.mean, self.log_std = mean, log_std  # [B, K, A]
        self.limit = limit  # of what is executed, [A]

    def sample(self, count: int | None = None) -> Tensor:
        lead = () if count is None else (count,)
        chosen = noise.gumbel_argmax(self.log_weight.expand(*lead, *self.log_weight.shape))
        mean, log_std = self._component(self.mean, chosen), self._component(self.log_std, chosen)
        return mean + log_std.exp() * noise.normal(tuple(mean.shape), mean)

    def mode(self) -> Tensor:
        """The mean of a component that is likeliest under the whole mixture: where components are apart, its mode."""
        likeliest = self.log_prob(self.mean.movedim(1, 0)).argmax(0)  # [B], of [K, B]
        return self._component(self.mean, likeliest).clamp(-1.0, 1.0)

    def log_prob(self, action: Tensor) -> Tensor:
        component = log_normal(action.unsqueeze(-2), self.mean, self.log_std).sum(-1)  # [..., B, K]
        return (self.log_weight + component).logsumexp(-1)

    def clipped_log_prob(self, action: Tensor) -> Tensor:
        component = clipped(action.unsqueeze(-2), self.mean, self.log_std, self.limit).sum(-1)
        return (self.log_weight + component).logsumexp(-1)

    def entropy(self) -> Tensor:
        """A one-sample estimate: a mixture has no closed form."""
        return sampled_entropy(self)

    @staticmethod
    def _component(values: Tensor, index: Tensor) -> Tensor:
        """[B, K, A] at [..., B] -> [..., B, A]."""
        values = values.expand(*index.shape, *values.shape[1:])
        return values.gather(-2, index[..., None, None].expand(*index.shape, 1, values.shape[-1])).squeeze(-2)


@dataclass(frozen=True, kw_only=True)
class Mixture(ReadOut):
    """Recipe: weights, means and spreads of every component depend on the observation; means are bounded by tanh."""

    abilities: ClassVar[frozenset[Ability]] = frozenset({"density"})

    components: int
    min_log_std: float
    max_log_std: float

    def head(self, actions: ActionSpec) -> tuple[nn.Module, int]:
        if self.components < 1:
            raise UserError(f"policy.components={self.components}: a mixture has at least one")
        return _Mixture(self, actions), self.components * (1 + 2 * actions.size)


class _Mixture(nn.Module):
    limit: Tensor

    def __init__(self, recipe: Mixture, actions: ActionSpec) -> None:
        super().__init__()
        self.shape = (recipe.components, actions.size)
        self.bounds = (recipe.min_log_std, recipe.max_log_std)
        self.register_buffer("limit", actions.limit, persistent=False)

    def forward(self, outputs: Tensor) -> Distribution:
        size = self.shape[0] * self.shape[1]
        logits, mean, log_std = torch.split(outputs, [self.shape[0], size, size], -1)
        mean, log_std = mean.unflatten(-1, self.shape), log_std.unflatten(-1, self.shape)
        return GaussianMixture(logits, mean.tanh(), log_std.clamp(*self.bounds), self.limit)
