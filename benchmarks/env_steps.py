"""Environment steps per second while training: ours beside Stable-Baselines3 at equal settings, in turns.

Same networks, batch sizes, epochs, updates per step and numbers of environments; each with its own defaults otherwise.

    python -m benchmarks.env_steps --tasks ppo_cartpole_8 --rounds 5 --seconds 10
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    Contender,
    add_peer_options,
    machine,
    present,
    rate,
    ratio,
    save,
    table,
    take_turns,
)


@dataclass(frozen=True)
class Task:
    """One training, said twice."""

    ours: tuple[str, ...]
    algo: str
    env: str
    num_envs: int = 1
    settings: dict[str, Any] = field(default_factory=dict)  # of SB3, where its defaults are not ours

    def contenders(self, sb3: Path | None) -> list[Contender]:
        """Who takes part."""
        found = [Contender("offrl", Path(sys.executable), "benchmarks.ours", self.ours)]
        if sb3:
            args = ("--algo", self.algo, "--env", self.env, "--num-envs", str(self.num_envs))
            settings = ("--settings", json.dumps(self.settings))
            found.append(Contender("SB3", sb3, "benchmarks.peers.sb3_env_steps", (*args, *settings)))
        return found


# 2048 steps a rollout in each, which are 320 minibatches of 64 whatever the number of environments.
TASKS = {
    "ppo_cartpole_8": Task(
        ("algo=ppo", "env=cartpole", "env.num_envs=8", "algo.horizon=256"),
        "PPO",
        "CartPole-v1",
        8,
        {"n_steps": 256},
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
}


def report(content: dict[str, Any]) -> str:
    """The table."""
    rows: list[list[str]] = []
    for name, results in content["tasks"].items():
        cells = {n: f"{rate(r['records']):.0f} ({rate(r['records'], 'cpu'):.0f})" for n, r in results.items()}
        versus = "-"
        if "SB3" in results:
            ours, theirs = results["offrl"]["records"], results["SB3"]["records"]
            versus = f"{ratio(ours, theirs):.2f} ({ratio(ours, theirs, 'cpu'):.2f})"
        rows.append([name, cells["offrl"], cells.get("SB3", "-"), versus])
    return table(["environment steps/s, wall (cpu)", "offrl", "SB3", "ours / SB3"], rows)


def main() -> None:
    """Measure every task, print the table, keep the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="each contender in each round")
    add_peer_options(parser)
    args = parser.parse_args()
    sb3 = args.sb3_python if present(args.sb3_python, "sb3") else None
    content: dict[str, Any] = {"machine": machine(), "threads": 1, "tasks": {}}
    for name in args.tasks:
        content["tasks"][name] = take_turns(TASKS[name].contenders(sb3), args.rounds, args.seconds, threads=1)
        save("env_steps", content)
        print(report({"tasks": {name: content["tasks"][name]}}).splitlines()[-1], flush=True)
    print(report(content))


if __name__ == "__main__":
    main()
