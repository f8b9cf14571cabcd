"""What SCOPE-RL and the Open Bandit Pipeline (OBP) say of a log: `python ope_estimates.py LOG.npz` prints JSON.

The log is `benchmarks/estimates.py`'s: action, reward, chance of the logged action [N, T], the target's chances and a
model's Q of all actions [N, T, K], and the discount.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version

import numpy as np
from obp import ope as bandit
from scope_rl.ope import discrete as scope

SCOPE = {
    "is": scope.TrajectoryWiseImportanceSampling,
    "pdis": scope.PerDecisionImportanceSampling,
    "dr": scope.DoublyRobust,
    "wis": scope.SelfNormalizedTIS,
    "wpdis": scope.SelfNormalizedPDIS,
    "wdr": scope.SelfNormalizedDR,
    "direct": scope.DirectMethod,
}
OBP = {
    "is": bandit.InverseProbabilityWeighting(),
    "wis": bandit.SelfNormalizedInverseProbabilityWeighting(),
    "direct": bandit.DirectMethod(),
    "dr": bandit.DoublyRobust(),
    "switch_dr": bandit.SwitchDoublyRobust(tau=1.5),
}


def main() -> None:
    """All estimates of both."""
    log = dict(np.load(sys.argv[1]))
    steps, choices = log["target"].shape[1:]
    whole = {
        "step_per_trajectory": steps,
        "action": log["action"].ravel(),
        "reward": log["reward"].ravel(),
        "pscore": log["chance"].ravel(),
        "evaluation_policy_action_dist": log["target"].reshape(-1, choices),
        "state_action_value_prediction": log["q"].reshape(-1, choices),
        "gamma": float(log["discount"]),
    }
    first = {
        "action": log["action"][:, 0],
        "reward": log["reward"][:, 0],
        "pscore": log["chance"][:, 0],
        "action_dist": log["target"][:, 0, :, None],
        "estimated_rewards_by_reg_model": log["q"][:, 0, :, None],
        "position": np.zeros(len(log["action"]), int),
    }
    found = {
        "scope-rl": {name: float(estimator().estimate_policy_value(**whole)) for name, estimator in SCOPE.items()},
        "obp": {name: float(estimator.estimate_policy_value(**first)) for name, estimator in OBP.items()},
        "versions": {name: version(name) for name in ("scope-rl", "obp")},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
