"""What a GPU is for: the rates aimed at on one, measured on the one that is here, each with its verdict.

    python -m benchmarks.gpu                                       ten minutes; exit status 1 where an aim is missed
    python -m benchmarks.gpu --device cpu --runs 2 --length 300    whether this works at all, without a GPU

Everything is the default config of `hardware=gpu` (TF32 products), compiled. Updates are of Hopper's shapes: batches
of 256, two hidden layers of 256. A stack is measured by the whole command, `offrl train seeds=32`: two lengths of it,
whose difference is training alone, without compiling and libraries.

Where the aims come from: CORL's published IQL and TD3+BC do 68 and 112 updates a second on a GTX 1080 Ti, JAX-CORL's
1,850; LeanRL's SAC and TD3 do 725 and 936 environment steps a second of HalfCheetah with an H100 (its README). JAX is
measured here where its Python (`--jax-python`) sees the same card.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.comparison import OURS, number
from benchmarks.harness import (
    ROOT,
    Contender,
    add_peer_options,
    environment,
    machine,
    present,
    rate,
    ratio,
    save,
    table,
    take_turns,
)
from benchmarks.stacked import training
from benchmarks.synthetic import hopper_like

COUNT = 1_000_000  # transitions of noise
JAX = "JAX"
LEVEL = 0.8  # of JAX's rate on the same card
STACKED, TIMES = 50_000, 2.0  # updates of all runs a second; how much longer all of them may take than one


class Single(NamedTuple):
    """A run alone: how it is asked for, what it counts, how many a second are aimed at."""

    words: tuple[str, ...]
    unit: str
    aim: float
    jax: str = ""  # what JAX's worker calls it


SINGLES = {
    "IQL": Single(("algo=iql",), "updates", 4_000, "iql"),
    "TD3+BC": Single(("algo=td3_bc",), "updates", 4_000, "td3_bc"),
    "SAC, HalfCheetah": Single(("algo=sac", "env=halfcheetah", "env.num_envs=1", "trainer.warmup=100"), "steps", 725),
    "TD3, HalfCheetah": Single(("algo=td3", "env=halfcheetah", "env.num_envs=1", "trainer.warmup=100"), "steps", 936),
}


def hardware(device: str) -> tuple[str, ...]:
    """The words that choose it."""
    return (f"hardware={'gpu' if device == 'cuda' else 'cpu'}", "hardware.compile=true")


def singles(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Every run alone, beside JAX where that is there."""
    found: dict[str, dict[str, Any]] = {}
    with_jax = present(args.jax_python, "jax")
    for name, single in SINGLES.items():
        words = ("--count", str(COUNT), *single.words, *hardware(args.device))
        contenders = [Contender(OURS, Path(sys.executable), "benchmarks.ours", words)]
        if single.jax and with_jax:
            asked = ("--algo", single.jax, "--count", str(COUNT), "--platform", args.device)
            contenders.append(Contender(JAX, args.jax_python, "benchmarks.peers.jax_updates", asked))
        found[name] = take_turns(contenders, args.rounds, args.seconds, threads=1)
    return found


def stack(args: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Seconds of training of one run and of all runs: [of one length, of three times that]."""
    log = folder / "log.npz"
    arrays: dict[str, Any] = hopper_like(COUNT // 10)._asdict()
    np.savez(log, **arrays)
    seconds: dict[str, list[float]] = {}
    for runs in (1, args.runs):
        seconds[str(runs)] = []
        for length in (args.length, 3 * args.length):
            place = folder / f"{runs}-{length}"
            knobs = (f"trainer.{key}={length}" for key in ("updates", "log_interval", "checkpoint_interval"))
            words = ("algo=iql", f"dataset={log}", *knobs, *hardware(args.device), "evaluation=none", "logger=none")
            where = (f"seeds={runs}", f"hydra.sweep.dir={place}", f"hydra.run.dir={place}")
            command = [sys.executable, "-m", "offrl", "train", *words, *where]
            done = subprocess.run(command, cwd=ROOT, env=environment(1), capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-2000:])
            seconds[str(runs)].append(training(place, runs, runs))
    return seconds


def verdicts(content: Mapping[str, Any]) -> list[tuple[str, str, str, bool]]:
    """(what, what was aimed at, what was measured, whether that is enough)."""
    lines: list[tuple[str, str, str, bool]] = []
    for name, results in content["singles"].items():
        single, ours = SINGLES[name], results[OURS]["records"]
        here = rate(ours)
        lines.append((name, f"{single.aim:,.0f} {single.unit}/s", number(here), here >= single.aim))
        if JAX in results:
            share = ratio(ours, results[JAX]["records"])
            lines.append((f"{name} beside JAX", f"{LEVEL} of it", f"{share:.2f}", share >= LEVEL))
    one, all_ = (2 * content["length"] / (thrice - once) for once, thrice in content["stack"].values())
    runs, times = content["runs"], one / all_
    lines.append((f"IQL, {runs} runs as one", f"{STACKED:,} updates/s", number(runs * all_), runs * all_ >= STACKED))
    lines.append((f"IQL, {runs} runs for one", f"{TIMES} times as long", f"{times:.2f}", times <= TIMES))
    return lines


def markdown(content: Mapping[str, Any]) -> str:
    """The table."""
    rows = [[*line, "yes" if met else "no"] for *line, met in verdicts(content)]
    return table([content["device"], "aimed at", "measured", "reached"], rows)


def device_name(device: str) -> str:
    """What is measured. Exits where there is no GPU."""
    import torch

    if device == "cpu":
        return "no GPU: an exercise"
    if not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU here: this table needs one (--device cpu only shows that it works)")
    return torch.cuda.get_device_name()


def main() -> int:
    """Measure, print the table, keep the record if it is a GPU's; 0 if every aim is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="each contender in each round")
    parser.add_argument("--runs", type=int, default=32, help="in the stack")
    parser.add_argument("--length", type=int, default=20_000, help="updates of each of its runs, and three times that")
    add_peer_options(parser)
    args = parser.parse_args()
    content: dict[str, Any] = {"machine": machine(), "device": device_name(args.device)}
    content |= {"runs": args.runs, "length": args.length, "singles": singles(args)}
    with tempfile.TemporaryDirectory() as place:
        content["stack"] = stack(args, Path(place))
    if args.device == "cuda":
        save("gpu", content)
    print(markdown(content))
    return 0 if all(met for *_, met in verdicts(content)) else 1


if __name__ == "__main__":
    sys.exit(main())
