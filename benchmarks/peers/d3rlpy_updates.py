"""d3rlpy's own sampling and update, as its `fit` calls them, without its progress bar and log files.

python -m benchmarks.peers.d3rlpy_updates --algo iql
"""

from __future__ import annotations

import argparse
from typing import Any

import d3rlpy
import torch
from d3rlpy.algos.qlearning.base import QLearningAlgoBase

from benchmarks.synthetic import hopper_like
from benchmarks.worker import serve, versions

LAYERS = d3rlpy.models.VectorEncoderFactory([256, 256])
CONFIGS: dict[str, type] = {
    "bc": d3rlpy.algos.BCConfig,
    "td3_bc": d3rlpy.algos.TD3PlusBCConfig,
    "iql": d3rlpy.algos.IQLConfig,
    "cql": d3rlpy.algos.CQLConfig,
    "sac": d3rlpy.algos.SACConfig,
    "awac": d3rlpy.algos.AWACConfig,
    "sac_n": d3rlpy.algos.SACConfig,
    "dqn": d3rlpy.algos.DoubleDQNConfig,
    "discrete_cql": d3rlpy.algos.DiscreteCQLConfig,
}
ENCODERS = {
    "bc": ("encoder_factory",),
    "iql": ("actor_encoder_factory", "critic_encoder_factory", "value_encoder_factory"),
    "dqn": ("encoder_factory",),
    "discrete_cql": ("encoder_factory",),
}


def make(algo: str, batch_size: int) -> QLearningAlgoBase:
    """The algorithm at its defaults, but for the layers and the batch, which every competitor shares."""
    encoders = ENCODERS.get(algo, ("actor_encoder_factory", "critic_encoder_factory"))
    options: dict[str, Any] = dict.fromkeys(encoders, LAYERS)
    if algo == "cql":
        options["alpha_learning_rate"] = 0.0  # no Lagrange multiplier, as in its reproductions and in ours
    if algo == "sac_n":
        options["n_critics"] = 10
    return CONFIGS[algo](batch_size=batch_size, **options).create(device="cpu:0")


def main() -> None:
    """Build the buffer and the algorithm, then serve updates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--algo", required=True, choices=sorted(CONFIGS))
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--choices", type=int, default=0, help="discrete actions; 0: continuous ones")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    log = hopper_like(args.count, args.choices)
    dataset = d3rlpy.dataset.MDPDataset(
        log.obs, log.action, log.reward, log.terminated.astype("float32"), log.truncated.astype("float32")
    )
    algo = make(args.algo, args.batch_size)
    algo.build_with_dataset(dataset)

    def update() -> int:
        algo.update(dataset.sample_transition_batch(args.batch_size))
        return 1

    serve(update, versions("d3rlpy", "torch", "numpy"))


if __name__ == "__main__":
    main()
