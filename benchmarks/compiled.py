"""What compiling an update costs and saves: the same algorithm on the same batches, as written and compiled, in turns.

Processor time of the process and of the compilers that it starts, so that other work on the machine disturbs little.
The cost is that of an empty cache; the last column is the number of updates after which it is made up for.

    python -m benchmarks.compiled --algos iql sac --rounds 5
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from benchmarks.harness import ROOT, environment, machine, save, table

# What is compared, by name: Hopper's shapes with the default networks, and small ones.
CASES: dict[str, tuple[str, ...]] = {
    **{name: (f"algo={name}", "trainer=offline") for name in ("iql", "td3_bc", "cql", "sac", "bc")},
    "dqn": ("algo=dqn", "env=cartpole"),
    "small iql": ("algo=iql", "network.hidden=[64,64]", "algo.batch_size=64"),
    "small dqn": ("algo=dqn", "env=cartpole", "network.hidden=[64,64]", "algo.batch_size=32"),
}


def processor_seconds() -> float:
    """Of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def rate(update: Callable[[], None], seconds: float) -> float:
    """Seconds of processor time an update."""
    update()
    count, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        update()
        count += 1
    return (time.process_time() - start) / count


def measure(words: tuple[str, ...], rounds: int, seconds: float) -> dict[str, float]:
    """Milliseconds an update before and after, their ratio, and the seconds that it cost."""
    from benchmarks.ours import begun, composed
    from offrl.train.updater import Meter, Updater

    with tempfile.TemporaryDirectory() as folder:
        trainer: Any = begun(composed([*words, "hardware.compile=false"]), 100_000, 0, Path(folder))
        trainer.advance(2_000 if any(word.startswith("env=") for word in words) else 2)
        algo = trainer._updater.algo
        source = getattr(trainer, "_source", None) or trainer._dataset
        plain, compiled = (Updater(algo, Meter(), compile, 1) for compile in (False, True))
        start = processor_seconds()
        compiled.run(source, 4)  # two phases of a delayed policy are two graphs
        cost = processor_seconds() - start
        pairs = [[rate(lambda u=u: u.run(source, 4), seconds) / 4 for u in (plain, compiled)] for _ in range(rounds)]
        trainer.close()
    before, after = (1000.0 * statistics.median(column) for column in zip(*pairs, strict=True))
    gain = statistics.median(first / second for first, second in pairs)
    return {"before": before, "after": after, "gain": gain, "cost": cost}


def markdown(record: Mapping[str, Any]) -> str:
    """The table."""
    header = ("ms an update", "as written", "compiled", "gain", "s to compile", "even after, updates")
    return table(header, [(name, *cells(row)) for name, row in record["cases"].items()])


def cells(row: Mapping[str, float]) -> tuple[str, ...]:
    """One case, with the number of updates after which compiling has paid."""
    saved = row["before"] - row["after"]
    even = f"{1000.0 * row['cost'] / saved:,.0f}" if saved > 0.0 else "never"
    return f"{row['before']:.2f}", f"{row['after']:.2f}", f"{row['gain']:.2f}", f"{row['cost']:.0f}", even


def main() -> None:
    """Each case in a process and with a cache of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algos", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6, help="of processor time, each side of a round")
    parser.add_argument("--one", help=argparse.SUPPRESS, choices=CASES)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(CASES[cast(str, args.one)], args.rounds, args.seconds)))
        return
    record: dict[str, Any] = {"machine": machine(), "cases": {}}
    for name in args.algos:
        with tempfile.TemporaryDirectory() as cache:
            command = [sys.executable, "-m", "benchmarks.compiled", "--one", name]
            command += ["--rounds", str(args.rounds), "--seconds", str(args.seconds)]
            env = environment(1) | {"TORCHINDUCTOR_CACHE_DIR": cache}
            done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
        record["cases"][name] = json.loads(done.stdout.strip().splitlines()[-1])
        save("compiled", record)
    print(markdown(record))


if __name__ == "__main__":
    main()
