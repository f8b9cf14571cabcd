"""Five algorithms the way public single-file PyTorch code writes them, as a yardstick of speed.

Written from the papers (TD3+BC arXiv:2106.06860, IQL 2110.06169, CQL 2006.04779, SAC 1812.05905), with the habits of
such code on purpose: one `torch.optim.Adam` a network, `.backward()`, twin critics as two networks, a buffer of five
tensors gathered one after the other, targets moved parameter by parameter, and every metric read back with `.item()` at
each step. Nothing here is tuned, and nothing is slowed down.

`plain_updates.py` runs them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.synthetic import ACTION, OBS, Log

Transitions = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]  # obs, action, reward, next_obs, done
Info = dict[str, float]

DISCOUNT, POLYAK, LR = 0.99, 0.005, 3e-4


class Agent(Protocol):
    """What the loop below needs."""

    def train(self, batch: Transitions) -> Info: ...


class ReplayBuffer:
    """Columns as separate tensors."""

    def __init__(self, log: Log) -> None:
        self.obs, self.action, self.next_obs = map(torch.from_numpy, (log.obs, log.action, log.next_obs))
        self.reward = torch.from_numpy(log.reward)[:, None]
        self.done = torch.from_numpy(log.terminated.astype(np.float32))[:, None]

    def sample(self, batch_size: int) -> Transitions:
        """Uniform rows, with replacement."""
        rows = np.random.randint(0, len(self.obs), size=batch_size)  # noqa: NPY002 - the habit
        return self.obs[rows], self.action[rows], self.reward[rows], self.next_obs[rows], self.done[rows]


def mlp(inputs: int, outputs: int, *ends: nn.Module) -> nn.Sequential:
    """Two hidden layers of 256."""
    return nn.Sequential(
        nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, outputs), *ends
    )


class Critic(nn.Module):
    """Q(s, a)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(OBS + ACTION, 1)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        return self.net(torch.cat([obs, action], -1))


