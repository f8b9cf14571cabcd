"""Where an environment step of runs that train as one goes: DQN on CartPole, two layers of 64, batches of 32, one core.

    python -m benchmarks.stacked_steps

Processor time for each step of each run, once learning has begun (and compiling, where it is asked for, is over). What
the runs do as one is learning (with the sampling of their batches) and acting; the rest is each run's own: its
environment, its replay buffer, its trainer's loop.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, environment, machine, save, table

CASES = ((1, False), (4, False), (4, True), (8, False), (8, True))  # runs, compiled
WARMUP, SETTLING = 100, 300  # steps without learning, and learning before the clock starts
WORDS = ("algo=dqn", "env=cartpole", "network.hidden=[64,64]", "algo.batch_size=32", f"trainer.warmup={WARMUP}")
PARTS = ("learning", "acting", "its own")


class Clock:
    """Processor seconds of the calls that it wraps, and of all between the first and the last tick."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        self.learnt, self.start, self.end = 0, 0.0, 0.0

    def timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, on the clock."""

        def done(*args: Any) -> Any:
            if part == "learning":
                self.learnt += 1
                self.start = time.process_time() if self.learnt == SETTLING else self.start
            begin = time.process_time()
            result = work(*args)
            self.end = time.process_time()
            if self.learnt >= SETTLING:
                self.seconds[part] += self.end - begin
            return result

        return done

    def read(self, runs: int) -> dict[str, float]:
        """Microseconds of each part for a step of a run."""
        shared = self.seconds["learning"] + self.seconds["acting"]
        self.seconds["its own"] = self.end - self.start - shared
        steps = runs * (self.learnt - SETTLING + 1)
        return {part: 1e6 * seconds / steps for part, seconds in self.seconds.items()}


def measure(runs: int, compiled: bool, steps: int) -> dict[str, float]:
    """One case, `steps` of each run on the clock."""
    from benchmarks.ours import composed
    from offrl.algos.value.base import DeepQ
    from offrl.jobs import train
    from offrl.train.together import Company
    from offrl.train.updater import Updater

    clock, total = Clock(), WARMUP + SETTLING + steps
    knobs = (f"trainer.steps={total}", f"trainer.checkpoint_interval={total}", f"hardware.compile={compiled}".lower())
    configs = [composed([*WORDS, *knobs, f"seed={seed}"]) for seed in range(runs)]
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
        jobs = [partial(train.run, config, Path(place) / str(seed)) for seed, config in enumerate(configs)]
        if runs == 1:
            Updater.run, DeepQ.explore = clock.timed("learning", Updater.run), clock.timed("acting", DeepQ.explore)
            jobs[0]()
        else:
            company: Any = Company(mode="stack")
            company._updates = clock.timed("learning", company._updates)
            company._act = clock.timed("acting", company._act)
            company.run(jobs, range(runs))
    return clock.read(runs)


def markdown(content: Mapping[str, Any]) -> str:
    """The table."""
    rows: list[list[str]] = []
    for name, parts in content["cases"].items():
        rows.append([name, *(f"{parts[part]:,.0f}" for part in PARTS), f"{sum(parts.values()):,.0f}"])
    return table(["µs of a step of a run", *PARTS, "together"], rows)


def main() -> None:
    """Each case in a process of its own; print the table, keep the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2_000, help="of each run, on the clock")
    parser.add_argument("--one", nargs=2, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one[0], bool(args.one[1]), args.steps)))
        return
    content: dict[str, Any] = {"machine": machine(), "cases": {}}
    for runs, compiled in CASES:
        command = [sys.executable, "-m", "benchmarks.stacked_steps", "--steps", str(args.steps)]
        command += ["--one", str(runs), str(int(compiled))]
        done = subprocess.run(command, cwd=ROOT, env=environment(1), stdout=subprocess.PIPE, text=True, check=True)
        name = f"{runs} {'run' if runs == 1 else 'runs as one'}{', compiled' if compiled else ''}"
        content["cases"][name] = json.loads(done.stdout.strip().splitlines()[-1])
        save("stacked_steps", content)
    print(markdown(content))


if __name__ == "__main__":
    main()
