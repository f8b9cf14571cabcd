"""What equal experience teaches: final returns of ours beside Stable-Baselines3 (online) and d3rlpy (offline).

Online the same number of environment steps, offline the same data and number of updates; the last evaluation of
deterministic episodes counts, in the environment's own reward, for every seed. The long tasks, everyone at its own
defaults, take hours; the small ones, at equal settings, a minute each. Runs that are finished are not repeated, so it
can be stopped and called again. `benchmarks/tasks.py` has the tasks.

    python -m benchmarks.learning --tasks sac_hopper --seeds 0 1 2
    python -m benchmarks.learning --tasks iql_offline bc_offline --dataset hopper/medium-replay --updates 100000
    python -m benchmarks.learning --tasks small --seeds 0 --name learning_small
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.harness import RESULTS, ROOT, add_peer_options, environment, machine, present, save, table
from benchmarks.tasks import TASKS, Task

RUNS = ROOT / "runs" / "benchmark"
PEERS = RESULTS / "learning"  # the peers' own records, one file a task


def label(name: str, task: Task, args: argparse.Namespace) -> str:
    """What its records are called."""
    return name if task.steps or task.log else f"{name}-{args.dataset.replace('/', '_')}-{args.updates}"


def data(task: Task, args: argparse.Namespace) -> Path:
    """The log of an offline task in a file, written where it is not yet there."""
    if not task.log:
        return export(args.dataset)
    path = PEERS / f"{task.log}.npz"
    if not path.exists():
        from benchmarks.logs import write

        write(task.log, path)
    return path


def run_ours(name: str, task: Task, seed: int, args: argparse.Namespace) -> float:
    """The last return of one run of ours."""
    length = f"trainer.steps={task.steps}" if task.steps else f"trainer.updates={task.updates or args.updates}"
    log = () if task.steps else (f"dataset={args.dataset}",)
    if task.log:
        log = (f"dataset={data(task, args)}", "dataset.obs_keys=null")  # its observations have no parts any more
    folder = RUNS / f"{label(name, task, args)}-s{seed}"
    record = folder / "run.json"
    if not record.exists() or json.loads(record.read_text())["status"] != "finished":
        again = (f"run={folder}", "resume=true") if record.exists() else (f"hydra.run.dir={folder}",)
        words = again if record.exists() else (*task.ours, *log, length, f"seed={seed}", "logger=none", *again)
        subprocess.run([sys.executable, "-m", "offrl", "train", *words], cwd=ROOT, env=environment(1), check=True)
    return json.loads(record.read_text())["results"]["last"]["return"]


def run_peer(name: str, task: Task, python: Path, args: argparse.Namespace) -> list[float]:
    """The last returns of the peer's seeds; a record that holds them all is taken as it is."""
    record = PEERS / f"{task.peer}_{label(name, task, args)}.json"
    wanted = set(args.seeds)
    if not record.exists() or not wanted <= {run["seed"] for run in json.loads(record.read_text())["runs"]}:
        PEERS.mkdir(parents=True, exist_ok=True)
        words = ["--algo", task.algo, "--env", task.env, "--episodes", str(task.episodes), "--out", str(record)]
        words += ["--seeds", *map(str, args.seeds), "--settings", json.dumps(task.settings)]
        words += ["--starts", *map(str, starts(task.episodes))]
        if task.steps:
            words += ["--steps", str(task.steps), "--interval", str(min(10_000, task.steps))]
        else:
            words += ["--updates", str(task.updates or args.updates), "--data", str(data(task, args))]
        module = f"benchmarks.peers.{task.peer}_learning"
        subprocess.run([str(python), "-m", module, *words], cwd=ROOT, env=environment(1), check=True)
    return [run["curve"][-1][1] for run in json.loads(record.read_text())["runs"] if run["seed"] in wanted]


def export(dataset: str) -> Path:
    """The dataset's arrays in a file that every NumPy reads."""
    import numpy as np

    steps = load(dataset).steps
    truncated = steps.truncated.copy()
    truncated[-1] = ~steps.terminated[-1]  # the last row ends an episode whatever the log says
    path = PEERS / f"{dataset.replace('/', '_')}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"obs": steps.obs, "action": steps.action, "reward": steps.reward}
    np.savez(path, **columns, terminated=steps.terminated, truncated=truncated)
    return path


def starts(episodes: int) -> list[int]:
    """Seeds of the episodes of our evaluation, each in an environment of its own."""
    import numpy as np

    from benchmarks.ours import composed
    from offrl.envs.block import MAX_SEED

    seed = composed(["algo=bc", "evaluation=default"])["evaluation"]["seed"]
    return [int(np.random.default_rng([seed, number]).integers(MAX_SEED)) for number in range(episodes)]


def data_returns(task: Task, args: argparse.Namespace) -> list[float] | None:
    """The mean return of the log that an offline task learns from."""
    if task.steps:
        return None
    if not task.log:
        return [mean(load(args.dataset).returns.tolist())]
    import numpy as np

    with np.load(data(task, args), allow_pickle=False) as log:
        over = log["terminated"] | log["truncated"]
        return [float(log["reward"].sum() / over.sum())]


def load(dataset: str) -> Any:
    """The dataset as our trainer gets it."""
    from benchmarks.ours import composed
    from offrl.build import build

    config = composed(["algo=bc", "env=hopper", f"dataset={dataset}"])
    return build(config["dataset"], "dataset").load((), 1.0, 1, "cpu")


def report(content: dict[str, Any]) -> str:
    """The table: medians, and each seed in brackets."""

    def cell(returns: list[float] | None) -> str:
        return "-" if not returns else f"{median(returns):.0f} ({', '.join(f'{x:.0f}' for x in sorted(returns))})"

    rows = [
        [name, f"{r['length']:,}", cell(r["offrl"]), cell(r["peer"]), r["against"], cell(r["data"])]
        for name, r in content["tasks"].items()
    ]
    return table(["final return: median (seeds)", "steps or updates", "offrl", "peer", "which", "mean of data"], rows)


def main() -> None:
    """Run what is missing, print the table, keep the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ["small", *TASKS]
    parser.add_argument("--tasks", nargs="+", default=["sac_hopper", "td3_hopper"], choices=known, metavar="TASK")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--dataset", default="hopper/medium-replay", help="of the offline tasks")
    parser.add_argument("--updates", type=int, default=100_000, help="of the offline tasks")
    parser.add_argument("--name", default="learning", help="of the record in benchmarks/results")
    add_peer_options(parser)
    args = parser.parse_args()
    pythons = {"sb3": args.sb3_python, "d3rlpy": args.d3rlpy_python}
    content: dict[str, Any] = {
        "machine": machine(),
        "seeds": args.seeds,
        "dataset": args.dataset,
        "tasks": {},
    }
    small = [name for name in TASKS if name.startswith("small_")]
    for name in small if args.tasks == ["small"] else args.tasks:
        task = TASKS[name]
        python = pythons[task.peer]
        comparable = bool(task.algo) and present(python, task.peer)
        content["tasks"][name] = {
            "length": task.steps or task.updates or args.updates,
            "data": data_returns(task, args),
            "against": f"{task.peer} {task.algo}" if task.algo else "-",
            "offrl": [run_ours(name, task, seed, args) for seed in args.seeds],
            "peer": run_peer(name, task, python, args) if comparable else None,
        }
        save(args.name, content)
    print(report(content))


if __name__ == "__main__":
    main()
