"""Soft and deterministic actor-critics with ensembles, and their offline forms, by loops over critics and actions."""

from __future__ import annotations

import copy
import itertools
import math

import torch
from torch import Tensor, nn

from offrl.types import Batch
from tests.reference import deterministic, maximum_entropy
from tests.reference.maximum_entropy import Noise
from tests.reference.plain import adam, polyak, q_values, smallest, step


class EDAC(maximum_entropy.SAC):
    """An et al. 2021, equation 4, critic by critic and pair by pair, among as many critics as an action has numbers."""

    eta: float

    def critic_loss(self, batch: Batch, target: Tensor, noise: Noise) -> Tensor:
        """Bellman errors, plus eta times equation 4, on average over all that their code may draw."""
        loss = super().critic_loss(batch, target, noise)
        directions: list[Tensor] = []
        for critic in self.critics:
            action = batch.action.clone().requires_grad_(True)
            (q,) = q_values(nn.ModuleList([critic]), batch.obs, action)
            (slope,) = torch.autograd.grad(q.sum(), action, create_graph=True)
            directions.append(slope / slope.norm(dim=1, keepdim=True))
        drawn = list(itertools.combinations(directions, min(len(directions), batch.action.shape[1])))
        return loss + self.eta * torch.stack([diversity(list(few)) for few in drawn]).mean()


def diversity(directions: list[Tensor]) -> Tensor:
    """Equation 4 as it is written: mean over rows of the sum over i and j != i of <u_i, u_j>, over N - 1."""
    pairs = itertools.permutations(directions, 2)
    return torch.stack([(a * b).sum(dim=1).mean() for a, b in pairs]).sum() / (len(directions) - 1)


class REDQ(maximum_entropy.SAC):
    """Chen et al. 2021, algorithm 1; `chosen` are the critics of the next target."""

    chosen: list[int]
    delay: int
    updates: int = 0

    def update(self, batch: Batch, noise: Noise) -> None:
        """Critics and targets at every call, the rest at every `delay`-th."""
        alpha = self.log_alpha.exp().item()
        with torch.no_grad():
            next_action, next_log_prob = self.draw(batch.next_obs, noise.next_action)
            lagged = q_values(self.target_critics, batch.next_obs, next_action)
            next_q = smallest([lagged[i] for i in self.chosen])
            target = batch.reward + batch.discount * (next_q - alpha * next_log_prob)
        step(self.critic_optimizer, self.critic_loss(batch, target, noise))
        polyak(self.target_critics, self.critics, self.rate)
        self.updates += 1
        if self.updates % self.delay == 0:
            action, log_prob = self.draw(batch.obs, noise.action)
            mean_q = sum(q_values(self.critics, batch.obs, action)) / len(self.critics)
            step(self.actor_optimizer, (alpha * log_prob - mean_q).mean())
            step(self.alpha_optimizer, -(self.log_alpha * (log_prob.detach() + self.target_entropy)).mean())


class CalQL(maximum_entropy.CQL):
    """Nakamoto et al. 2023, equation 5.1, and the squared gap of CQL (`power`): action by action."""

    power: int = 1
    calibrated: bool = False

    def critic_loss(self, batch: Batch, target: Tensor, noise: Noise) -> Tensor:
        """Bellman errors, plus weight (log of the mean of exp(Q) over the draw's density, less Q of the data)."""
        loss = maximum_entropy.SAC.critic_loss(self, batch, target, noise)
        for critic in self.critics:
            terms: list[Tensor] = []
            for action in noise.uniform:
                terms.append(self.value(critic, batch, action).exp() * 2.0 ** action.shape[1])
            for obs, draws in ((batch.obs, noise.here), (batch.next_obs, noise.there)):
                for eps in draws:
                    with torch.no_grad():
                        action, log_prob = self.draw(obs, eps)
                    q = self.value(critic, batch, action)
                    if self.calibrated:
                        q = torch.where(q > batch.return_to_go, q, batch.return_to_go)
                    terms.append(q.exp() / log_prob.exp())
            gap = (sum(terms) / len(terms)).log() - self.value(critic, batch, batch.action)  # pyright: ignore
            loss = loss + self.weight * (gap**self.power).mean()
        return loss

    @staticmethod
    def value(critic: nn.Module, batch: Batch, action: Tensor) -> Tensor:
        """Q(s, a)."""
        return q_values(nn.ModuleList([critic]), batch.obs, action)[0]


