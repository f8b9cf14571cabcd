"""What is said of the experience in rollouts."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from offrl.algos.policy_gradient.episodes import FromEpisodes
from offrl.types import Batch, Rollout
from tests.train import kit


@pytest.mark.parametrize("horizon", [12, 500])
def test_returns_are_those_of_the_episodes_that_are_learned_from(
    horizon: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither those that other environments begin while the longest goes on, nor without those that are cut."""
    learned: list[Batch] = []
    prepare = FromEpisodes.prepare

    def noted(algo: FromEpisodes, rollout: Rollout) -> Batch:
        learned.append(prepare(algo, rollout))
        return learned[-1]

    monkeypatch.setattr(FromEpisodes, "prepare", noted)
    words = ("trainer.steps=1", "env.num_envs=6", "evaluation.episodes=0", f"algo.horizon={horizon}")
    kit.run(tmp_path, kit.config(*kit.RUNS["whole episodes"], *words))
    (rows,) = learned
    metrics = pq.read_table(tmp_path / "metrics.parquet").to_pydict()
    assert metrics["train/return"] == [pytest.approx(rows.reward.sum(1).mean().item())]
    assert metrics["train/length"] == [pytest.approx(rows.mask.sum(1).float().mean().item())]
    lengths = rows.mask.sum(1)
    assert lengths.min() < lengths.max()  # or there would be no second episodes
