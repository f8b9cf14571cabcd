"""d3rlpy on given data: what the same number of updates teaches it.

With `--settings` any of its algorithms, by the name of its config: `hidden`, `quantiles`, `standardise` and
`return_scale` are ours, every other setting is the config's own, and what is no field of this config is left out.
Without, the settings are those of d3rlpy's own reproductions for MuJoCo (its folder `reproductions/offline`): TD3+BC
standardises observations; IQL scales rewards by 1000 over the range of returns and anneals the actor's rate to zero;
CQL has three layers and no Lagrange multiplier; everything else is its default. Denormals are flushed to zero, which
changes speed and not learning.

Run in an environment of its own (see README.md), on arrays that `python -m benchmarks.learning` exports:

    python -m benchmarks.peers.d3rlpy_learning --algo iql --data hopper.npz --updates 100000 --out d3rlpy_iql.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import d3rlpy
import gymnasium as gym
import numpy as np
import torch
from d3rlpy.algos.qlearning.base import QLearningAlgoBase
from d3rlpy.metrics.utility import evaluate_qlearning_with_environment, evaluate_transformer_with_environment

from benchmarks.peers.record import fill
from benchmarks.peers.starts import Starts


def published(algo: str, updates: int) -> QLearningAlgoBase:
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


def configured(algo: str, settings: Mapping[str, Any]) -> Any:
    """The algorithm with given settings."""
    config, models, scalers = getattr(d3rlpy.algos, f"{algo}Config"), d3rlpy.models, d3rlpy.preprocessing
    fields = {field.name for field in dataclasses.fields(config)}
    own = {name: value for name, value in settings.items() if name in fields}
    encoder = models.VectorEncoderFactory(list(settings["hidden"]))
    own |= {name: encoder for name in fields if name.endswith("encoder_factory")}
    if "quantiles" in settings:
        own["q_func_factory"] = models.QRQFunctionFactory(n_quantiles=settings["quantiles"])
    if settings.get("standardise"):
        own["observation_scaler"] = scalers.StandardObservationScaler()
    if "return_scale" in settings:
        own["reward_scaler"] = scalers.MultiplyRewardScaler(1.0 / settings["return_scale"])
    return config(**own).create("cpu:0")


def environment(name: str) -> gym.Env[Any, Any]:
    """The environment, continuous actions between −1 and 1."""
    env = gym.make(name)
    return (
        gym.wrappers.RescaleAction(env, np.float32(-1.0), np.float32(1.0))
        if isinstance(env.action_space, gym.spaces.Box)
        else env
    )


def load(path: Path, space: gym.Space[Any]) -> d3rlpy.dataset.MDPDataset:
    """Read exported arrays, actions in the units of `space`; pickled objects are refused."""
    with np.load(path, allow_pickle=False) as data:
        action, kind, size = data["action"], d3rlpy.ActionSpace.CONTINUOUS, data["action"].shape[-1]
        if isinstance(space, gym.spaces.Discrete):
            action, kind, size = action.reshape(-1, 1), d3rlpy.ActionSpace.DISCRETE, int(space.n)
        elif isinstance(space, gym.spaces.Box):
            action = (2.0 * (action - space.low) / (space.high - space.low) - 1.0).astype(np.float32)
        ends = data["terminated"].astype(np.float32), data["truncated"].astype(np.float32)
        reward = data["reward"]
        return d3rlpy.dataset.MDPDataset(data["obs"], action, reward, *ends, action_space=kind, action_size=size)


def run(args: argparse.Namespace, dataset: d3rlpy.dataset.MDPDataset, seed: int) -> dict[str, object]:
    """Train one seed; returns its curve and seconds."""
    d3rlpy.seed(seed)
    algo = configured(args.algo, args.settings) if args.settings else published(args.algo, args.updates)
    env, curve, start = Starts(environment(args.env), args.starts), list[tuple[int, float]](), time.perf_counter()
    quietly = {"logger_adapter": d3rlpy.logging.NoopAdapterFactory(), "show_progress": False}

    def evaluate(algo: Any, epoch: int, update: int) -> None:
        env.rewind(10_000 + seed)
        curve.append((update, float(evaluate_qlearning_with_environment(algo, env, n_trials=args.episodes))))
        print(curve[-1], flush=True)

    epoch = min(args.interval, args.updates)
    if hasattr(algo, "as_stateful_wrapper"):
        algo.fit(dataset, n_steps=args.updates, n_steps_per_epoch=args.updates, **quietly)
        best, greedy = max(float(e.compute_return()) for e in dataset.episodes), args.algo.startswith("Discrete")
        sampler = d3rlpy.algos.GreedyTransformerActionSampler() if greedy else None
        player = algo.as_stateful_wrapper(target_return=best, action_sampler=sampler)
        env.rewind(10_000 + seed)
        curve.append((args.updates, float(evaluate_transformer_with_environment(player, env, args.episodes))))
    else:
        algo.fit(dataset, n_steps=args.updates, n_steps_per_epoch=epoch, epoch_callback=evaluate, **quietly)
    return {"seed": seed, "curve": curve, "seconds": time.perf_counter() - start}


def main() -> None:
    """Train the seeds that the output lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algo", required=True, help="bc, td3_bc, iql, cql; with settings also DQN, BCQ, CRR …")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--env", default="Hopper-v5")
    parser.add_argument("--updates", type=int, required=True)
    parser.add_argument("--interval", type=int, default=10_000)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--starts", type=int, nargs="*", default=[], help="seeds of the evaluation's episodes")
    parser.add_argument("--settings", type=json.loads, default={}, help="a JSON object; none: the published ones")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    dataset = load(args.data, gym.make(args.env).action_space)
    about = {"version": d3rlpy.__version__} | {
        name: getattr(args, name) for name in ("algo", "env", "updates", "interval", "episodes", "starts", "settings")
    }
    fill(args.out, about, args.seeds, lambda seed: run(args, dataset, seed))


if __name__ == "__main__":
    main()
