"""Two more algorithms in the manner of `plain_torch.py`, and the worker that runs any of them.

Written from the papers (AWAC arXiv:2006.09359, SAC-N 2110.01548).

    python -m benchmarks.peers.plain_updates --algo iql
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.plain_torch import (
    BC,
    CQL,
    DISCOUNT,
    IQL,
    SAC,
    TD3BC,
    Agent,
    GaussianActor,
    Info,
    ReplayBuffer,
    Transitions,
    TwinCritic,
    adam,
    step,
    track,
)
from benchmarks.synthetic import ACTION, OBS, hopper_like
from benchmarks.worker import serve, versions

CRITICS = 10  # of SAC-N


class AWAC:
    """Cloning, weighted by the advantage under the policy itself."""

    def __init__(self) -> None:
        self.actor, self.critic = GaussianActor(), TwinCritic()
        self.critic_target = copy.deepcopy(self.critic)
        self.actor_optimizer, self.critic_optimizer = adam(self.actor.parameters()), adam(self.critic.parameters())

    def train(self, batch: Transitions) -> Info:
        obs, action, reward, next_obs, done = batch
        with torch.no_grad():
            next_action = self.actor(next_obs).sample().clamp(-1, 1)
            target = reward + DISCOUNT * (1 - done) * self.critic_target.smaller(next_obs, next_action)
        q1, q2 = self.critic(obs, action)
        critic_loss = F.mse_loss(q1, target) + F.mse_loss(q2, target)
        step(self.critic_optimizer, critic_loss)

        policy = self.actor(obs)
        with torch.no_grad():
            value = self.critic.smaller(obs, policy.sample().clamp(-1, 1))
            weight = (self.critic.smaller(obs, action) - value).exp().clamp(max=100.0)
        actor_loss = -(weight * policy.log_prob(action).sum(-1, keepdim=True)).mean()
        step(self.actor_optimizer, actor_loss)
        track(self.critic_target, self.critic)
        return {"critic_loss": critic_loss.item(), "actor_loss": actor_loss.item()}


class ManyLinear(nn.Module):
    """A dense layer for each member of an ensemble, as one batched product."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(CRITICS, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(CRITICS, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class ManyCritics(nn.Module):
    """[N, B, 1] of all critics."""

    def __init__(self) -> None:
        super().__init__()
        inner = [ManyLinear(OBS + ACTION, 256), nn.ReLU(), ManyLinear(256, 256), nn.ReLU(), ManyLinear(256, 1)]
        self.net = nn.Sequential(*inner)

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        x = torch.cat([obs, action], -1)
        return self.net(x.expand(CRITICS, *x.shape))

    def smaller(self, obs: Tensor, action: Tensor) -> Tensor:
        """The pessimist of them all."""
        return self(obs, action).min(0).values


class SACN(SAC):
    """SAC with many critics instead of two."""

    def __init__(self) -> None:
        super().__init__()
        self.many = ManyCritics()
        self.many_target = copy.deepcopy(self.many)
        self.many_optimizer = adam(self.many.parameters())

    def train(self, batch: Transitions) -> Info:
        obs, action, reward, next_obs, done = batch
        chosen, log_prob = self.actor(obs)
        alpha_loss = -(self.log_alpha * (log_prob.detach() - ACTION)).mean()
        step(self.alpha_optimizer, alpha_loss)
        alpha = self.log_alpha.exp().detach()

        actor_loss = (alpha * log_prob - self.many.smaller(obs, chosen)).mean()
        step(self.actor_optimizer, actor_loss)

        with torch.no_grad():
            next_action, next_log_prob = self.actor(next_obs)
            future = self.many_target.smaller(next_obs, next_action) - alpha * next_log_prob
            target = reward + DISCOUNT * (1 - done) * future
        critic_loss = ((self.many(obs, action) - target) ** 2).mean(dim=(1, 2)).sum()
        step(self.many_optimizer, critic_loss)
        track(self.many_target, self.many)
        losses = {"alpha_loss": alpha_loss, "actor_loss": actor_loss, "critic_loss": critic_loss, "alpha": alpha}
        return {name: loss.item() for name, loss in losses.items()}


AGENTS: dict[str, Callable[[], Agent]] = {
    "bc": BC,
    "td3_bc": TD3BC,
    "iql": IQL,
    "cql": CQL,
    "sac": SAC,
    "awac": AWAC,
    "sac_n": SACN,
}


def main() -> None:
    """Build the buffer and the agent, then serve updates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algo", required=True, choices=sorted(AGENTS))
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--choices", type=int, default=0, choices=[0])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    buffer, agent = ReplayBuffer(hopper_like(args.count)), AGENTS[args.algo]()

    def update() -> int:
        agent.train(buffer.sample(args.batch_size))
        return 1

    serve(update, versions("torch", "numpy"))


if __name__ == "__main__":
    main()
