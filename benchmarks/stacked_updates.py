"""An update of eight runs, one after the other and as one stack, on one core (whole commands: `benchmarks/stacked.py`).

python -m benchmarks.stacked_updates --rounds 5 --seconds 1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from benchmarks.harness import machine, save, table

RUNS, COUNT = 8, 50_000
ROWS: dict[str, tuple[str, ...]] = {
    "DQN 2 x 64, batch 32": ("algo=dqn", "network.hidden=[64,64]", "algo.batch_size=32"),
    "BC 2 x 64, batch 64": ("algo=bc", "network.hidden=[64,64]", "algo.batch_size=64"),
    "IQL 2 x 64, batch 64": ("algo=iql", "network.hidden=[64,64]", "algo.batch_size=64"),
    "SAC 2 x 64, batch 64": ("algo=sac", "network.hidden=[64,64]", "algo.batch_size=64"),
    "IQL 2 x 256, batch 256": ("algo=iql",),
}


def contenders(words: tuple[str, ...]) -> tuple[Callable[[], object], Callable[[], object]]:
    """(an update of each run in turn, an update of all as one)."""
    import copy

    import torch

    from benchmarks.ours import composed, synthetic
    from offrl.build import build
    from offrl.nn.stack import Stack, joined

    config = composed(list(words))
    algos: list[Any] = [build(config["algo"], "algo") for _ in range(RUNS)]
    dataset = synthetic(COUNT, 3 if "dqn" in words[0] else 0, algos[0])
    for algo in algos:
        algo.build(dataset.spec)
    stack = Stack(copy.deepcopy(algos), [torch.Generator().manual_seed(i) for i in range(RUNS)])

    def apart() -> None:
        for algo in algos:
            algo.update(dataset.sample(algo.batch_size))

    def together() -> None:
        stack("update", joined([dataset.sample(algo.batch_size) for algo in algos]))

    return apart, together


def each(work: Callable[[], object], seconds: float) -> float:
    """Processor seconds of one call."""
    count, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        work()
        count += 1
    return (time.process_time() - start) / count


def markdown(content: Mapping[str, Any]) -> str:
    """The table."""
    rows: list[list[str]] = []
    for name, records in content["rows"].items():
        times = (f"{1e6 * median(side):,.0f}" for side in zip(*records, strict=True))
        rows.append([name, *times, f"{median(a / b for a, b in records):.1f}"])
    return table(["processor time of an update", "eight in turn, µs", "eight as one, µs", "ratio"], rows)


def main() -> None:
    """Take turns, print the table, keep the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="each side in each round")
    args = parser.parse_args()
    content: dict[str, Any] = {"machine": machine(), "threads": 1, "rows": {}}
    for name, words in ROWS.items():
        sides = contenders(words)
        for side in sides:
            each(side, 0.1)
        content["rows"][name] = [[each(side, args.seconds) for side in sides] for _ in range(args.rounds)]
        save("stacked_updates", content)
    print(markdown(content))


if __name__ == "__main__":
    main()
