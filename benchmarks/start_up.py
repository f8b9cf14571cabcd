"""How soon learning begins: seconds of the processor from the start of a process to the end of its first update.

Ours is the whole command, `offrl train`, with a run folder, a config and its checks, for a run too short to be compiled
(compiling is in `compiled.py`); the others' are the smallest scripts that learn the same. Everything lies in the
system's cache of files.

    python -m benchmarks.start_up --rounds 5
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.comparison import pythons
from benchmarks.harness import ROOT, add_peer_options, environment, machine, save, table
from benchmarks.synthetic import hopper_like
from benchmarks.worker import MARK

CONFIG = """# @package _global_
defaults:
  - {name}
algo:
  _target_: benchmarks.first_update.First{upper}
"""
PEERS = {"torch": "`import torch` alone", "sb3": "SB3: SAC on Pendulum", "d3rlpy": "d3rlpy: IQL on a log"}


def prepare(folder: Path) -> dict[str, list[str]]:
    """Our two commands, with the files that they need."""
    configs = folder / "configs"
    (configs / "algo").mkdir(parents=True)
    for name in ("iql", "sac"):
        (configs / "algo" / f"first_{name}.yaml").write_text(CONFIG.format(name=name, upper=name.upper()))
    arrays: dict[str, Any] = hopper_like(1000)._asdict()
    np.savez(folder / "log.npz", **arrays)
    train = [sys.executable, "-m", "offrl", "train", "--config-dir", str(configs), "logger=none"]
    return {
        "`offrl train algo=iql dataset=FILE`": [
            *train,
            "algo=first_iql",
            f"dataset={folder / 'log.npz'}",
            "trainer.updates=1000",
        ],
        "`offrl train algo=sac env=pendulum`": [
            *train,
            "algo=first_sac",
            "env=pendulum",
            "trainer.steps=1000",
            "trainer.warmup=10",
        ],
    }


def seconds(command: Sequence[str], folder: Path) -> float:
    """Of the processor, as the process itself says."""
    more = [f"hydra.run.dir={tempfile.mkdtemp(dir=folder)}"] if "offrl" in command else []
    done = subprocess.run([*command, *more], cwd=ROOT, env=environment(1), capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith(MARK):
            return json.loads(line.removeprefix(MARK))["cpu"]
    raise SystemExit(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}")


def markdown(content: Mapping[str, Any]) -> str:
    """The table."""
    rows = [[name, f"{median(values):.2f}"] for name, values in content["seconds"].items()]
    return table(["to the end of the first update", "processor seconds"], rows)


def main() -> None:
    """Take turns, print the table, keep the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    add_peer_options(parser)
    args = parser.parse_args()
    others = {"torch": Path(sys.executable)} | pythons(args, "sb3", "d3rlpy")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        commands = prepare(folder)
        for peer, python in others.items():
            commands[PEERS[peer]] = [str(python), "-m", "benchmarks.peers.first_update", "--of", peer]
        content: dict[str, Any] = {"machine": machine(), "seconds": {name: [] for name in commands}}
        for _ in range(args.rounds + 1):
            for name, command in commands.items():
                content["seconds"][name].append(seconds(command, folder))
    content["seconds"] = {name: values[1:] for name, values in content["seconds"].items()}  # the first filled caches
    save("start_up", content)
    print(markdown(content))


if __name__ == "__main__":
    main()
