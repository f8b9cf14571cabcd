"""Batches of 256 out of a million transitions of Hopper's shapes, a second: ours and others', in turns.

python -m benchmarks.sampling --rounds 5 --seconds 1
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.comparison import OURS, arguments, compare, pythons
from benchmarks.harness import Contender

COUNT, FEWER = 1_000_000, 50_000  # d3rlpy's buffer is slow to fill, and as fast with fewer
ROWS = ("batches of 256",)


def contenders(peers: dict[str, Path]) -> Sequence[Contender]:
    """Who takes part."""
    here, module = Path(sys.executable), "benchmarks.peers.samplers"
    found = [
        Contender(
            OURS, here, "benchmarks.ours", ("--sampling", "--count", str(COUNT), "algo=bc", "algo.batch_size=256")
        ),
        Contender("five NumPy gathers", here, module, ("--of", "numpy", "--count", str(COUNT))),
    ]
    for peer, name, count in (("sb3", "SB3", COUNT), ("d3rlpy", "d3rlpy", FEWER)):
        if peer in peers:
            found.append(Contender(name, peers[peer], module, ("--of", peer, "--count", str(count))))
    return found


def main() -> None:
    """Measure, print the table, keep the record."""
    args = arguments(__doc__, ROWS, rounds=5, seconds=1.0).parse_args()
    peers = pythons(args, "sb3", "d3rlpy")
    compare("sampling", args.rows, lambda row: contenders(peers), args, threads=1)


if __name__ == "__main__":
    main()