class ReBRAC(deterministic.TD3):
    """Tarasov et al. 2023, equations 3 and 4."""

    actor_weight: float
    critic_weight: float

    def update(self, batch: Batch, noise: Tensor) -> None:
        """As TD3, with the penalty taken off the reward of the transition: gamma beta |a' - a'_data|^2."""
        with torch.no_grad():
            smoothing = torch.clamp(noise * self.noise_std, -self.noise_clip, self.noise_clip)
            next_action = torch.clamp(torch.tanh(self.target_actor[0](batch.next_obs)) + smoothing, -1, 1)
            penalty = self.critic_weight * ((next_action - batch.next_action) ** 2).sum(dim=1)
        super().update(batch._replace(reward=batch.reward - batch.discount * penalty), noise)

    def actor_loss(self, batch: Batch) -> Tensor:
        """beta |pi(s) - a|^2 - min Q / mean |min Q|"""
        action = torch.tanh(self.actor[0](batch.obs))
        q = smallest(q_values(self.critics, batch.obs, action))
        distance = ((action - batch.action) ** 2).sum(dim=1)
        return (self.actor_weight * distance - q / q.abs().mean().item()).mean()


class DiscreteSAC:
    """Christodoulou 2019, equations 10 to 12, state by state."""

    def __init__(
        self, actor: nn.ModuleList, critics: nn.ModuleList, *, lr: float, rate: float, alpha: float, share: float
    ) -> None:
        self.actor, self.critics = actor, critics
        self.target_critics = copy.deepcopy(critics)
        self.log_alpha = nn.Parameter(torch.tensor(math.log(alpha)))
        self.actor_optimizer, self.critic_optimizer = adam(actor.parameters(), lr), adam(critics.parameters(), lr)
        self.alpha_optimizer = adam([self.log_alpha], lr)
        self.rate, self.share = rate, share

    def value(self, obs: Tensor, critics: nn.ModuleList, alpha: float) -> tuple[Tensor, Tensor]:
        """V(s) of one state, and the entropy there."""
        probs = torch.softmax(self.actor[0](obs), dim=0)
        scores = [critic(obs) for critic in critics]
        total, entropy = torch.zeros(()), torch.zeros(())
        for a in range(len(probs)):
            lowest = torch.stack([score[a] for score in scores]).min().detach()
            total = total + probs[a] * (lowest - alpha * probs[a].log())
            entropy = entropy - probs[a] * probs[a].log()
        return total, entropy

    def update(self, batch: Batch) -> None:
        """Critics, policy, temperature, targets."""
        alpha, rows = self.log_alpha.exp().item(), range(len(batch.reward))
        with torch.no_grad():
            following = [self.value(batch.next_obs[i], self.target_critics, alpha)[0] for i in rows]
            target = batch.reward + batch.discount * torch.stack(following)
        losses = [((c(batch.obs)[list(rows), batch.action] - target) ** 2).mean() for c in self.critics]
        step(self.critic_optimizer, torch.stack(losses).sum())
        seen = [self.value(batch.obs[i], self.critics, alpha) for i in rows]
        entropy = torch.stack([h for _, h in seen]).mean().item()
        step(self.actor_optimizer, -torch.stack([v for v, _ in seen]).mean())
        wanted = self.share * math.log(self.actor[0](batch.obs).shape[1])
        step(self.alpha_optimizer, self.log_alpha * (entropy - wanted))
        polyak(self.target_critics, self.critics, self.rate)
