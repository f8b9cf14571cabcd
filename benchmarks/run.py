"""Every table of speed in one command: `make bench`, or

    python benchmarks/run.py                         ours, the plain implementations, and what peers are found
    python benchmarks/run.py --install-peers         first make .venv-bench/d3rlpy, .venv-bench/sb3 and .venv-bench/jax
    python benchmarks/run.py --only updates loading  some of the tables
    python benchmarks/run.py --quick                 a few minutes, for a look, of which nothing is kept

It takes less than 40 minutes on two cores, which should have nothing else to do, and ends by putting the figures into
docs/benchmarks.md. Peers' Pythons can also be given (`--d3rlpy-python`, …, or OFFRL_BENCH_D3RLPY, OFFRL_BENCH_SB3,
OFFRL_BENCH_JAX); those that are missing are skipped, and it says so. Learning takes hours and is a command of its own:
`benchmarks/learning.py`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.harness import VENVS, add_peer_options, environment  # noqa: E402 - needs the line above

# gymnasium-robotics 1.3 and later want a newer gymnasium than d3rlpy, and gymnasium 1.0 an older mujoco.
PEERS = {
    "d3rlpy": ["torch==2.13.0", "d3rlpy==2.8.1", "mujoco==3.2.7", "gymnasium-robotics<1.3", "h5py"],
    "sb3": ["torch==2.13.0", "stable-baselines3==2.9.2", "gymnasium[mujoco,classic-control]==1.4.0"],
    "jax": ["jax[cpu]==0.10.2", "optax==0.2.8"],
}
# Module, its options, those of a quick look, and whether it wants to know where the peers are.
TABLES: tuple[tuple[str, tuple[str, ...], tuple[str, ...], bool], ...] = (
    ("updates", ("--threads", "1"), ("--rounds", "1", "--seconds", "1"), True),
    ("updates", ("--threads", "2"), ("--rounds", "1", "--seconds", "1"), True),
    ("compiled", ("--algos", "iql", "sac", "cql", "dqn"), ("--algos", "dqn", "--rounds", "1"), False),
    ("env_steps", (), ("--rounds", "1", "--seconds", "2"), True),
    ("sampling", (), ("--rounds", "1"), True),
    ("loading", (), ("--rounds", "1"), False),
    ("start_up", (), ("--rounds", "1"), True),
    ("stacked_updates", (), ("--rounds", "1"), False),
    ("stacked_steps", (), ("--steps", "200"), False),
    ("stacked", ("--rounds", "1"), ("--rounds", "1", "--length", "500"), False),
)


def install(peer: str) -> None:
    """A virtual environment of the peer's own; where it cannot be made, the peer is left out."""
    folder = VENVS / peer
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *PEERS[peer]], check=True)
    except subprocess.CalledProcessError as error:
        print(f"skipped {peer}: it cannot be installed ({error})", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Run the tables one after the other; 0 if all went well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install-peers", action="store_true", help="make virtual environments for those missing")
    parser.add_argument("--quick", action="store_true", help="fewer, shorter rounds; nothing is kept")
    parser.add_argument("--only", nargs="+", choices=sorted({table[0] for table in TABLES}), help="these tables alone")
    add_peer_options(parser)
    args = parser.parse_args()
    for peer in PEERS if args.install_peers else ():
        if not getattr(args, f"{peer}_python").exists():
            install(peer)
    peers = [word for peer in PEERS for word in (f"--{peer}-python", str(getattr(args, f"{peer}_python")))]
    codes: list[int] = []
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        surroundings = environment(1) | ({"OFFRL_BENCH_RESULTS": scratch} if args.quick else {})
        for module, options, quick, asks in TABLES:
            if args.only and module not in args.only:
                continue
            print(f"\n## {module} {' '.join(options)}", flush=True)
            words = [*options, *(quick if args.quick else ()), *(peers if asks else ())]
            command = [sys.executable, "-m", f"benchmarks.{module}", *words]
            codes.append(subprocess.run(command, cwd=ROOT, env=surroundings, check=False).returncode)
            print(f"({(time.monotonic() - begin) / 60:.1f} minutes so far)", flush=True)
    if not args.quick:
        codes.append(subprocess.run([sys.executable, "-m", "benchmarks.page"], cwd=ROOT, check=False).returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
