"""Small logs of mixed quality on which learning is tested, and compared with other libraries: made in seconds."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from omegaconf import OmegaConf

from offrl.build import build
from offrl.data.spaces import unscale_action
from offrl.envs.actors import Noisy, Scripted
from offrl.envs.collect import rollout_steps
from offrl.envs.controllers import balance
from offrl.envs.make import Env
from offrl.envs.mazes import Wanderer
from offrl.paths import config_dir
from offrl.types import Steps

MIXED = (0.0, 0.3, 0.6, 1.0, 2.0, 3.0, 5.0, 10.0)

# A linear controller that hops, action = gains · obs + offset: found by augmented random search (Mania, Guy and Recht
# 2018, algorithm 2; 590,000 steps of Hopper-v5) and rounded.
HOPPING_GAINS = (
    (1.36, -2.18, -0.40, 1.97, 0.23, 0.04, 0.08, -0.55, -0.05, 0.03, -0.02),
    (-0.62, 1.07, 0.32, 4.80, 0.11, 0.14, 0.04, 0.02, 0.07, -0.05, 0.03),
    (2.01, -3.71, 0.79, 1.55, -0.01, -0.09, -0.02, 0.26, 0.00, 0.09, 0.07),
)
HOPPING_OFFSET = (-1.75, 0.80, -1.70)
UNEVEN = (0.0, 0.02, 0.03, 0.05, 0.1, 0.2, 0.4, 0.8)


def environment(name: str) -> Env:
    """The environment of a config."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("config", ["algo=bc", f"env={name}"])
    return cast(Env, build(cast("dict[str, Any]", OmegaConf.to_container(config.env, resolve=True)), "env"))


@cache
def swings(noise: tuple[float, ...] = MIXED) -> Steps:
    """Pendulum: 64 episodes of a controller that pumps energy, then balances, with Gaussian noise on what it does, of
    another size in each of 8 environments. Mean returns: −130 without noise, −490 with noise of 1, −1100 with noise of
    10, −621 with all eight.
    """
    generator = np.random.default_rng(0)

    def controller(obs: NDArray[np.float32]) -> NDArray[np.float32]:
        cos, sin, speed = obs.T
        pump = speed * (5.2 - speed**2 / 6.0 - 5.0 * cos)
        torque = np.where(cos > 0.85, -(8.0 * sin + 1.8 * speed), pump) / 2.0
        action = torque.clip(-1.0, 1.0) + np.array(noise) * generator.standard_normal(torque.shape)
        return action.clip(-1.0, 1.0)[:, None].astype(np.float32)

    return rollout_steps(environment("pendulum").make(8, 1), Scripted(controller), episodes=64)


@cache
def balancing(noise: float = 0.5) -> Steps:
    """CartPole: 10,000 steps of a controller that keeps the pole up, a share `noise` of its actions being random. Mean
    return 500 without noise, 189 with half of it.
    """
    vector, generator = environment("cartpole").make(4, 0), torch.Generator().manual_seed(0)
    steps = rollout_steps(vector, Noisy(Scripted(balance), vector.spec.action, noise, generator), steps=10_000)
    vector.close()
    return steps


@cache
def wanderings() -> Steps:
    """PointMaze: 20,000 steps from one random cell to the next, actions shaken; who gets anywhere near the goal does so
    by chance. Mean return 20 of 300 steps at best.
    """
    env, generator = environment("pointmaze_umaze"), torch.Generator().manual_seed(0)
    vector = env.make(8, 0)
    wanderer = Wanderer(env, 8, np.random.default_rng(0))
    steps = rollout_steps(vector, Noisy(Scripted(wanderer), vector.spec.action, 0.3, generator), steps=20_000)
    vector.close()
    return steps


@cache
def hops() -> Steps:
    """Hopper: 32,000 steps of 32 linear controllers that differ from one that hops by relative errors of eight sizes,
    four of each, as the policies in a replay buffer differ from the last. Mean return 83 an episode, the best 1746.
    """
    generator, num_envs = np.random.default_rng(0), 32
    sizes = np.array(UNEVEN).repeat(num_envs // len(UNEVEN))[:, None, None]
    gains = np.array(HOPPING_GAINS) * (1.0 + sizes * generator.standard_normal((num_envs, 3, 11)))

    def controller(obs: NDArray[np.float32]) -> NDArray[np.float32]:
        action = np.einsum("nao,no->na", gains, obs) + HOPPING_OFFSET
        return action.clip(-1.0, 1.0).astype(np.float32)

    vector = environment("hopper").make(num_envs, 1)
    shaken = Noisy(Scripted(controller), vector.spec.action, 0.1, torch.Generator().manual_seed(0))
    steps = rollout_steps(vector, shaken, steps=32_000)
    vector.close()
    return steps


LOGS = {"pendulum": swings, "cartpole": balancing, "pointmaze_umaze": wanderings, "hopper": hops}


def write(env: str, path: Path) -> None:
    """The log of an environment in a file that every NumPy reads, its actions in the environment's units."""
    steps = LOGS[env]()
    space = environment(env).make_one().action_space
    truncated = steps.truncated.copy()
    truncated[-1] = ~steps.terminated[-1]  # the last row ends an episode whatever the log says
    columns: dict[str, Any] = {"obs": steps.obs, "next_obs": steps.next_obs, "reward": steps.reward}
    columns |= {"action": unscale_action(space, steps.action), "terminated": steps.terminated, "truncated": truncated}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **columns)
