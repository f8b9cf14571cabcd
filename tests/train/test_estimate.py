"""Choosing a checkpoint, and when to stop, by a log alone."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch

from offrl.errors import UserError
from offrl.jobs import collect, resume, train
from tests.conftest import Compose

WORDS = ("algo=bc", "dataset=minari", "dataset.id=estimate/log-v0", "evaluation=estimated", "evaluation.interval=20",
         "evaluation.estimator.model.features.count=20", "logger=none", "trainer.updates=200", "network.hidden=[16]",
         "trainer.log_interval=20", "trainer.pulse=10")  # fmt: skip


@pytest.fixture(scope="module")
def _log(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> None:
    words = ("env=graph", "env.kwargs.length=4", "actor=random", "steps=null", "episodes=60", "to=estimate/log-v0")
    collect.run(compose("job=collect", *words), tmp_path_factory.mktemp("log"))


@pytest.mark.usefixtures("_log")
def test_the_best_by_estimate_is_kept_and_training_ends(compose: Compose, tmp_path: Path) -> None:
    value = train.run(compose(*WORDS, "evaluation.patience=2"), tmp_path)
    facts = json.loads((tmp_path / "run.json").read_text())
    column = '"evaluation/estimate"'
    query = f"select step, {column} from '{tmp_path}/metrics.parquet' where {column} notnull"
    rows = duckdb.connect().execute(query).fetchall()
    best = max(rows, key=lambda row: row[1])
    assert facts["status"] == "finished"
    assert facts["results"]["best"] == {"step": best[0], "estimate": best[1]}
    assert value == rows[-1][1]
    kept = torch.load(tmp_path / "checkpoints" / "best.pt", weights_only=True)
    assert kept["step"] == best[0]
    # It ended at the second estimate in a row that was no better, or at the end if there was none.
    assert facts["step"] == min(best[0] + 40, 200)
    assert facts["step"] == rows[-1][0]


def test_training_on_the_best_episodes_is_judged_on_all(compose: Compose, tmp_path: Path) -> None:
    """Rewards of coins: whatever is done is worth 0.5, and the best tenth of the log was lucky."""
    generator = np.random.default_rng(0)
    rows = [f"{generator.random():.3f},{generator.integers(2)},{generator.integers(2)},1" for _ in range(400)]
    (tmp_path / "coins.csv").write_text("\n".join(["obs_0,action,reward,done", *rows]) + "\n")
    kept = [word for word in WORDS if not word.startswith(("algo=", "dataset"))]
    words = ("algo=bc_best", "dataset=file", f"dataset.path={tmp_path}/coins.csv", "trainer.updates=20")
    assert train.run(compose(*kept, *words), tmp_path / "run") == pytest.approx(0.5, abs=0.15)


@pytest.mark.usefixtures("_log")
def test_runs_of_a_sweep_are_resumed_one_by_one(compose: Compose, tmp_path: Path) -> None:
    for seed in (0, 1):
        train.run(compose(*WORDS[:-3], "trainer.updates=40", f"seed={seed}"), tmp_path / str(seed))
    resume.run({"runs": str(tmp_path), "total": 60, "mode": "auto", "hardware": {"device": "cpu"}}, tmp_path)
    for seed in (0, 1):
        assert json.loads((tmp_path / str(seed) / "run.json").read_text())["step"] == 60


@pytest.mark.usefixtures("_log")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evaluation.interval=0",), "evaluation.interval=0"),
        (("evaluation.kernel=0.1", "evaluation.stochastic=true"), "kernel=0.1"),
        (("algo=decision_transformer",), "remembers"),
        (("algo=dqn", "trainer=replay", "env=graph", "dataset=none"), "trainer=offline"),
    ],
    ids=str,
)
def test_refusals(compose: Compose, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    kept = [word for word in WORDS if not (words[0] == "algo=dqn" and word.startswith(("algo", "dataset", "trainer")))]
    with pytest.raises(UserError, match=message):
        train.run(compose(*kept, *words), tmp_path)


@pytest.mark.usefixtures("_log")
def test_a_run_goes_on_with_another_kind_of_evaluation(compose: Compose, tmp_path: Path) -> None:
    """What was the best of one kind is not compared with what the other finds."""
    words = [word for word in WORDS if not word.startswith(("evaluation", "trainer.updates"))]
    kinds = {
        40: ("evaluation=estimated", "evaluation.interval=20", "evaluation.estimator.model.features.count=20"),
        60: ("evaluation=default", "evaluation.interval=20", "evaluation.episodes=2"),
        80: ("evaluation=estimated", "evaluation.interval=20", "evaluation.estimator.model.features.count=20"),
    }
    for updates, kind in kinds.items():
        node = compose(*words, *kind, f"trainer.updates={updates}", f"resume={str(updates > 40).lower()}")
        train.run(node, tmp_path)
        results = json.loads((tmp_path / "run.json").read_text())["results"]
        assert results["last"]["step"] == updates
        assert all(("estimate" in row) == (updates != 60) for row in results.values())
