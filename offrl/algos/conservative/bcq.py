"""Batch-constrained Q-learning, continuous actions: choose the best of a few actions that the data could hold.

S. Fujimoto, D. Meger and D. Precup, "Off-Policy Deep Reinforcement Learning without Exploration", ICML 2019,
arXiv:1812.02900, algorithm 1. A variational auto-encoder learns which actions the data take at a state, a small
perturbation moves them uphill, and a critic chooses among the moved ones. Differs from the authors' code: layer sizes
(theirs are 400, 300, and 750 in the auto-encoder).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from offrl.algos.base import Discounted
from offrl.algos.critics import bellman_loss
from offrl.errors import UserError
from offrl.functional import noise
from offrl.nn.learner import Learner, Target
from offrl.nn.networks import MLP, Critics
from offrl.types import ActionKind, Batch, Experience, Loss, Metrics, Network, Spec


class AutoEncoder(nn.Module):
    """Actions given an observation, by a latent number or two (Kingma & Welling 2014, arXiv:1312.6114)."""

    def __init__(self, spec: Spec, network: MLP, latent: int) -> None:
        super().__init__()
        self.encoder = network.build(spec.obs, 2 * latent, extra=spec.action.size)
        self.decoder = network.build(spec.obs, spec.action.size, extra=latent)

    def forward(self, obs: Tensor, action: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, ...], [B, A], standard normal [B, L] -> (the action again, mean and log std of its latent [B, L])."""
        mean, log_std = self.encoder(obs, action).chunk(2, -1)
        log_std = log_std.clamp(-4.0, 15.0)  # the authors' bounds
        return self.decode(obs, mean + log_std.exp() * noise), mean, log_std

    def decode(self, obs: Tensor, latent: Tensor) -> Tensor:
        """[B, ...], [B, L] -> [B, A]."""
        return self.decoder(obs, latent).tanh()


class Perturbation(nn.Module):
    """a + range · tanh(f(s, a)), within [-1, 1]."""

    def __init__(self, spec: Spec, network: MLP, limit: float) -> None:
        super().__init__()
        self.network, self.limit = network.build(spec.obs, spec.action.size, extra=spec.action.size), limit

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """[B, ...], [B, A] -> [B, A]."""
        return (action + self.limit * self.network(obs, action).tanh()).clamp(-1.0, 1.0)


@dataclass(eq=False, kw_only=True)
class BCQ(Discounted):
    """Batch-constrained Q-learning."""

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"dataset", "replay"})
    action_kinds: ClassVar[frozenset[ActionKind]] = frozenset({"continuous"})

    lr: float
    critics: int
    target_rate: float  # Polyak step of the lagged networks
    minimum_weight: float  # lambda: weight of the lowest critic in the target, the highest has the rest
    perturbation: float  # Phi: how far an action may be moved; 0 takes the data's
    latent_size: int  # numbers for each action dimension
    latent_clip: float  # bound on the latents drawn to act: the likely part of the data
    divergence_weight: float  # of the latents' KL in the auto-encoder's loss
    target_actions: int  # n: drawn at s', in the target
    acting_actions: int  # drawn to act
    network: MLP

    def check(self) -> None:
        super().check()
        if not 0.0 <= self.minimum_weight <= 1.0:
            raise UserError(f"algo.minimum_weight={self.minimum_weight} is not in [0, 1]")
        for name in ("latent_size", "target_actions", "acting_actions"):
            if getattr(self, name) < 1:
                raise UserError(f"algo.{name}={getattr(self, name)} must be at least 1")

    def build(self, spec: Spec) -> None:
        self.latent = self.latent_size * spec.action.size
        self.generator = Learner(AutoEncoder(spec, self.network, self.latent), self.lr)
        self.actor = Learner(Perturbation(spec, self.network, self.perturbation), self.lr)
        self.critic = Learner(Critics(spec, self.network, self.critics), self.lr)
        self.target_actor = Target(self.actor, self.target_rate)
        self.target_critic = Target(self.critic, self.target_rate)

    def update(self, batch: Batch) -> Metrics:
        drawn = noise.normal((len(batch.action), self.latent), batch.action)
        metrics = self.generator.descend(self.generator_loss, batch, drawn)
        metrics |= self.critic.descend(self.critic_loss, batch, self.target(batch))
        metrics |= self.actor.descend(self.actor_loss, batch, self.plausible(batch.obs))
        self.target_critic.track(self.critic)
        self.target_actor.track(self.actor)
        return metrics

    def plausible(self, obs: Tensor) -> Tensor:
        """One action that the data might take at each observation, [B, A]."""
        latent = noise.normal((obs.shape[0], self.latent), obs).clamp(-self.latent_clip, self.latent_clip)
        return self.generator.network.decode(obs, latent)

    def generator_loss(self, generator: Network, batch: Batch, drawn: Tensor) -> Loss:
        """Squared error of the action, plus the KL divergence of its latent from the standard normal."""
        action, mean, log_std = generator(batch.obs, batch.action, drawn)
        reconstruction = (action - batch.action).square().mean()
        divergence = 0.5 * (mean.square() + (2.0 * log_std).exp() - 1.0 - 2.0 * log_std).mean()
        loss = reconstruction + self.divergence_weight * divergence
        return loss, {"generator/reconstruction": reconstruction, "generator/divergence": divergence}

    def target(self, batch: Batch) -> Tensor:
        """(13) y = r + gamma max_i [lambda min_j Q̄_j(s', a_i) + (1 − lambda) max_j Q̄_j(s', a_i)], [B]."""
        obs = repeated(batch.next_obs, self.target_actions)
        q = self.target_critic(obs, self.target_actor(obs, self.plausible(obs)))  # [E, n·B]
        q = self.minimum_weight * q.amin(0) + (1.0 - self.minimum_weight) * q.amax(0)
        return batch.reward + batch.discount * q.unflatten(0, (self.target_actions, -1)).amax(0)

    def critic_loss(self, critic: Network, batch: Batch, target: Tensor) -> Loss:
        """Every critic regresses on the same target."""
        return bellman_loss(critic, batch, target)

    def actor_loss(self, actor: Network, batch: Batch, action: Tensor) -> Loss:
        """(14) the perturbation climbs the first critic."""
        loss = -self.critic(batch.obs, actor(batch.obs, action), 0).mean()
        return loss, {"actor/loss": loss}

    @torch.no_grad()
    def act(self, obs: Tensor) -> Tensor:
        """(12) the best of some drawn actions, by the first critic; so it varies a little from call to call."""
        many = repeated(obs, self.acting_actions)
        action = self.actor(many, self.plausible(many))  # [n·B, A]
        best = self.critic(many, action, 0).unflatten(0, (self.acting_actions, -1)).argmax(0)  # [B]
        action = action.unflatten(0, (self.acting_actions, -1))
        return action.gather(0, best[None, :, None].expand(1, *action.shape[1:])).squeeze(0)

    @torch.no_grad()
    def explore(self, obs: Tensor, step: int) -> Tensor:
        return self.act(obs)


def repeated(obs: Tensor, count: int) -> Tensor:
    """[B, ...] -> [count · B, ...], the batch `count` times over."""
    return obs.expand(count, *obs.shape).flatten(0, 1)
