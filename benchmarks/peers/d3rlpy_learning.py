"""d3rlpy on given data: what the same number of updates teaches it.

Settings are those of d3rlpy's own reproductions for MuJoCo (its folder `reproductions/offline`): TD3+BC standardises
observations; IQL scales rewards by 1000 over the range of returns and anneals the actor's rate to zero; CQL has three
layers and no Lagrange multiplier; everything else is its default. Denormals are flushed to zero, which changes speed
and not learning.

Run in an environment of its own (see README.md), on arrays that `python -m benchmarks.learning` exports:

    python -m benchmarks.peers.d3rlpy_learning --algo iql --data hopper.npz --updates 100000 --out d3rlpy_iql.json
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import d3rlpy
import gymnasium as gym
import numpy as np
import torch
from d3rlpy.algos.qlearning.base import QLearningAlgoBase
from d3rlpy.metrics.utility import evaluate_qlearning_with_environment


def make(algo: str, updates: int) -> QLearningAlgoBase:
    """The algorithm with the settings of d3rlpy's reproductions."""
    algos, models = d3rlpy.algos, d3rlpy.models
    if algo == "bc":
        return algos.BCConfig().create("cpu:0")
    if algo == "td3_bc":
        scaler = d3rlpy.preprocessing.StandardObservationScaler()
        return algos.TD3PlusBCConfig(observation_scaler=scaler).create("cpu:0")
    if algo == "iql":
        anneal = d3rlpy.optimizers.AdamFactory(
            lr_scheduler_factory=d3rlpy.optimizers.CosineAnnealingLRFactory(T_max=updates)
        )
        scaler = d3rlpy.preprocessing.ReturnBasedRewardScaler(multiplier=1000.0)
        return algos.IQLConfig(reward_scaler=scaler, actor_optim_factory=anneal).create("cpu:0")
    layers = models.VectorEncoderFactory([256, 256, 256])
    return algos.CQLConfig(actor_encoder_factory=layers, critic_encoder_factory=layers, alpha_learning_rate=0.0).create(
        "cpu:0"
    )


def load(path: Path) -> d3rlpy.dataset.MDPDataset:
    """Read exported arrays; pickled objects are refused."""
    with np.load(path, allow_pickle=False) as data:
        return d3rlpy.dataset.MDPDataset(
            data["obs"],
            data["action"],
            data["reward"],
            data["terminated"].astype(np.float32),
            data["truncated"].astype(np.float32),
        )


def run(args: argparse.Namespace, dataset: d3rlpy.dataset.MDPDataset, seed: int) -> dict[str, object]:
    """Train one seed; returns its curve and seconds."""
    d3rlpy.seed(seed)
    algo, env = make(args.algo, args.updates), gym.make(args.env)
    curve: list[tuple[int, float]] = []

    def evaluate(algo: QLearningAlgoBase, epoch: int, update: int) -> None:
        env.reset(seed=10_000 + seed)
        curve.append((update, float(evaluate_qlearning_with_environment(algo, env, n_trials=args.episodes))))
        print(curve[-1], flush=True)

    start = time.perf_counter()
    algo.fit(
        dataset,
        n_steps=args.updates,
        n_steps_per_epoch=min(args.interval, args.updates),
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        show_progress=False,
        epoch_callback=evaluate,
    )
    return {"seed": seed, "curve": curve, "seconds": time.perf_counter() - start}


def main() -> None:
    """Train every seed in turn and rewrite the output after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algo", required=True, choices=["bc", "td3_bc", "iql", "cql"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--env", default="Hopper-v5")
    parser.add_argument("--updates", type=int, required=True)
    parser.add_argument("--interval", type=int, default=10_000)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    dataset = load(args.data)
    results = {
        "version": d3rlpy.__version__,
        "algo": args.algo,
        "env": args.env,
        "updates": args.updates,
        "runs": [],
    }
    for seed in args.seeds:
        results["runs"].append(run(args, dataset, seed))
        aside = args.out.with_suffix(".tmp")
        aside.write_text(json.dumps(results, indent=1))
        os.replace(aside, args.out)


if __name__ == "__main__":
    main()
