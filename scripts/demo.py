"""From an empty disk to an answer: record data, clone it, improve on it, and look at the curves.

    python scripts/demo.py [--seeds 0 1 2] [--out runs/demo]

Each step is a command of the `offrl` program, printed before it runs, so that it can be tried alone. Recorded is a
scripted traveller that wanders half-blind through a PointMaze (MuJoCo); behaviour cloning learns to wander, implicit
Q-learning learns to go straight to the goal.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import matplotlib as mpl
import numpy as np
from omegaconf import DictConfig, OmegaConf

from offrl.data.minari import read
from offrl.data.steps import returns
from offrl.log.metrics import read_metrics

mpl.use("Agg")
from matplotlib import pyplot as plt

DATASET = "pointmaze/umaze-demo-v0"
LABELS = {"BC": "behaviour cloning", "IQL": "implicit Q-learning"}
COLOURS = {"BC": "#E69F00", "IQL": "#0072B2"}  # Okabe and Ito's, distinct for every eye


def offrl(*words: str) -> None:
    """Run one command of the program, and stop here if it fails."""
    print("\n$ offrl " + " ".join(words), flush=True)
    done = subprocess.run([sys.executable, "-m", "offrl", *words], check=False)
    if done.returncode:
        sys.exit(f"demo: this command failed with exit code {done.returncode}; its message is above")


def runs_of(algo: str, folder: Path) -> list[Path]:
    """The run folders of one algorithm, by the last word of its `_target_`."""
    configs = sorted(folder.glob("*/config.yaml"))
    targets = [cast(DictConfig, OmegaConf.load(path)).algo._target_ for path in configs]
    return [path.parent for path, target in zip(configs, targets, strict=True) if target.endswith(f".{algo}")]


def curves(runs: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Steps [n] and returns [runs, n] of the evaluations."""
    rows = [read_metrics(run / "metrics.parquet") for run in runs]
    evaluated = [~np.isnan(row["evaluation/return"]) for row in rows]
    steps = rows[0]["step"][evaluated[0]]
    return steps, np.stack([row["evaluation/return"][seen] for row, seen in zip(rows, evaluated, strict=True)])


def final(runs: list[Path], key: str) -> np.ndarray:
    """The last evaluation of each run."""
    return np.array([json.loads((run / "run.json").read_text())["results"]["last"][key] for run in runs])


def table(runs: dict[str, list[Path]], data_return: float) -> str:
    """Last evaluation of each algorithm over the seeds, as text."""
    lines = [f"{'':22}{'return':>8}  {'over the seeds':>16}{'success':>10}"]
    lines.append(f"{'the data':22}{data_return:8.1f}")
    for algo, folders in runs.items():
        earned, success = final(folders, "return"), final(folders, "success")
        spread = f"{earned.min():.1f} to {earned.max():.1f}"
        lines.append(f"{LABELS[algo]:22}{earned.mean():8.1f}  {spread:>16}{success.mean():10.0%}")
    return "\n".join(lines)


def draw(runs: dict[str, list[Path]], data_return: float, path: Path) -> None:
    """Evaluated return over training: mean over seeds, with the range between the worst and the best."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for algo, folders in runs.items():
        steps, values = curves(folders)
        axes.plot(steps, values.mean(0), color=COLOURS[algo], linewidth=2, label=LABELS[algo])
        axes.fill_between(steps, values.min(0), values.max(0), color=COLOURS[algo], alpha=0.2, linewidth=0)
    axes.axhline(data_return, color="black", linestyle="--", linewidth=1, label="mean return of the data")
    seeds = len(next(iter(runs.values())))
    axes.set(xlabel="updates", ylabel="return (20 episodes)", ylim=(0, None))
    axes.set_title(f"PointMaze, from 50,000 recorded steps ({seeds} seeds: mean and range)")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Record, check, train, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--updates", type=int, default=5000, help="of each run")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    args = parser.parse_args()
    start = time.monotonic()
    folder: Path = args.out / time.strftime("%Y-%m-%d_%H-%M-%S")
    offrl(
        "collect",
        "env=pointmaze_umaze",
        "actor=scripted",
        "noise=0.3",
        "steps=50000",
        f"to={DATASET}",
        "overwrite=true",
    )
    offrl("dataset", "check", DATASET)
    offrl(
        *("train", "-m", "experiment=demo", "algo=bc,iql_maze", f"seed={','.join(map(str, args.seeds))}"),
        *(f"trainer.updates={args.updates}", f"hydra.sweep.dir={folder}"),
    )
    runs = {algo: runs_of(algo, folder) for algo in LABELS}
    data_return = float(returns(read(DATASET).steps).mean())
    draw(runs, data_return, folder / "demo.png")
    print(f"\n{table(runs, data_return)}\n")
    print(f"curves: {folder / 'demo.png'}; a plot of each run: {folder}/*/plots/")
    print(f"minutes: {(time.monotonic() - start) / 60:.1f}")
    worst, best = final(runs["IQL"], "return").min(), final(runs["BC"], "return").max()
    print(f"every seed of implicit Q-learning beats every seed of cloning: {'yes' if worst > best else 'no'}")


if __name__ == "__main__":
    main()
