"""The parents' half of a timed comparison: workers that take turns, medians, ratios, a described machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, cast

from benchmarks.worker import MARK

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(os.environ.get("OFFRL_BENCH_RESULTS", ROOT / "benchmarks" / "results"))
VENVS = ROOT / ".venv-bench"

Record = dict[str, float]  # done, wall, cpu


class WorkerFailed(RuntimeError):
    """A worker ended instead of answering."""


def environment(threads: int) -> dict[str, str]:
    """The caller's environment with every thread pool held to `threads`.

    Threads that wait for others of their pool do so awake for about a tenth of a millisecond, for anyone, as ours do by
    default on a machine with nothing else to do.
    """
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    more = {**dict.fromkeys(pools, str(threads)), "GOMP_SPINCOUNT": "10000", "PYTHONWARNINGS": "ignore"}
    return {**os.environ, **more}


class Worker:
    """A process that works while asked and sleeps otherwise (its other half is `worker.serve`)."""

    def __init__(self, python: Path, module: str, args: Sequence[str], threads: int) -> None:
        self.process = subprocess.Popen(
            [str(python), "-m", module, *args],
            cwd=ROOT,
            env=environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.versions: dict[str, str] = {}

    def ready(self) -> bool:
        """Wait until it has set itself up; False, and it says why, if it cannot."""
        try:
            self.versions = self.answer()["versions"]
        except WorkerFailed as failure:
            print(f"skipped: {failure}", file=sys.stderr)
            return False
        return True

    def answer(self) -> dict[str, Any]:
        """The next line that is meant for us."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        last = self.process.communicate()[1].strip().splitlines()[-1:]
        raise WorkerFailed(f"{' '.join(map(str, cast('list[object]', self.process.args)))}: {' '.join(last)}")

    def measure(self, seconds: float) -> Record:
        """Let it work for some seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        """End it by ending its input."""
        self.process.communicate()


@dataclass(frozen=True)
class Contender:
    """Someone who takes part: how to start the worker."""

    name: str
    python: Path
    module: str
    args: tuple[str, ...] = ()


def take_turns(contenders: Sequence[Contender], rounds: int, seconds: float, threads: int) -> dict[str, dict[str, Any]]:
    """`rounds` times each contender in turn, never two at once; name -> versions and its records. One that cannot
    start, unless it is the first, is left out.
    """
    started = {c.name: Worker(c.python, c.module, c.args, threads) for c in contenders}
    workers = {name: worker for name, worker in started.items() if worker.ready()}
    if contenders[0].name not in workers:
        raise SystemExit(f"{contenders[0].name} could not start")
    records: dict[str, list[Record]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            records[name].append(worker.measure(seconds))
    for worker in workers.values():
        worker.close()
    return {name: {"versions": workers[name].versions, "records": records[name]} for name in workers}


def rate(records: Iterable[Record], clock: str = "wall") -> float:
    """Median units of work per second of `clock` (wall or cpu)."""
    return median(r["done"] / r[clock] for r in records)


def ratio(ours: Sequence[Record], theirs: Sequence[Record], clock: str = "wall") -> float:
    """Median over rounds of how many times faster ours was in the same round."""
    pairs = zip(ours, theirs, strict=True)
    return median((a["done"] / a[clock]) / (b["done"] / b[clock]) for a, b in pairs)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "measured": datetime.now(UTC).date().isoformat(),
    }


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; numbers right-aligned."""
    lines = [" | ".join(header), " | ".join(["---", *["---:"] * (len(header) - 1)])]
    lines += [" | ".join(map(str, row)) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def save(name: str, content: dict[str, Any]) -> Path:
    """Write one benchmark's record aside and rename it."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(aside, path)
    return path


def add_peer_options(parser: argparse.ArgumentParser) -> None:
    """`--d3rlpy-python`, `--sb3-python`, `--jax-python`: where the competitors live."""
    for peer in ("d3rlpy", "sb3", "jax"):
        default = os.environ.get(f"OFFRL_BENCH_{peer.upper()}", VENVS / peer / "bin" / "python")
        parser.add_argument(f"--{peer}-python", type=Path, default=Path(default), help=f"Python that has {peer}")


def present(python: Path, peer: str) -> bool:
    """Whether a competitor's Python exists; says so if it does not."""
    if python.exists():
        return True
    print(
        f"skipped {peer}: no {python} (make it with `python benchmarks/run.py --install-peers`)",
        file=sys.stderr,
    )
    return False
