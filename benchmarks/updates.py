"""Updates per second: ours, a plain PyTorch implementation and d3rlpy, in turns on one machine.

Hopper's shapes, batch 256, two hidden layers of 256, everyone's default precision. Sampling is part of an update.
Our data and the plain buffer hold 1M rows; d3rlpy's holds 200k, because it takes minutes to fill (its speed does not
depend on it).

    python -m benchmarks.updates --algos iql td3_bc --rounds 5 --seconds 10
"""

from __future__ import annotations

import argparse
import sys
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

ALGOS = ("iql", "td3_bc", "cql", "sac", "bc")
CHANGES = {"bc": ("policy=deterministic",)}  # as the others clone; our default is a Gaussian


def contenders(algo: str, rows: int, threads: int, d3rlpy: Path | None) -> list[Contender]:
    """Who takes part."""
    here, many, args = (
        Path(sys.executable),
        ("--rows", str(rows)),
        ("--algo", algo, "--threads", str(threads)),
    )
    ours = (*many, f"algo={algo}", f"hardware.threads={threads}", "trainer=offline", *CHANGES.get(algo, ()))
    found = [
        Contender("offrl", here, "benchmarks.ours", ours),
        Contender("plain PyTorch", here, "benchmarks.peers.plain_torch", (*args, *many)),
    ]
    if d3rlpy:
        fewer = ("--rows", str(min(rows, 200_000)))
        found.append(Contender("d3rlpy", d3rlpy, "benchmarks.peers.d3rlpy_updates", (*args, *fewer)))
    return found


def cell(results: dict[str, Any], name: str) -> str:
    """Updates per second by the wall and, in brackets, by the processor's clock."""
    if name not in results:
        return "-"
    records = results[name]["records"]
    return f"{rate(records):.0f} ({rate(records, 'cpu'):.0f})"


def versus(results: dict[str, Any], name: str) -> str:
    """How many times faster ours is."""
    if name not in results:
        return "-"
    ours, theirs = results["offrl"]["records"], results[name]["records"]
    return f"{ratio(ours, theirs):.2f} ({ratio(ours, theirs, 'cpu'):.2f})"


def report(content: dict[str, Any]) -> str:
    """The table."""
    rows = [
        [
            algo,
            *(cell(r, n) for n in ("offrl", "plain PyTorch", "d3rlpy")),
            *(versus(r, n) for n in ("plain PyTorch", "d3rlpy")),
        ]
        for algo, r in content["algos"].items()
    ]
    header = ["updates/s, wall (cpu)", "offrl", "plain PyTorch", "d3rlpy", "ours / plain", "ours / d3rlpy"]
    return table(header, rows)


def main() -> None:
    """Measure every algorithm, print the table, keep the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algos", nargs="+", default=ALGOS, choices=ALGOS)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="each contender in each round")
    parser.add_argument("--threads", type=int, default=1)
    add_peer_options(parser)
    args = parser.parse_args()
    d3rlpy = args.d3rlpy_python if present(args.d3rlpy_python, "d3rlpy") else None
    content: dict[str, Any] = {"machine": machine(), "threads": args.threads, "rows": args.rows, "algos": {}}
    for algo in args.algos:
        chosen = contenders(algo, args.rows, args.threads, d3rlpy)
        content["algos"][algo] = take_turns(chosen, args.rounds, args.seconds, args.threads)
        save(f"updates_{args.threads}_threads", content)
        print(report({"algos": {algo: content["algos"][algo]}}).splitlines()[-1], flush=True)
    print(report(content))


if __name__ == "__main__":
    main()
