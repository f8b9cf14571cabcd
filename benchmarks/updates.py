"""Updates per second: ours, a plain PyTorch implementation, JAX and d3rlpy, in turns on one machine.

Hopper's shapes and batches of 256, and for discrete actions three choices and batches of 32; two hidden layers of 256,
everyone's default precision. Sampling is part of an update. Our data, the plain buffer and JAX's hold 1M rows;
d3rlpy's holds 50k, because it is slow to fill (its speed does not depend on it).

    python -m benchmarks.updates --rows iql td3_bc --rounds 5 --seconds 10
    python -m benchmarks.updates --threads 2
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.comparison import COMPILED, FLOOR, OURS, arguments, compare, pythons
from benchmarks.harness import Contender

COUNT, FEWER = 1_000_000, 50_000  # transitions


@dataclass(frozen=True)
class Row:
    """One algorithm, and who has it."""

    ours: tuple[str, ...]
    plain: bool = True
    jax: bool = False
    compiled: bool = False  # ours also as one graph, where `hardware.compile=auto` has it in runs of 50,000 updates
    batch_size: int = 256
    choices: int = 0  # discrete actions


ROWS = {
    "iql": Row(("algo=iql",), jax=True, compiled=True),
    "td3_bc": Row(("algo=td3_bc",), jax=True, compiled=True),
    "bc": Row(("algo=bc", "policy=deterministic"), jax=True, compiled=True),  # as the others clone; ours is a Gaussian
    "sac": Row(("algo=sac", "trainer=offline"), jax=True, compiled=True),
    "awac": Row(("algo=awac",), jax=True, compiled=True),
    "cql": Row(("algo=cql",)),
    "sac_n": Row(("algo=sac_n", "network.hidden=[256,256]"), compiled=True),
    "dqn": Row(("algo=double_dqn", "trainer=offline"), plain=False, compiled=True, batch_size=32, choices=3),
    "discrete_cql": Row(("algo=discrete_cql",), plain=False, compiled=True, batch_size=32, choices=3),
}
AT_TWO_THREADS = ("iql", "td3_bc", "sac")


def contenders(name: str, threads: int, peers: dict[str, Path]) -> Sequence[Contender]:
    """Who takes part."""
    row, here = ROWS[name], Path(sys.executable)
    shape = ("--batch-size", str(row.batch_size), "--choices", str(row.choices))
    words = (*row.ours, f"algo.batch_size={row.batch_size}", f"hardware.threads={threads}", "hardware.compile=false")
    ours = ("--count", str(COUNT), "--choices", str(row.choices), *words)
    args = ("--algo", name, "--threads", str(threads), *shape)
    found = [Contender(OURS, here, "benchmarks.ours", ours)]
    if row.compiled and threads == 1:
        found.append(Contender(COMPILED, here, "benchmarks.ours", (*ours, "hardware.compile=true")))
    if row.plain:
        found.append(Contender("plain PyTorch", here, "benchmarks.peers.plain_updates", (*args, "--count", str(COUNT))))
    if row.jax and "jax" in peers:
        found.append(Contender("JAX", peers["jax"], "benchmarks.peers.jax_updates", (*args, "--count", str(COUNT))))
    if "d3rlpy" in peers:
        found.append(
            Contender("d3rlpy", peers["d3rlpy"], "benchmarks.peers.d3rlpy_updates", (*args, "--count", str(FEWER)))
        )
    fewer = ("--count", str(FEWER), "--choices", str(row.choices), *words)
    return [*found, Contender(FLOOR, here, "benchmarks.products", fewer)]


def main() -> None:
    """Measure every algorithm, print the table, keep the record."""
    parser = arguments(__doc__, list(ROWS), rounds=5, seconds=1.6)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    peers = pythons(args, "d3rlpy", "jax")
    rows = [row for row in args.rows if args.threads == 1 or row in AT_TWO_THREADS]
    compare(
        f"updates_{args.threads}_threads", rows, lambda row: contenders(row, args.threads, peers), args, args.threads
    )


if __name__ == "__main__":
    main()
