"""A table of contenders: each row a piece of work that all of them do in turns, the record kept, Markdown made of it.

A record is `{"machine": …, "threads": …, "rows": {row: {contender: {"versions": …, "records": […]}}}}`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Contender, add_peer_options, machine, present, rate, ratio, save, table, take_turns

OURS, COMPILED, FLOOR = "offrl", "offrl, compiled", "products"


def arguments(doc: str | None, rows: Sequence[str], rounds: int, seconds: float) -> argparse.ArgumentParser:
    """What every such table can be told."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=list(rows), choices=list(rows), help="of the table")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seconds", type=float, default=seconds, help="each contender in each round")
    add_peer_options(parser)
    return parser


def pythons(args: argparse.Namespace, *wanted: str) -> dict[str, Path]:
    """The Pythons of the peers that are there; it says which are not."""
    given: dict[str, Path] = {peer: getattr(args, f"{peer}_python") for peer in wanted}
    return {peer: python for peer, python in given.items() if present(python, peer)}


def compare(
    name: str,
    chosen: Sequence[str],
    contenders: Callable[[str], Sequence[Contender]],
    args: argparse.Namespace,
    threads: int,
) -> None:
    """Measure row after row, keep the record after each, print the table."""
    content: dict[str, Any] = {"machine": machine(), "threads": threads, "rows": {}}
    for row in chosen:
        content["rows"][row] = take_turns(contenders(row), args.rounds, args.seconds, threads)
        save(name, content)
        print(markdown({"rows": {row: content["rows"][row]}}).splitlines()[-1], flush=True)
    print(markdown(content))


def markdown(content: Mapping[str, Any], what: str = "per second") -> str:
    """Rates by the wall clock and, in brackets, by the processor's; then how many times faster ours is, as written and,
    where that takes part, compiled.

    Where a row has the contender `products`, its rate is that of the update's matrix products alone, and the last
    column says which share of it ours reaches, by the processor's clock.
    """
    rows: Mapping[str, Mapping[str, Any]] = content["rows"]
    names = list(dict.fromkeys(name for results in rows.values() for name in results))
    others = [name for name in names if name not in (OURS, FLOOR)]
    rivals = [name for name in others if name != COMPILED]
    header = [what, OURS, *others, *(f"{OURS} / {name}" for name in rivals)]
    floor = FLOOR in names
    header += ["products alone", "share of it"] if floor else []
    lines: list[list[str]] = []
    for row, results in rows.items():
        line = [row, cell(results, OURS), *(cell(results, name) for name in others)]
        line += [versus(results, name) for name in rivals]
        lines.append(line + ([cell(results, FLOOR), share(results)] if floor else []))
    return table(header, lines)


def cell(results: Mapping[str, Any], name: str) -> str:
    """A contender's rates."""
    if name not in results:
        return "-"
    records = results[name]["records"]
    return f"{number(rate(records))} ({number(rate(records, 'cpu'))})"


def versus(results: Mapping[str, Any], name: str) -> str:
    """How many times faster ours is."""
    if name not in results:
        return "-"
    ours, theirs = results[OURS]["records"], results[name]["records"]
    text = f"{ratio(ours, theirs):.2f} ({ratio(ours, theirs, 'cpu'):.2f})"
    return text + (f", compiled {ratio(results[COMPILED]['records'], theirs):.2f}" if COMPILED in results else "")


def share(results: Mapping[str, Any]) -> str:
    """Of what the matrix products alone would allow."""
    if FLOOR not in results:
        return "-"
    floor = results[FLOOR]["records"]
    text = f"{ratio(results[OURS]['records'], floor, 'cpu'):.0%}"
    return text + (f", compiled {ratio(results[COMPILED]['records'], floor, 'cpu'):.0%}" if COMPILED in results else "")


def number(value: float) -> str:
    """Three digits at least, thousands set apart."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
