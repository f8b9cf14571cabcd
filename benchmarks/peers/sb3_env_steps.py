"""Stable-Baselines3 training at given settings: environment steps, with everything that `learn` does.

python -m benchmarks.peers.sb3_env_steps --algo PPO --env CartPole-v1 --num-envs 8 --settings '{"n_steps": 256}'
"""

from __future__ import annotations

import argparse
import json

import stable_baselines3
import torch
from stable_baselines3.common.env_util import make_vec_env

from benchmarks.worker import serve, versions


def main() -> None:
    """Make environments and model, then serve training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--algo", required=True)
    parser.add_argument("--env", required=True)
    parser.add_argument("--num-envs", type=int, default=1)
    parser.add_argument("--chunk", type=int, default=200, help="environment steps of one call of learn")
    parser.add_argument("--settings", type=json.loads, default={}, help="what departs from its defaults, as JSON")
    args = parser.parse_args()
    torch.set_num_threads(1)
    envs = make_vec_env(args.env, n_envs=args.num_envs, seed=0)
    model = getattr(stable_baselines3, args.algo)("MlpPolicy", envs, seed=0, device="cpu", **args.settings)

    def train() -> int:
        before = model.num_timesteps
        model.learn(args.chunk, reset_num_timesteps=False)
        return model.num_timesteps - before

    serve(train, versions("stable-baselines3", "torch", "numpy", "gymnasium"))


if __name__ == "__main__":
    main()
