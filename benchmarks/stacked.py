"""Eight runs as one, beside eight processes: whole commands, from start to end.

    python -m benchmarks.stacked
    python -m benchmarks.stacked --tasks dqn --rounds 1 --length 5000

Apart, as many processes as there are cores work at a time, each on one run: what a shell loop or a process pool does.
Together, `offrl train seeds=8` decides for itself how to share the runs out. Both sides take turns; the ratio is of
seconds in the same round. Small networks (two layers of 64), no evaluation.

A command imports libraries, makes folders and draws curves, whatever its length. What remains of long runs is the
time that they spend in training, which each notes in its `run.json`: the last column is the ratio of that alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.harness import ROOT, environment, machine, save, table
from benchmarks.synthetic import hopper_like

RUNS = 8
SMALL = ("network.hidden=[64,64]",)
TASKS: dict[str, tuple[str, int, tuple[str, ...]]] = {  # what counts the length, how long, the rest of the command
    "dqn": ("trainer.steps", 10_000, ("algo=dqn", "env=cartpole", "algo.batch_size=32", *SMALL)),
    "ppo": ("trainer.steps", 20_000, ("algo=ppo", "env=cartpole")),
    "bc": ("trainer.updates", 10_000, ("algo=bc", "algo.batch_size=64", *SMALL)),
    "iql": ("trainer.updates", 5_000, ("algo=iql", "algo.batch_size=64", *SMALL)),
    "discrete_cql": ("trainer.updates", 5_000, ("algo=discrete_cql", "algo.batch_size=32", *SMALL)),
    "iql_256": ("trainer.updates", 500, ("algo=iql",)),
}
OFFLINE = ("bc", "iql", "iql_256", "discrete_cql")


def command(task: str, length: int | None, folder: Path, data: dict[str, Path], *more: str) -> list[str]:
    """A run of a task."""
    counts, default, words = TASKS[task]
    size = length or default
    source = (f"dataset={data['discrete' if task == 'discrete_cql' else 'continuous']}",) if task in OFFLINE else ()
    knobs = (f"{counts}={size}", f"trainer.log_interval={size}", f"trainer.checkpoint_interval={size}")
    quiet = ("evaluation=none", "logger=none")
    return [sys.executable, "-m", "offrl", "train", *words, *source, *knobs, *quiet, *more]


def timed(commands: list[list[str]], at_a_time: int) -> tuple[float, float]:
    """(wall, processor) seconds of all commands."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with ThreadPoolExecutor(at_a_time) as pool:
        for done in pool.map(
            lambda words: subprocess.run(words, cwd=ROOT, env=environment(1), capture_output=True, check=False),
            commands,
        ):
            if done.returncode:
                raise SystemExit(done.stderr.decode()[-2000:])
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def training(folder: Path, runs: int, at_a_time: int) -> float:
    """Seconds of training alone, of all `runs` below `folder`, of which so many share the machine equally."""
    seconds = [json.loads(path.read_text())["seconds"] for path in sorted(folder.rglob("run.json"))]
    assert len(seconds) == runs, f"{folder} should hold {runs} runs, not {len(seconds)}"
    return sum(seconds) / at_a_time


def logs(folder: Path) -> dict[str, Path]:
    """Data to learn from, with continuous and with discrete actions."""
    paths = {"continuous": folder / "continuous.npz", "discrete": folder / "discrete.npz"}
    for path, choices in zip(paths.values(), (0, 3), strict=True):
        arrays: dict[str, Any] = hopper_like(50_000, choices)._asdict()
        np.savez(path, **arrays)
    return paths


def markdown(content: Mapping[str, Any]) -> str:
    """The table."""
    rows: list[list[str]] = []
    for task, records in content["tasks"].items():
        seconds = (median(r[side][0] for r in records) for side in ("apart", "together"))
        ratios = (median(r["apart"][clock] / r["together"][clock] for r in records) for clock in (0, 1, 2))
        length = f"{TASKS[task][0].partition('.')[2]} {content.get('length') or TASKS[task][1]:,}"
        rows.append([f"{task}, {length}", *(f"{x:.1f}" for x in seconds), *(f"{x:.2f}" for x in ratios)])
    header = ["8 runs", "apart, s", "together, s", "ratio", "ratio by processor time", "ratio of training alone"]
    return table(header, rows)


def main() -> None:
    """Take turns, print the table, keep the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--length", type=int, help="of each run, instead of the task's own")
    args = parser.parse_args()
    cores = os.cpu_count() or 1
    content: dict[str, Any] = {"machine": machine(), "runs": RUNS, "length": args.length, "tasks": {}}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        data = logs(folder)
        for task in args.tasks:
            records: list[dict[str, tuple[float, float, float]]] = []  # wall, processor, training
            for n in range(args.rounds):
                here = folder / f"{task}-{n}"
                one = [
                    command(task, args.length, here, data, f"seed={i}", f"hydra.run.dir={here / 'apart' / str(i)}")
                    for i in range(RUNS)
                ]
                all_ = [command(task, args.length, here, data, f"seeds={RUNS}", f"hydra.sweep.dir={here / 'sweep'}")]
                apart, together = timed(one, cores), timed(all_, 1)
                records.append(
                    {
                        "apart": (*apart, training(here / "apart", RUNS, cores)),
                        "together": (*together, training(here / "sweep", RUNS, RUNS)),  # all of them at once
                    }
                )
            content["tasks"][task] = records
            save("stacked", content)
            print(markdown({**content, "tasks": {task: records}}).splitlines()[-1], flush=True)
    print(markdown(content))


if __name__ == "__main__":
    main()
