"""Offline learning on MuJoCo's Hopper and PointMaze, from logs of which cloning makes little (C28).

Settings stand in `benchmarks/tasks.py`, logs in `benchmarks/logs.py`, figures in `docs/algorithms/figures.md`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.logs import hops, wanderings
from offrl.data.steps import returns
from tests.learning.kit import reached

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("iql_hopper", 600),  # 997, and 1057 with another seed
        ("cql_hopper", 400),  # 795
    ],
)
def test_hops_as_the_best_of_the_log_do(name: str, least: float, tmp_path: Path) -> None:
    assert reached(name, tmp_path) > least


@pytest.mark.parametrize("name", ["iql_maze", "td3_bc_maze"])
def test_finds_the_way_that_nobody_took(name: str, tmp_path: Path) -> None:
    """From pieces of wanderings: 92 and 103, 99 and 97 with two seeds each."""
    assert reached(name, tmp_path) > 60


def test_the_logs_are_poor_and_cloning_them_is_too(tmp_path: Path) -> None:
    """70 and 232 with two seeds on Hopper, 0 and 12 in the maze."""
    assert returns(hops()).mean() < 100
    assert reached("bc_hopper", tmp_path / "hopper") < 350
    assert returns(wanderings()).mean() < 30
    assert reached("bc_maze", tmp_path / "maze") < 40
