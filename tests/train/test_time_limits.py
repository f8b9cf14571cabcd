"""A truncated episode is worth what would have come; a terminated one is worth nothing more. For every trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.kit import config, run

DISCOUNT = 0.8
TRUNCATED = 1.0 / (1.0 - DISCOUNT)  # 1 a step for ever: both states alike
REST = [sum(DISCOUNT**k for k in range(left)) for left in (2, 1)]  # of an episode that terminates after two steps

COMMON = ("env=toy_two_state", "algo.discount=0.8", "algo.lr=0.01", "evaluation=none", "algo.batch_size=32",
          "trainer.log_interval=1000", "trainer.checkpoint_interval=10000", "trainer.pulse=1000")  # fmt: skip
DQN = ("algo=dqn", "algo.target_rate=0.1", "algo.epsilon_end=1.0", *COMMON)
ONLINE = ("trainer.capacity=2000", "trainer.warmup=100")
RUNS = {
    "offline": (*DQN, "trainer=offline", "trainer.updates=600"),
    "offline, n-step": (*DQN, "trainer=offline", "trainer.updates=600", "trainer.n_step=3"),
    "replay": (*DQN, *ONLINE, "trainer.steps=700"),
    "replay, n-step": (*DQN, *ONLINE, "trainer.steps=700", "trainer.n_step=3", "env.num_envs=3"),
    "offline_to_online": (*DQN, *ONLINE, "trainer=offline_to_online", "trainer.updates=300", "trainer.steps=400"),
    "rollout": ("algo=ppo", "policy=categorical", *COMMON, "trainer.steps=6000", "algo.horizon=50", "env.num_envs=2",
                "algo.trace=0.9", "trainer.reward_scaling=false", "network=mlp_tanh"),
}  # fmt: skip


def values(algo: Any) -> list[float]:
    """What the algorithm takes the two states to be worth."""
    states = torch.eye(2)
    with torch.no_grad():
        critic = getattr(algo, "critic", None)
        worth = critic(states).amax(1) if critic is not None else algo.model.network.value(states)
    return worth.tolist()


@pytest.mark.parametrize("name", RUNS)
def test_truncation_bootstraps(name: str, tmp_path: Path) -> None:
    assert values(run(tmp_path, config(*RUNS[name])).algo) == pytest.approx([TRUNCATED] * 2, rel=0.06)


@pytest.mark.parametrize("name", RUNS)
def test_termination_does_not(name: str, tmp_path: Path) -> None:
    node = config(*RUNS[name], "+env.kwargs.ends_after=2")
    assert values(run(tmp_path, node).algo) == pytest.approx(REST, rel=0.06)
