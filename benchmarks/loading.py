"""How long a million transitions of Hopper's shapes take to load: from a Minari dataset, and again from the cache.

Each loading is a process of its own, which is timed from when it asks for the data, with everything imported, until a
batch could be drawn. The dataset lies in the system's cache of files, which a first reading would wait for the disk to
fill.

    python -m benchmarks.loading --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import ROOT, environment, machine, save, table
from benchmarks.synthetic import ACTION, OBS, hopper_like

ID = "benchmark/hopper-v0"
ROWS = {"first": "first, from Minari", "again": "again, from the cache"}


def write(count: int) -> None:
    """A Minari dataset of noise."""
    import numpy as np
    from gymnasium.spaces import Box

    from offrl.data import minari
    from offrl.types import Steps

    spaces = Box(-np.inf, np.inf, (OBS,), np.float32), Box(-1.0, 1.0, (ACTION,), np.float32)
    log = hopper_like(count)
    steps = Steps(**log._asdict())
    first = np.concatenate([[True], (log.terminated | log.truncated)[:-1]])
    steps.obs[1:][~first[1:]] = steps.next_obs[:-1][~first[1:]]
    minari.write(ID, steps, observation_space=spaces[0], action_space=spaces[1])


def load() -> dict[str, float]:
    """Seconds, by both clocks, of `dataset=ID` for IQL."""
    from benchmarks.ours import composed
    from offrl.build import build

    config = composed(["algo=iql", f"dataset={ID}"])
    recipe, algo = build(config["dataset"], "dataset"), build(config["algo"], "algo")
    wall, cpu = time.perf_counter(), time.process_time()
    dataset = recipe.load(algo.needs, algo.return_discount, 1, "cpu", 0)
    dataset.sample(256)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def measured(where: str) -> dict[str, float]:
    """One loading, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.loading", "--load"]
    more = {**environment(1), "MINARI_DATASETS_PATH": where}
    done = subprocess.run(command, cwd=ROOT, env=more, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def markdown(content: Mapping[str, Any]) -> str:
    """The table."""
    rows = [
        [title, *(f"{median(record[clock] for record in content['records'][row]):.2f}" for clock in ("wall", "cpu"))]
        for row, title in ROWS.items()
    ]
    return table([f"{content['count']:,} transitions", "seconds", "of the processor"], rows)


def main() -> None:
    """Write once, load in turns, print the table, keep the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", action="store_true", help="load once, in this process, and say how long it took")
    args = parser.parse_args()
    if args.load:
        print(json.dumps(load()))
        return
    content: dict[str, Any] = {"machine": machine(), "count": args.count, "records": {row: [] for row in ROWS}}
    with tempfile.TemporaryDirectory() as where:
        os.environ["MINARI_DATASETS_PATH"] = where
        write(args.count)
        for _ in range(args.rounds):
            shutil.rmtree(Path(where) / ID / "offrl-cache", ignore_errors=True)
            for row in ROWS:
                content["records"][row].append(measured(where))
    save("loading", content)
    print(markdown(content))


if __name__ == "__main__":
    main()
