"""Weighted regression and its kin on a log of mixed quality: better than cloning it (C28).

Pendulum, 64 episodes of a controller with noise of eight sizes, which earn −621 on average; cloning them earns −649,
and so, about, does any of these whose weights say nothing. Settings stand in `benchmarks/tasks.py`, figures in
`docs/algorithms/figures.md`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.learning.kit import reached

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("awac", -400),  # measured −289
        ("awr", -350),  # −240
        ("bcq", -300),  # −179
        ("crr", -400),  # −182
        ("crr_indicator", -300),  # −177
        ("iql", -400),  # −287
        ("marwil_mc", -550),  # −398
        ("mpo", -300),  # −169
        ("return_weighted", -550),  # −409
        ("xql", -400),  # −288
    ],
)
def test_improves_on_a_mixed_log(name: str, least: float, tmp_path: Path) -> None:
    assert reached(name, tmp_path) > least


@pytest.mark.parametrize("name", ["decision_transformer_discrete", "iql_discrete"])
def test_balances_a_pole_from_a_log_half_of_random_actions(name: str, tmp_path: Path) -> None:
    """Measured 490 and 476; the log's own policy earns 189."""
    assert reached(name, tmp_path) > 350


def test_cloning_does_not(tmp_path: Path) -> None:
    assert reached("bc", tmp_path) < -550  # −649
