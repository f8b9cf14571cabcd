"""The smallest scripts with others' libraries, up to and with their first update: seconds of the processor.

python -m benchmarks.peers.first_update --of sb3
"""

from __future__ import annotations

import argparse
import time

from benchmarks.worker import say


def of_torch() -> None:
    """What nobody who uses it can go below."""
    import torch

    torch.zeros(1)


def of_sb3() -> None:
    """SAC on Pendulum."""
    from stable_baselines3 import SAC

    SAC("MlpPolicy", "Pendulum-v1", learning_starts=10).learn(11)


def of_d3rlpy() -> None:
    """IQL on a thousand transitions."""
    import d3rlpy
    import numpy as np

    from benchmarks.synthetic import hopper_like

    log = hopper_like(1000)
    ends = log.terminated.astype(np.float32), np.ones(1000, np.float32) * log.truncated
    dataset = d3rlpy.dataset.MDPDataset(log.obs, log.action, log.reward, *ends)
    algo = d3rlpy.algos.IQLConfig().create("cpu:0")
    algo.build_with_dataset(dataset)
    algo.update(dataset.sample_transition_batch(256))


def main() -> None:
    """Do it and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", required=True, choices=["torch", "sb3", "d3rlpy"])
    {"torch": of_torch, "sb3": of_sb3, "d3rlpy": of_d3rlpy}[parser.parse_args().of]()
    say({"cpu": time.process_time()})


if __name__ == "__main__":
    main()