class TwinCritic(nn.Module):
    """Two independent critics."""

    def __init__(self) -> None:
        super().__init__()
        self.q1, self.q2 = Critic(), Critic()

    def forward(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        return self.q1(obs, action), self.q2(obs, action)

    def smaller(self, obs: Tensor, action: Tensor) -> Tensor:
        """The pessimist of the two."""
        return torch.min(*self(obs, action))


class GaussianActor(nn.Module):
    """A Gaussian around tanh(mean), its spread the same everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(OBS, ACTION, nn.Tanh())
        self.log_std = nn.Parameter(torch.zeros(ACTION))

    def forward(self, obs: Tensor) -> torch.distributions.Normal:
        return torch.distributions.Normal(self.net(obs), self.log_std.clamp(-5, 2).exp())


class SquashedActor(nn.Module):
    """tanh of a Gaussian whose spread depends on the state."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(OBS, 2 * ACTION)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.net(obs).chunk(2, -1)
        normal = torch.distributions.Normal(mean, log_std.clamp(-20, 2).exp())
        raw = normal.rsample()
        correction = 2 * (math.log(2) - raw - F.softplus(-2 * raw))  # log(1 - tanh(raw)^2), without cancellation
        return torch.tanh(raw), (normal.log_prob(raw) - correction).sum(-1, keepdim=True)


def adam(parameters: Iterable[Tensor], lr: float = LR) -> torch.optim.Adam:
    """The optimiser at its defaults."""
    return torch.optim.Adam(parameters, lr=lr)


def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Descend one loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def track(target: nn.Module, source: nn.Module) -> None:
    """Move a target network a little."""
    for old, new in zip(target.parameters(), source.parameters(), strict=True):
        old.data.copy_(POLYAK * new.data + (1 - POLYAK) * old.data)


class BC:
    """Deterministic cloning."""

    def __init__(self) -> None:
        self.actor = mlp(OBS, ACTION, nn.Tanh())
        self.optimizer = adam(self.actor.parameters())

    def train(self, batch: Transitions) -> Info:
        loss = F.mse_loss(self.actor(batch[0]), batch[1])
        step(self.optimizer, loss)
        return {"actor_loss": loss.item()}


class TD3BC:
    """TD3 whose actor is also pulled towards the data."""

    def __init__(self) -> None:
        self.actor, self.critic = mlp(OBS, ACTION, nn.Tanh()), TwinCritic()
        self.actor_target, self.critic_target = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        self.actor_optimizer, self.critic_optimizer = (
            adam(self.actor.parameters()),
            adam(self.critic.parameters()),
        )
        self.steps = 0

    def train(self, batch: Transitions) -> Info:
        obs, action, reward, next_obs, done = batch
        self.steps += 1
        with torch.no_grad():
            noise = (torch.randn_like(action) * 0.2).clamp(-0.5, 0.5)
            next_action = (self.actor_target(next_obs) + noise).clamp(-1, 1)
            target = reward + DISCOUNT * (1 - done) * self.critic_target.smaller(next_obs, next_action)
        q1, q2 = self.critic(obs, action)
        critic_loss = F.mse_loss(q1, target) + F.mse_loss(q2, target)
        step(self.critic_optimizer, critic_loss)
        info = {"critic_loss": critic_loss.item(), "q": q1.mean().item()}
        if self.steps % 2 == 0:
            info["actor_loss"] = self.train_actor(obs, action)
        return info

    def train_actor(self, obs: Tensor, action: Tensor) -> float:
        """The delayed half of the update."""
        chosen = self.actor(obs)
        q = self.critic.q1(obs, chosen)
        loss = -2.5 / q.abs().mean().detach() * q.mean() + F.mse_loss(chosen, action)
        step(self.actor_optimizer, loss)
        track(self.actor_target, self.actor)
        track(self.critic_target, self.critic)
        return loss.item()


class IQL:
    """Expectile value, then advantage-weighted cloning."""

    def __init__(self) -> None:
        self.actor, self.critic, self.value = GaussianActor(), TwinCritic(), mlp(OBS, 1)
        self.critic_target = copy.deepcopy(self.critic)
        self.actor_optimizer, self.critic_optimizer = (
            adam(self.actor.parameters()),
            adam(self.critic.parameters()),
        )
        self.value_optimizer = adam(self.value.parameters())

    def train(self, batch: Transitions) -> Info:
        obs, action, reward, next_obs, done = batch
        with torch.no_grad():
            q = self.critic_target.smaller(obs, action)
            next_value = self.value(next_obs)
        advantage = q - self.value(obs)
        value_loss = (torch.abs(0.7 - (advantage < 0).float()) * advantage**2).mean()
        step(self.value_optimizer, value_loss)

        target = reward + DISCOUNT * (1 - done) * next_value
        q1, q2 = self.critic(obs, action)
        critic_loss = (F.mse_loss(q1, target) + F.mse_loss(q2, target)) / 2
        step(self.critic_optimizer, critic_loss)
        track(self.critic_target, self.critic)

        weight = (3.0 * advantage.detach()).exp().clamp(max=100.0)
        actor_loss = -(weight * self.actor(obs).log_prob(action).sum(-1, keepdim=True)).mean()
        step(self.actor_optimizer, actor_loss)
        return {"value": value_loss.item(), "critic": critic_loss.item(), "actor": actor_loss.item()}


class SAC:
    """Maximum entropy with a learned temperature."""

    backs_up_entropy, actor_lr = True, LR

    def __init__(self) -> None:
        self.actor, self.critic = SquashedActor(), TwinCritic()
        self.critic_target = copy.deepcopy(self.critic)
        self.log_alpha = torch.zeros(1, requires_grad=True)
        self.actor_optimizer = adam(self.actor.parameters(), self.actor_lr)
        self.critic_optimizer = adam(self.critic.parameters())
        self.alpha_optimizer = adam([self.log_alpha], self.actor_lr)

    def train(self, batch: Transitions) -> Info:
        obs, action, reward, next_obs, done = batch
        chosen, log_prob = self.actor(obs)
        alpha_loss = -(self.log_alpha * (log_prob.detach() - ACTION)).mean()
        step(self.alpha_optimizer, alpha_loss)
        alpha = self.log_alpha.exp().detach()

        actor_loss = (alpha * log_prob - self.critic.smaller(obs, chosen)).mean()
        step(self.actor_optimizer, actor_loss)

        with torch.no_grad():
            next_action, next_log_prob = self.actor(next_obs)
            future = self.critic_target.smaller(next_obs, next_action)
            if self.backs_up_entropy:
                future = future - alpha * next_log_prob
            target = reward + DISCOUNT * (1 - done) * future
        q1, q2 = self.critic(obs, action)
        critic_loss = F.mse_loss(q1, target) + F.mse_loss(q2, target) + self.penalty(obs, next_obs, q1, q2)
        step(self.critic_optimizer, critic_loss)
        track(self.critic_target, self.critic)
        return {
            "alpha": alpha.item(),
            "alpha_loss": alpha_loss.item(),
            "actor_loss": actor_loss.item(),
            "critic_loss": critic_loss.item(),
            "q1": q1.mean().item(),
        }

    def penalty(self, obs: Tensor, next_obs: Tensor, q1: Tensor, q2: Tensor) -> Tensor | float:
        """What CQL adds to the critics' loss."""
        return 0.0


class CQL(SAC):
    """SAC whose critics are pushed down on ten random, ten current and ten next actions, and up on the data's."""

    samples, weight = 10, 5.0
    backs_up_entropy, actor_lr = False, 1e-4

    def penalty(self, obs: Tensor, next_obs: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
        many, many_next = (x.repeat_interleave(self.samples, 0) for x in (obs, next_obs))
        with torch.no_grad():
            candidates = [self.actor(many), self.actor(many_next)]
        uniform = torch.empty_like(candidates[0][0]).uniform_(-1, 1)
        candidates.append((uniform, torch.full_like(uniform[:, :1], -ACTION * math.log(2))))
        gap = torch.zeros(())
        for critic, q in ((self.critic.q1, q1), (self.critic.q2, q2)):
            scores = [(critic(many, a) - log_prob).view(len(obs), -1) for a, log_prob in candidates]
            gap = gap + (torch.logsumexp(torch.cat(scores, 1), 1, keepdim=True) - q).mean()
        return self.weight * gap
