"""Stable-Baselines3 at its own defaults: learning curves to set ours beside.

Run in an environment of its own (`pip install stable-baselines3`):

    python benchmarks/peers/sb3_learning.py --algo SAC --env Hopper-v5 --steps 100000 --out sb3_sac_hopper.json

Denormals are flushed to zero, which changes speed and not learning; nothing else departs from the defaults.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy


class Evaluate(BaseCallback):  # pyright: ignore[reportUntypedBaseClass] - installed in its own environment only
    """Every `interval` environment steps, the mean return of `episodes` deterministic episodes."""

    def __init__(self, env_id: str, interval: int, episodes: int, seed: int) -> None:
        super().__init__()
        self.env, self.interval, self.episodes, self.seed = gym.make(env_id), interval, episodes, seed
        self.curve: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        if self.num_timesteps % self.interval == 0:
            self.env.reset(seed=10_000 + self.seed)
            returns, _ = evaluate_policy(self.model, self.env, self.episodes, return_episode_rewards=True, warn=False)
            self.curve.append((self.num_timesteps, float(np.mean(returns))))
            print(self.curve[-1], flush=True)
        return True


def run(algo: str, env_id: str, steps: int, interval: int, episodes: int, seed: int) -> dict[str, object]:
    """Train one seed; returns its curve and seconds."""
    start = time.perf_counter()
    model = getattr(stable_baselines3, algo)("MlpPolicy", env_id, seed=seed, device="cpu")
    evaluate = Evaluate(env_id, interval, episodes, seed)
    model.learn(steps, callback=evaluate)
    return {"seed": seed, "curve": evaluate.curve, "seconds": time.perf_counter() - start}


def main() -> None:
    """Train every seed in turn and rewrite the output after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--algo", required=True)
    parser.add_argument("--env", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--interval", type=int, default=10_000)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    results = {"version": stable_baselines3.__version__, **vars(args), "out": args.out.name, "runs": []}
    for seed in args.seeds:
        results["runs"].append(run(args.algo, args.env, args.steps, args.interval, args.episodes, seed))
        aside = args.out.with_suffix(".tmp")
        aside.write_text(json.dumps(results, indent=1))
        os.replace(aside, args.out)


if __name__ == "__main__":
    main()
