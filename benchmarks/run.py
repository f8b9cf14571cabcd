"""Every table of speed in one command: `make bench`, or

    python benchmarks/run.py                         ours and the plain PyTorch implementation, and what peers are found
    python benchmarks/run.py --install-peers         first make .venv-bench/d3rlpy and .venv-bench/sb3
    python benchmarks/run.py --quick                 a minute or two, for a look

Peers' Pythons can also be given (`--d3rlpy-python`, `--sb3-python`, or OFFRL_BENCH_D3RLPY, OFFRL_BENCH_SB3); those that
are missing are skipped, and it says so. Learning takes hours and is a command of its own: `benchmarks/learning.py`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.harness import VENVS, add_peer_options, environment  # noqa: E402 - needs the line above

# gymnasium-robotics 1.3 and later want a newer gymnasium than d3rlpy, and gymnasium 1.0 an older mujoco.
PEERS = {
    "d3rlpy": ["torch==2.13.0", "d3rlpy==2.8.1", "mujoco==3.2.7", "gymnasium-robotics<1.3", "h5py"],
    "sb3": ["torch==2.13.0", "stable-baselines3==2.9.2", "gymnasium[mujoco,classic-control]==1.4.0"],
}


def install(peer: str) -> None:
    """A virtual environment of the peer's own."""
    folder = VENVS / peer
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *PEERS[peer]], check=True)


def main() -> int:
    """Run the tables one after the other; 0 if all went well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install-peers", action="store_true", help="make virtual environments for those missing")
    parser.add_argument("--quick", action="store_true", help="fewer, shorter rounds")
    add_peer_options(parser)
    args = parser.parse_args()
    for peer in PEERS if args.install_peers else ():
        if not (VENVS / peer / "bin" / "python").exists():
            install(peer)
    effort = ["--rounds", "2", "--seconds", "3"] if args.quick else []
    peers = ["--d3rlpy-python", str(args.d3rlpy_python), "--sb3-python", str(args.sb3_python)]
    codes: list[int] = []
    for module, options in (
        ("updates", ["--threads", "1"]),
        ("updates", ["--threads", "2"]),
        ("env_steps", []),
    ):
        print(f"\n## {module} {' '.join(options)}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{module}", *options, *effort, *peers]
        codes.append(subprocess.run(command, cwd=ROOT, env=environment(1), check=False).returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
