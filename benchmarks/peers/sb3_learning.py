"""Stable-Baselines3, at its own defaults or at given settings: learning curves to set ours beside.

Run in an environment of its own (`pip install stable-baselines3`):

    python -m benchmarks.peers.sb3_learning --algo SAC --env Hopper-v5 --steps 100000 --out sb3_sac_hopper.json

Denormals are flushed to zero, which changes speed and not learning; nothing else departs from what is asked for.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise

from benchmarks.peers.record import fill
from benchmarks.peers.starts import Starts


class Evaluate(BaseCallback):  # pyright: ignore[reportUntypedBaseClass] - installed in its own environment only
    """Every `interval` environment steps, the mean return of `episodes` deterministic episodes."""

    def __init__(self, args: argparse.Namespace, seed: int) -> None:
        super().__init__()
        self.env, self.seed = Starts(gym.make(args.env), args.starts), seed
        self.interval, self.episodes = args.interval, args.episodes
        self.curve: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        if self.num_timesteps % self.interval == 0:
            self.env.rewind(10_000 + self.seed)
            returns, _ = evaluate_policy(self.model, self.env, self.episodes, return_episode_rewards=True, warn=False)
            self.curve.append((self.num_timesteps, float(np.mean(returns))))
            print(self.curve[-1], flush=True)
        return True


def make(args: argparse.Namespace, seed: int) -> BaseAlgorithm:
    """The algorithm; of the settings `hidden`, `n_envs` and `action_noise` are ours, the others are its own."""
    settings: dict[str, Any] = dict(args.settings)
    env = make_vec_env(args.env, settings.pop("n_envs", 1), seed=seed)
    if "hidden" in settings:
        settings["policy_kwargs"] = {"net_arch": settings.pop("hidden")}
    if "action_noise" in settings:
        size = env.action_space.shape
        settings["action_noise"] = NormalActionNoise(np.zeros(size), settings["action_noise"] * np.ones(size))
    return getattr(stable_baselines3, args.algo)("MlpPolicy", env, seed=seed, device="cpu", **settings)


def run(args: argparse.Namespace, seed: int) -> dict[str, object]:
    """Train one seed; returns its curve and seconds."""
    start = time.perf_counter()
    model, evaluate = make(args, seed), Evaluate(args, seed)
    model.learn(args.steps, callback=evaluate)
    return {"seed": seed, "curve": evaluate.curve, "seconds": time.perf_counter() - start}


def main() -> None:
    """Train the seeds that the output lacks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--algo", required=True)
    parser.add_argument("--env", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--interval", type=int, default=10_000)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--starts", type=int, nargs="*", default=[], help="seeds of the evaluation's episodes")
    parser.add_argument("--settings", type=json.loads, default={}, help="a JSON object")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    about = {"version": stable_baselines3.__version__} | {
        name: getattr(args, name) for name in ("algo", "env", "steps", "interval", "episodes", "starts", "settings")
    }
    fill(args.out, about, args.seeds, lambda seed: run(args, seed))


if __name__ == "__main__":
    main()
