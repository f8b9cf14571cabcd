"""Estimates of off-policy evaluation beside SCOPE-RL's and OBP's, of the same log.

    python -m benchmarks.estimates --peers-python PEERS/bin/python     # asks them, and writes results/estimates.json

Both take episodes of one length only, so the log has those. How to make the environment stands in README.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from offrl.ope.doubly_robust import Direct, DoublyRobust, SwitchDoublyRobust, WeightedDoublyRobust
from offrl.ope.estimator import Estimator
from offrl.ope.evidence import Evidence
from offrl.ope.importance import ImportanceSampling, PerDecision, WeightedImportanceSampling, WeightedPerDecision
from offrl.ope.tabular import MaximumLikelihood

MODEL = MaximumLikelihood(stationary=False, max_states=1, skip_last=False)  # not asked: the log has its values
SEQUENTIAL: dict[str, Estimator] = {
    "is": ImportanceSampling(),
    "pdis": PerDecision(),
    "dr": DoublyRobust(model=MODEL),
    "wis": WeightedImportanceSampling(),
    "wpdis": WeightedPerDecision(),
    "wdr": WeightedDoublyRobust(model=MODEL),
    "direct": Direct(model=MODEL),
}
BANDIT: dict[str, Estimator] = {
    "is": ImportanceSampling(),
    "wis": WeightedImportanceSampling(),
    "direct": Direct(model=MODEL),
    "dr": DoublyRobust(model=MODEL),
    "switch_dr": SwitchDoublyRobust(model=MODEL, threshold=1.5),
}
RESULTS = Path(__file__).parent / "results" / "estimates.json"
Log = dict[str, NDArray[Any]]


def log(episodes: int = 200, steps: int = 5, choices: int = 3) -> Log:
    """Arbitrary policies, rewards and values, the same each time."""
    generator = np.random.default_rng(0)
    behaviour, target = (generator.dirichlet(np.full(choices, 3.0), (episodes, steps)) for _ in range(2))
    action = (generator.random((episodes, steps, 1)) > behaviour.cumsum(-1)).sum(-1).clip(max=choices - 1)
    return {
        "action": action,
        "reward": generator.normal(size=(episodes, steps)),
        "chance": np.take_along_axis(behaviour, action[..., None], -1)[..., 0],
        "target": target,
        "q": generator.normal(size=(episodes, steps, choices)),
        "discount": np.array(0.9),
    }


def evidence(log: Log, steps: int) -> Evidence:
    """The first `steps` of each episode."""
    ratio, q = (np.take_along_axis(log[name], log["action"][..., None], -1)[..., 0] for name in ("target", "q"))
    v = np.concatenate([(log["target"] * log["q"]).sum(-1)[:, :steps], np.zeros((len(q), 1))], axis=1)
    log_ratio = np.log(ratio / log["chance"])[:, :steps]
    mask = np.ones_like(log_ratio, np.bool_)
    return Evidence(log["reward"][:, :steps], log_ratio, mask, float(log["discount"])).with_values(q[:, :steps], v)


def ours() -> dict[str, dict[str, float]]:
    """The estimates that the peers are asked for: SCOPE-RL of whole episodes, OBP of their first steps."""
    whole, first = evidence(log(), 5), evidence(log(), 1)
    return {
        "scope-rl": {name: float(one(whole, whole.ones)[0]) for name, one in SEQUENTIAL.items()},
        "obp": {name: float(one(first, first.ones)[0]) for name, one in BANDIT.items()},
    }


def main() -> None:
    """Ask, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers-python", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.npz"
        np.savez(path, **cast(Any, log()))
        command = [args.peers_python, Path(__file__).parent / "peers" / "ope_estimates.py", path]
        theirs = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print("| library | estimator | theirs | ours | difference |\n|---|---|---|---|---|")
    for library, mine in ours().items():
        for name, value in mine.items():
            other = theirs[library][name]
            print(f"| {library} | {name} | {other:.9f} | {value:.9f} | {abs(value - other):.1e} |")
    RESULTS.write_text(json.dumps(theirs, indent=1) + "\n")


if __name__ == "__main__":
    main()
