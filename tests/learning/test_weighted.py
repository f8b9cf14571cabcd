"""Weighted regression and generative BCQ on a log of mixed quality: better than cloning it (C28).

Pendulum, 64 episodes of a controller with noise of eight sizes, which earn −621 on average; cloning them earns −649.
`docs/algorithms/weighted.md` has the figures.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.logs import swings
from tests.learning.test_actor_critic import OFFLINE, result

pytestmark = pytest.mark.slow

FAST = ("algo.lr=1e-3",)
CRITIC = (*FAST, "algo.target_rate=0.01", "algo.target_period=1")


@pytest.mark.parametrize(
    ("name", "overrides", "least"),
    [
        ("marwil_mc", (*FAST, "algo.temperature=2"), -550),  # measured −398
        ("awac", (*CRITIC, "algo.temperature=0.1"), -350),  # −254
        ("crr_indicator", CRITIC, -300),  # −156
    ],
)
def test_improves_on_a_mixed_log(name: str, overrides: tuple[str, ...], least: float, tmp_path: Path) -> None:
    assert result(tmp_path, f"algo={name}", *OFFLINE, *overrides, steps=swings()) > least
