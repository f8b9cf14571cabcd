"""The actor-critic family on real environments: small networks, one seed each, thresholds that broken versions miss.

Pendulum: doing nothing of use costs about −1200 an episode, swinging up and holding about −150.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.logs import swings
from offrl.data.steps import returns
from offrl.types import Steps
from tests.train.kit import config, run

pytestmark = pytest.mark.slow

SMALL = ("network.hidden=[64,64]", "algo.batch_size=128", "evaluation.interval=100000", "evaluation.episodes=20",
         "evaluation.num_envs=20", "trainer.checkpoint_interval=100000", "trainer.log_interval=500",
         "trainer.pulse=500")  # fmt: skip
FAST = ("algo.lr=1e-3", "algo.target_rate=0.02", "algo.discount=0.95")  # a swing is over in a second or two
SOFT = (*FAST, "algo.actor_lr=1e-3")
CONSERVATIVE = (*SOFT, "algo.penalty_actions=3", "algo.conservative_weight=1")
ONLINE = ("env=pendulum", *SMALL, "trainer.steps=4000", "trainer.warmup=500", "trainer.capacity=10000")
OFFLINE = ("env=pendulum", *SMALL, "trainer=offline", "trainer.updates=3000")


def result(folder: Path, *overrides: str, steps: Steps | None = None) -> float:
    """The mean return of the last evaluation."""
    return run(folder, config(*overrides), steps=steps).progress.last["return"]


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("ddpg", FAST),
        ("sac_fixed", SOFT),
        ("sac_no_entropy", SOFT),
        ("redq", (*SOFT, "algo.critics=4", "algo.policy_delay=2", "trainer.updates_per_step=2", "trainer.steps=2500")),
    ],
)
def test_swings_up(name: str, overrides: tuple[str, ...], tmp_path: Path) -> None:
    assert result(tmp_path, f"algo={name}", *ONLINE, *overrides) > -300


def test_discrete_sac_balances_a_pole(tmp_path: Path) -> None:
    """Random actions balance it for about 20 steps."""
    small = (
        "env=cartpole",
        *SMALL,
        *SOFT,
        "algo.discount=0.99",
        "trainer.steps=8000",
        "trainer.warmup=500",
        "trainer.capacity=10000",
    )
    assert result(tmp_path, "algo=sac_discrete", "policy=categorical", *small) > 100


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("sac_n", (*SOFT, "algo.critics=4")),
        ("edac", (*SOFT, "algo.critics=4")),
        ("rebrac", FAST),
        ("cql", CONSERVATIVE),
        ("cql_squared", CONSERVATIVE),
    ],
)
def test_offline_beats_the_data(name: str, overrides: tuple[str, ...], tmp_path: Path) -> None:
    """[C28] The data are those of a controller that shakes, and the best policy does not."""
    steps = swings()
    assert returns(steps).mean() < -500
    assert result(tmp_path, f"algo={name}", *OFFLINE, *overrides, steps=steps) > -450


def test_offline_ddpg_fails_where_regularised_learners_do_not(tmp_path: Path) -> None:
    """On data of a controller that hardly errs its critic overrates what nobody tried, and the policy goes there."""
    steps = swings((0.3,) * 8)
    assert returns(steps).mean() > -250
    assert result(tmp_path / "naive", "algo=ddpg_offline", *OFFLINE, *FAST, steps=steps) < -800
    assert result(tmp_path / "held", "algo=rebrac", *OFFLINE, *FAST, "algo.actor_cloning=1.0", steps=steps) > -300


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("rlpd", (*SOFT, "algo.critics=4", "algo.policy_delay=2", "trainer.updates_per_step=2", "trainer.steps=1500")),
        ("cal_ql", (*CONSERVATIVE, "trainer.updates=1500", "trainer.steps=1000")),
    ],
)
def test_prior_data_shorten_the_way(name: str, overrides: tuple[str, ...], tmp_path: Path) -> None:
    online = ("env=pendulum", *SMALL, "trainer.warmup=200", "trainer.capacity=10000")
    assert result(tmp_path, f"algo={name}", *online, *overrides, steps=swings()) > -450
