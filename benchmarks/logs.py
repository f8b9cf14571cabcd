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
from offrl.paths import config_dir
from offrl.types import Steps

MIXED = (0.0, 0.3, 0.6, 1.0, 2.0, 3.0, 5.0, 10.0)


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


LOGS = {"pendulum": swings, "cartpole": balancing}


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
