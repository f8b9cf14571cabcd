"""Methods that solve, on logs of real environments: seconds, and no step size to tune.

Random actions earn 22 on CartPole, the most is 500. `docs/algorithms/linear.md` has the figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from offrl.build import build
from tests.train import kit

pytestmark = pytest.mark.slow

ROUNDS = (*kit.ROUNDS, "seed=0", "algo.batch_size=8192", "evaluation.episodes=20", "evaluation.num_envs=10")


def solved(folder: Path, steps: int, *overrides: str) -> Any:
    """The finished run, on so many steps of uniform actions."""
    node = kit.config(*ROUNDS, *overrides)
    return kit.run(folder, node, steps=kit.random_data(build(node["env"]), steps))


@pytest.mark.parametrize(("name", "rounds"), [("lspi", 12), ("lstdq", 1)])
def test_cartpole_from_random_actions(name: str, rounds: int, tmp_path: Path) -> None:
    """Measured 313 (lspi) and 357 (lstdq: a single step of policy improvement), 483 and 458 at an earlier time. With a
    wrong next action lspi earns 11; lstdq still 304, so its own tests against closed forms tell that apart.
    """
    words = (
        f"algo={name}",
        "env=cartpole",
        "features=polynomial",
        f"trainer.updates={rounds}",
        "evaluation.interval=12",
    )
    assert solved(tmp_path, 20_000, *words).progress.last["return"] > 250


@pytest.mark.parametrize("name", ["lstd", "least_squares_model"])
def test_boyan_chain_is_valued_from_its_log(name: str, tmp_path: Path) -> None:
    """−2 n, n steps from the end: exact up to the luck of 5000 steps."""
    words = (f"algo={name}", "env=boyan_chain", "features=identity", "algo.discount=1", "trainer.updates=1")
    weights = solved(tmp_path, 5_000, *words, "evaluation.episodes=0").algo.learned.weights
    assert weights.tolist() == pytest.approx([-24.0, -16.0, -8.0, 0.0], abs=0.5)
