"""Batches of 256 out of a million transitions, as others draw them.

python -m benchmarks.peers.samplers --of numpy          five gathers from five NumPy arrays
python -m benchmarks.peers.samplers --of sb3            Stable-Baselines3's replay buffer
python -m benchmarks.peers.samplers --of d3rlpy         d3rlpy's replay buffer (with fewer transitions)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.synthetic import ACTION, OBS, Log, hopper_like
from benchmarks.worker import serve, versions

Draw = Callable[[], object]


def of_numpy(log: Log, batch_size: int) -> Draw:
    """What most scripts have."""
    columns = log.obs, log.action, log.reward, log.next_obs, log.terminated.astype(np.float32)
    draw = np.random.default_rng(0)

    def sample() -> list[torch.Tensor]:
        rows = draw.integers(0, len(log.reward), batch_size)
        return [torch.as_tensor(column[rows]) for column in columns]

    return sample


def of_sb3(log: Log, batch_size: int) -> Draw:
    """Its arrays filled as `add` would, without a million calls of it."""
    from gymnasium.spaces import Box
    from stable_baselines3.common.buffers import ReplayBuffer

    obs = Box(-np.inf, np.inf, (OBS,), np.float32)
    buffer = ReplayBuffer(len(log.reward), obs, Box(-1, 1, (ACTION,), np.float32), device="cpu")
    buffer.observations[:, 0], buffer.next_observations[:, 0] = log.obs, log.next_obs
    buffer.actions[:, 0], buffer.rewards[:, 0], buffer.dones[:, 0] = log.action, log.reward, log.terminated
    buffer.full = True
    return lambda: buffer.sample(batch_size)


def of_d3rlpy(log: Log, batch_size: int) -> Draw:
    """Batches as its `fit` asks for them."""
    import d3rlpy

    ends = log.terminated.astype(np.float32), log.truncated.astype(np.float32)
    dataset = d3rlpy.dataset.MDPDataset(log.obs, log.action, log.reward, *ends)
    return lambda: dataset.sample_transition_batch(batch_size)


SAMPLERS: dict[str, tuple[Callable[[Log, int], Draw], tuple[str, ...]]] = {
    "numpy": (of_numpy, ("numpy", "torch")),
    "sb3": (of_sb3, ("stable-baselines3", "numpy", "torch")),
    "d3rlpy": (of_d3rlpy, ("d3rlpy", "numpy")),
}


def main() -> None:
    """Fill, then serve batches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", required=True, choices=sorted(SAMPLERS))
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--batch-size", type=int, default=256)
    args = parser.parse_args()
    torch.set_num_threads(1)
    make, packages = SAMPLERS[args.of]
    draw = make(hopper_like(args.count), args.batch_size)

    def work() -> int:
        for _ in range(20):
            draw()
        return 20

    serve(work, versions(*packages))


if __name__ == "__main__":
    main()
