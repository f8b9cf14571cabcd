"""PPO, SAC and DQN online the way public single-file PyTorch scripts write them: one flat loop each.

Written from the papers (PPO arXiv:1707.06347, SAC 1812.05905, DQN in Nature 518, 2015), with the habits of such scripts
on purpose: Gymnasium's synchronous vector environments, NumPy observations turned into tensors at every step, a
`torch.optim.Adam`, a ring of NumPy arrays for replay, losses read with `.item()` now and then. Networks, batch sizes,
epochs and updates per step are those of the other contenders. A script advances a step of all environments at a time,
so it is a generator that says how many steps it has just done.

    python -m benchmarks.peers.plain_env_steps --algo PPO --env CartPole-v1 --num-envs 8 --settings '{"n_steps": 256}'
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Generator
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Categorical, Normal

from benchmarks.worker import serve, versions

Steps = Generator[int, None, None]
Envs = gym.vector.SyncVectorEnv
READ_EVERY = 100  # updates between two readings of a loss


def layers(sizes: list[int], activation: type[nn.Module]) -> nn.Sequential:
    """A plain network."""
    parts: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        parts += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*parts[:-1])


def orthogonal(network: nn.Sequential, gain: float) -> nn.Sequential:
    """PPO's initial weights, `gain` that of the last layer."""
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    for layer in linear:
        nn.init.orthogonal_(layer.weight, gain if layer is linear[-1] else 2**0.5)
        nn.init.zeros_(layer.bias)
    return network


class PPOAgent(nn.Module):
    """Policy and value of separate networks."""

    def __init__(self, obs: int, actions: int, discrete: bool) -> None:
        super().__init__()
        self.discrete = discrete
        self.policy = orthogonal(layers([obs, 64, 64, actions], nn.Tanh), 0.01)
        self.value = orthogonal(layers([obs, 64, 64, 1], nn.Tanh), 1.0)
        self.log_std = nn.Parameter(torch.zeros(actions))

    def distribution(self, obs: Tensor) -> Categorical | Normal:
        """Over actions."""
        out = self.policy(obs)
        return Categorical(logits=out) if self.discrete else Normal(out, self.log_std.exp())

    def log_prob(self, choice: Categorical | Normal, action: Tensor) -> Tensor:
        """[N]."""
        value = choice.log_prob(action)
        return value if self.discrete else value.sum(-1)


def ppo(envs: Envs, settings: dict[str, Any]) -> Steps:
    """Rollouts, generalised advantages, epochs of minibatches."""
    horizon, batch_size, epochs = settings.get("n_steps", 2048), 64, 10
    count, space = envs.num_envs, envs.single_action_space
    discrete = isinstance(space, gym.spaces.Discrete)
    size = int(space.n) if isinstance(space, gym.spaces.Discrete) else int(np.prod(space.shape or ()))
    width = int(np.prod(envs.single_observation_space.shape or ()))
    agent = PPOAgent(width, size, discrete)
    optimizer = torch.optim.Adam(agent.parameters(), lr=3e-4, eps=1e-5)
    obs_log, reward_log = torch.zeros(horizon, count, width), torch.zeros(horizon, count)
    action_log = torch.zeros(horizon, count, *(() if discrete else (size,)))
    done_log, value_log, prob_log = (torch.zeros(horizon, count) for _ in range(3))
    obs = torch.as_tensor(envs.reset(seed=0)[0], dtype=torch.float32)
    done, loss = torch.zeros(count), torch.zeros(())
    while True:
        for t in range(horizon):
            obs_log[t], done_log[t] = obs, done
            with torch.no_grad():
                choice = agent.distribution(obs)
                action = choice.sample()
                value_log[t], prob_log[t] = agent.value(obs).flatten(), agent.log_prob(choice, action)
            action_log[t] = action
            given = action.numpy() if discrete else action.numpy().clip(space.low, space.high)  # pyright: ignore
            new, reward, terminated, truncated, _ = envs.step(given)
            reward_log[t] = torch.as_tensor(reward)
            obs, done = torch.as_tensor(new, dtype=torch.float32), torch.as_tensor(terminated | truncated).float()
            yield count
        with torch.no_grad():
            following, advantage, last = agent.value(obs).flatten(), torch.zeros(horizon, count), torch.zeros(count)
            for t in reversed(range(horizon)):
                going = 1.0 - (done if t == horizon - 1 else done_log[t + 1])
                after = following if t == horizon - 1 else value_log[t + 1]
                error = reward_log[t] + 0.99 * after * going - value_log[t]
                advantage[t] = last = error + 0.99 * 0.95 * going * last
        goal = (advantage + value_log).flatten()
        flat = obs_log.flatten(0, 1), action_log.flatten(0, 1), prob_log.flatten(), advantage.flatten(), goal
        rows = np.arange(horizon * count)
        for _ in range(epochs):
            np.random.shuffle(rows)  # noqa: NPY002 - the habit
            for start in range(0, len(rows), batch_size):
                o, a, old, adv, target = (column[rows[start : start + batch_size]] for column in flat)
                choice = agent.distribution(o)
                ratio = (agent.log_prob(choice, a) - old).exp()
                adv = (adv - adv.mean()) / (adv.std() + 1e-8)
                gain = torch.min(ratio * adv, ratio.clamp(0.8, 1.2) * adv).mean()
                loss = -gain + 0.5 * F.mse_loss(agent.value(o).flatten(), target)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
        loss.item()


