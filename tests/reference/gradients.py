"""Policy gradients, written a second time: episode by episode and step by step, with plain autograd."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Normal, kl_divergence
from torch.func import functional_call

from offrl.types import Batch, Rollout
from tests.reference.plain import adam


class Actor(nn.Module):
    """A network and, for continuous actions, a spread of its own."""

    def __init__(self, body: nn.Module, log_std: Tensor | None) -> None:
        super().__init__()
        self.body, self.log_std = body, None if log_std is None else nn.Parameter(log_std.clone())

    def forward(self, obs: Tensor) -> Categorical | Normal:
        outputs = self.body(obs)
        return Categorical(logits=outputs) if self.log_std is None else Normal(outputs, self.log_std.exp())


def log_prob(policy: Categorical | Normal, action: Tensor) -> Tensor:
    each = policy.log_prob(action)
    return each.sum(-1) if isinstance(policy, Normal) else each


def clipped_log_prob(policy: Categorical | Normal, action: Tensor) -> Tensor:
    """As logged: a number at or beyond a bound has the probability of all that lies there."""
    if isinstance(policy, Categorical):
        return policy.log_prob(action)
    one = torch.ones(())
    below, above = policy.cdf(-one).log(), (1.0 - policy.cdf(one)).log()
    return torch.where(action <= -1, below, torch.where(action >= 1, above, policy.log_prob(action))).sum(-1)


def episodes(rollout: Rollout) -> list[list[int]]:
    """Of each environment the steps of its first episode."""
    found = []
    for n in range(rollout.reward.shape[1]):
        steps = []
        for t in range(rollout.reward.shape[0]):
            steps.append(t)
            if rollout.terminated[t, n] or rollout.truncated[t, n]:
                break
        found.append(steps)
    return found


def advantages(r: Rollout, value: Tensor, following: Tensor, discount: float, trace: float, n_step: int) -> Tensor:
    """[T, N]: at most `n_step` (0: all) discounted errors of the same episode."""
    result = torch.zeros_like(r.reward)
    for n in range(r.reward.shape[1]):
        for t in range(len(r.reward)):
            for k in range(len(r.reward) - t if n_step == 0 else min(n_step, len(r.reward) - t)):
                future = 0.0 if r.terminated[t + k, n] else discount * following[t + k, n]
                result[t, n] += (discount * trace) ** k * (r.reward[t + k, n] + future - value[t + k, n])
                if r.terminated[t + k, n] or r.truncated[t + k, n]:
                    break
    return result


def reinforce_loss(actor: Actor, value: nn.Module, r: Rollout, discount: float, to_go: bool, baseline: str) -> Tensor:
    """Minus the score of each action times its credit, summed over steps, averaged over episodes."""
    found = episodes(r)
    credit: dict[tuple[int, int], float] = {}
    for n, steps in enumerate(found):
        for t in range(len(r.reward)):
            first = t if to_go else 0
            credit[t, n] = sum(discount ** (k - first) * r.reward[k, n].item() for k in steps if k >= first)
    total = torch.zeros(())
    for n, steps in enumerate(found):
        for t in steps:
            others = [credit[t, m] for m in range(len(found)) if m != n]
            less = sum(others) / len(others) if baseline == "average" else 0.0
            if baseline == "value":
                less = value(r.obs[t, n]).item()
            total = total - log_prob(actor(r.obs[t, n]), r.action[t, n]) * (credit[t, n] - less)
    return total / len(found)


def weighted_loss(
    actor: Actor, r: Rollout, old: Tensor, discount: float, weighting: str, normalized: bool, cap: float, price: float
) -> Tensor:
    """`old` [T, N] are log-probabilities of the policy that acted."""
    found = episodes(r)
    ratios = [
        [(clipped_log_prob(actor(r.obs[t, n]), r.action[t, n]) - old[t, n]).exp() for t in steps]
        for n, steps in enumerate(found)
    ]
    longest = max(map(len, found))

    def weight(n: int, t: int) -> Tensor:
        if weighting == "step":
            return ratios[n][t].clamp(max=cap)
        reach = len(ratios[n]) if weighting == "trajectory" else min(t + 1, len(ratios[n]))
        return torch.stack(ratios[n][:reach]).prod().clamp(max=cap)

    total, divergence, count = torch.zeros(()), torch.zeros(()), sum(map(len, found))
    everywhere = torch.stack([weight(n, t) for n, steps in enumerate(found) for t in steps]).mean()
    means: list[Tensor] = []
    if weighting != "step":
        means = [torch.stack([weight(n, t) for n in range(len(found))]).mean() for t in range(longest)]
    for n, steps in enumerate(found):
        for t in steps:
            norm = (everywhere if weighting == "step" else means[t]) if normalized else 1.0
            earned = discount**t * r.reward[t, n]
            if weighting == "step":
                earned = sum(discount ** (k - t) * r.reward[k, n] for k in steps if k >= t)
            total = total - weight(n, t) / norm * earned
            divergence = divergence + ratios[n][t] - 1 - ratios[n][t].log()
    return total / len(found) + price * divergence / count


def natural_step(
    actor: Actor, batch: Batch, advantage: Tensor, *, radius: float, damping: float, steps: int, tries: int
):
    """The Fisher matrix in full, textbook conjugate gradients, and a line search that branches."""
    names = [name for name, _ in actor.named_parameters()]
    shapes = [parameter.shape for parameter in actor.parameters()]
    start = torch.cat([parameter.detach().reshape(-1) for parameter in actor.parameters()])
    old = actor(batch.obs)
    old = (
        Categorical(logits=old.logits.detach())
        if actor.log_std is None
        else Normal(old.mean.detach(), old.stddev.detach())
    )

    def at(weights: Tensor) -> Categorical | Normal:
        parts = weights.split([math.prod(shape) for shape in shapes])
        return functional_call(
            actor, {k: p.view(s) for k, p, s in zip(names, parts, shapes, strict=True)}, (batch.obs,)
        )

    def loss(weights: Tensor) -> Tensor:
        return -((log_prob(at(weights), batch.action) - log_prob(old, batch.action)).exp() * advantage).mean()

    def distance(weights: Tensor) -> Tensor:
        each = kl_divergence(old, at(weights))
        return (each if actor.log_std is None else each.sum(-1)).mean()

    matrix = cast(Tensor, torch.autograd.functional.hessian(distance, start)) + damping * torch.eye(len(start))
    target = -cast(Tensor, torch.autograd.functional.jacobian(loss, start))
    x, residual = torch.zeros_like(start), target.clone()
    direction = residual.clone()
    for _ in range(steps):
        alpha = (residual @ residual) / (direction @ matrix @ direction)
        x = x + alpha * direction
        fresh = residual - alpha * matrix @ direction
        direction = fresh + (fresh @ fresh) / (residual @ residual) * direction
        residual = fresh
    full = math.sqrt(2 * radius / (x @ matrix @ x).item()) * x
    chosen = full if tries == 0 else torch.zeros_like(full)
    for k in range(tries):
        candidate = start + 0.8**k * full
        if loss(candidate) < loss(start) and distance(candidate) <= radius:
            chosen = 0.8**k * full
            break
    with torch.no_grad():
        for parameter, part in zip(
            actor.parameters(), (start + chosen).split([math.prod(s) for s in shapes]), strict=True
        ):
            parameter.copy_(part.view_as(parameter))


class StateCorrected:
    """Liu et al. 2019 with the kernel's sum written pair by pair."""

    def __init__(self, actor: Actor, value: nn.Module, ratio: nn.Module, rates: tuple[float, float, float]) -> None:
        self.actor, self.value, self.ratio = actor, value, ratio
        parts = zip((actor, value, ratio), rates, strict=True)
        self.actor_adam, self.value_adam, self.ratio_adam = (adam(m.parameters(), lr) for m, lr in parts)

    def update(self, b: Batch, discount: float, bandwidth: float, cap: float) -> None:
        def w(obs: Tensor) -> Tensor:
            return (1 + self.ratio(obs).squeeze(-1).exp()).log()

        visits = discount**b.timestep
        rho = (clipped_log_prob(self.actor(b.obs), b.action) - b.log_prob).exp().clamp(max=cap).detach()
        points = [*b.next_obs, *b.obs]
        mass = [visits[i] * b.discount[i] * (w(b.obs[i]) * rho[i] - w(b.next_obs[i])) for i in range(len(rho))]
        mass += [(1 - w(b.obs[i])) * (b.timestep[i] == 0) for i in range(len(rho))]
        gaps = torch.stack([torch.stack([((x - y) ** 2).sum() for y in points]) for x in points])
        kernel = torch.exp(-gaps / (2 * bandwidth**2 * gaps.mean()))
        total = torch.stack(
            [
                mass[i] * mass[j] * kernel[i, j]
                for i in range(len(mass))
                for j in range(len(mass))
                if i % len(rho) != j % len(rho)
            ]
        ).sum()
        descend(self.ratio_adam, total / (len(rho) * (len(rho) - 1)))
        weight = (visits * w(b.obs) * rho).detach()
        target = (b.reward + b.discount * self.value(b.next_obs).squeeze(-1)).detach()
        descend(self.value_adam, (weight * (self.value(b.obs).squeeze(-1) - target) ** 2).mean())
        with torch.no_grad():
            advantage = b.reward + b.discount * self.value(b.next_obs).squeeze(-1) - self.value(b.obs).squeeze(-1)
        descend(self.actor_adam, -(weight * advantage * clipped_log_prob(self.actor(b.obs), b.action)).mean())


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
