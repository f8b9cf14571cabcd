"""Environment steps per second while training: ours, Stable-Baselines3 and plain scripts at equal settings, in turns.

Same networks, batch sizes, epochs, updates per step and numbers of environments; each with its own defaults otherwise.

    python -m benchmarks.env_steps --rows ppo_cartpole_8 --rounds 5 --seconds 10
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.comparison import OURS, arguments, compare, pythons
from benchmarks.harness import Contender


@dataclass(frozen=True)
class Task:
    """One training, said twice."""

    ours: tuple[str, ...]
    algo: str
    env: str
    num_envs: int = 1
    settings: dict[str, Any] = field(default_factory=dict)  # of SB3, where its defaults are not ours


# SB3's words for our defaults of DQN: an update of 128 at every step, a soft target.
DQN = {
    **{"batch_size": 128, "train_freq": 1, "learning_rate": 5e-4, "learning_starts": 100, "max_grad_norm": 10},
    **{"target_update_interval": 1, "tau": 0.01, "policy_kwargs": {"net_arch": [64, 64]}},
}
# 2048 steps a rollout in each, which are 320 minibatches of 64 whatever the number of environments.
ROWS = {
    "ppo_cartpole_8": Task(
        ("algo=ppo", "env=cartpole", "env.num_envs=8", "algo.horizon=256"), "PPO", "CartPole-v1", 8, {"n_steps": 256}
    ),
    "ppo_halfcheetah_1": Task(("algo=ppo", "env=halfcheetah", "env.num_envs=1"), "PPO", "HalfCheetah-v5"),
    "ppo_halfcheetah_8": Task(
        ("algo=ppo", "env=halfcheetah", "env.num_envs=8", "algo.horizon=256"),
        "PPO",
        "HalfCheetah-v5",
        8,
        {"n_steps": 256},
    ),
    "sac_hopper_1": Task(("algo=sac", "env=hopper", "env.num_envs=1", "trainer.warmup=100"), "SAC", "Hopper-v5"),
    "dqn_cartpole_1": Task(
        ("algo=dqn", "env=cartpole", "env.num_envs=1", "trainer.warmup=100", "network.hidden=[64,64]"),
        "DQN",
        "CartPole-v1",
        1,
        DQN,
    ),
}


def contenders(name: str, peers: dict[str, Path]) -> Sequence[Contender]:
    """Who takes part."""
    task, here = ROWS[name], Path(sys.executable)
    args = ("--algo", task.algo, "--env", task.env, "--num-envs", str(task.num_envs))
    args += ("--settings", json.dumps(task.settings))
    found = [
        Contender(OURS, here, "benchmarks.ours", task.ours),
        Contender("plain script", here, "benchmarks.peers.plain_env_steps", args),
    ]
    if "sb3" in peers:
        found.append(Contender("SB3", peers["sb3"], "benchmarks.peers.sb3_env_steps", args))
    return found


def main() -> None:
    """Measure every task, print the table, keep the record."""
    args = arguments(__doc__, list(ROWS), rounds=5, seconds=3.0).parse_args()
    peers = pythons(args, "sb3")
    compare("env_steps", args.rows, lambda row: contenders(row, peers), args, threads=1)


if __name__ == "__main__":
    main()