class Ring:
    """Replay: NumPy arrays, the oldest overwritten."""

    def __init__(self, room: int, obs: int, action: tuple[int, ...], kind: type[np.generic]) -> None:
        self.obs, self.next_obs = np.zeros((room, obs), np.float32), np.zeros((room, obs), np.float32)
        self.action, self.reward = np.zeros((room, *action), kind), np.zeros(room, np.float32)
        self.done, self.place, self.full = np.zeros(room, np.float32), 0, 0

    def add(self, *row: Any) -> None:
        """One transition."""
        for column, value in zip((self.obs, self.action, self.reward, self.next_obs, self.done), row, strict=True):
            column[self.place] = value
        self.place = (self.place + 1) % len(self.reward)
        self.full = min(self.full + 1, len(self.reward))

    def sample(self, batch_size: int) -> tuple[Tensor, ...]:
        """Uniform rows."""
        rows = np.random.randint(0, self.full, batch_size)  # noqa: NPY002 - the habit
        columns = self.obs, self.action, self.reward, self.next_obs, self.done
        return tuple(torch.as_tensor(column[rows]) for column in columns)


def last_obs(new: NDArray[Any], info: dict[str, Any], over: bool) -> NDArray[Any]:
    """The true successor, also where the environment has begun a new episode."""
    return info["final_obs"][0] if over and "final_obs" in info else new[0]


def dqn(envs: Envs, settings: dict[str, Any]) -> Steps:
    """One environment, an update of `batch_size` at every step."""
    width, choices = int(np.prod(envs.single_observation_space.shape or ())), int(envs.single_action_space.n)  # pyright: ignore
    hidden, batch_size = settings.get("hidden", [64, 64]), settings.get("batch_size", 128)
    network = layers([width, *hidden, choices], nn.ReLU)
    target = copy.deepcopy(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-4)
    ring, step = Ring(1_000_000, width, (), np.int64), 0
    obs, _ = envs.reset(seed=0)
    while True:
        if np.random.random() < max(0.02, 1.0 - step / 10_000):  # noqa: NPY002 - the habit
            action = np.array([envs.single_action_space.sample()])
        else:
            with torch.no_grad():
                action = network(torch.as_tensor(obs)).argmax(-1).numpy()
        new, reward, terminated, truncated, info = envs.step(action)
        over = bool(terminated[0] or truncated[0])
        ring.add(obs[0], action[0], reward[0], last_obs(new, info, over), terminated[0])
        obs, step = new, step + 1
        if step > 100:
            o, a, r, after, done = ring.sample(batch_size)
            with torch.no_grad():
                goal = r + 0.99 * (1 - done) * target(after).max(-1).values
            loss = F.smooth_l1_loss(network(o).gather(1, a[:, None]).squeeze(1), goal)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimizer.step()
            for old, now in zip(target.parameters(), network.parameters(), strict=True):
                old.data.copy_(0.01 * now.data + 0.99 * old.data)
            if step % READ_EVERY == 0:
                loss.item()
        yield 1


def sac(envs: Envs, settings: dict[str, Any]) -> Steps:
    """One environment, an update of 256 at every step."""
    del settings
    from benchmarks.peers.plain_torch import SAC, SquashedActor

    agent = SAC()
    actor: SquashedActor = agent.actor
    space: Any = envs.single_action_space
    ring = Ring(1_000_000, int(np.prod(envs.single_observation_space.shape or ())), space.shape, np.float32)
    obs, _ = envs.reset(seed=0)
    step = 0
    while True:
        if step < 100:
            action = space.sample()[None]
        else:
            with torch.no_grad():
                action = actor(torch.as_tensor(obs, dtype=torch.float32))[0].numpy()
        new, reward, terminated, truncated, info = envs.step(action)
        over = bool(terminated[0] or truncated[0])
        ring.add(obs[0], action[0], reward[0], last_obs(new, info, over), terminated[0])
        obs, step = new, step + 1
        if step > 100:
            o, a, r, after, done = ring.sample(256)
            agent.train((o, a, r[:, None], after, done[:, None]))
        yield 1


SCRIPTS: dict[str, Callable[[Envs, dict[str, Any]], Steps]] = {"PPO": ppo, "DQN": dqn, "SAC": sac}


def main() -> None:
    """Make environments, then serve training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algo", required=True, choices=sorted(SCRIPTS))
    parser.add_argument("--env", required=True)
    parser.add_argument("--num-envs", type=int, default=1)
    parser.add_argument("--settings", type=json.loads, default={}, help="as Stable-Baselines3 calls them, as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    mode = gym.vector.AutoresetMode.SAME_STEP
    envs = gym.vector.SyncVectorEnv([lambda: gym.make(args.env) for _ in range(args.num_envs)], autoreset_mode=mode)
    script = SCRIPTS[args.algo](envs, args.settings)
    # Environment steps between two looks at the clock: of PPO as many as belong to one phase of learning.
    chunk = args.num_envs * args.settings.get("n_steps", 2048) if args.algo == "PPO" else 50

    def train() -> int:
        done = 0
        while done < chunk:
            done += next(script)
        return done

    serve(train, versions("torch", "numpy", "gymnasium"))


if __name__ == "__main__":
    main()
