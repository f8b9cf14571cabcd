"""`offrl ope` from a trained run and a recorded log to its report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from offrl.errors import UserError
from offrl.jobs import collect, dataset, ope, train
from tests.conftest import Compose

QUICK = ("job=ope", "dataset=minari", "dataset.id=ope/log-v0", "behaviour.updates=20", "folds=2", "seed=1")
TWO = ("estimator=[wis,fqe]", "value_model.features.count=30")


@pytest.fixture(scope="module")
def trained(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run, and a log of its policy."""
    folder = tmp_path_factory.mktemp("ope")
    short = ("logger=none", "evaluation=none", "network.hidden=[8]", "trainer.steps=300", "trainer.warmup=290")
    train.run(compose("algo=dqn", "env=cartpole", "algo.epsilon_end=0.3", *short), folder)
    words = (f"actor={folder}", "stochastic=true", "steps=null", "episodes=12", "num_envs=2", "to=ope/log-v0")
    collect.run(compose("job=collect", *words), folder)
    return folder


def test_report(compose: Compose, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = ope.run(compose(*QUICK, *TWO, "interval=[percentile,student]", f"run={trained}"), tmp_path)
    found = json.loads((tmp_path / "ope.json").read_text())
    # The log is the policy's own: every weight is 1, and the estimate is the mean return.
    assert found["support"]["ess"] == pytest.approx(12.0, rel=1e-3)
    assert value == pytest.approx(found["logged_return"], rel=1e-3)
    assert found["estimates"]["wis"]["intervals"]["percentile"]["low"] < value
    assert not found["behaviour"]["estimated"]
    assert (tmp_path / "ope.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert printed.index("what the log can support") < printed.index("estimator")


def test_ranking_with_true_values(compose: Compose, trained: Path, tmp_path: Path) -> None:
    twice = f"runs=[{trained},{trained}/../{trained.name}]"
    ope.run(compose(*QUICK, *TWO, twice, "truth=true", "truth_episodes=4", "rank_by=fqe", "env=cartpole"), tmp_path)
    ranking = json.loads((tmp_path / "ranking.json").read_text())
    assert ranking["by"] == "fqe"
    assert {"policy", "fqe", "lower bound (percentile)", "true value"} <= ranking["policies"][0].keys()


def test_ranking_by_bounds_of_one_kind(compose: Compose, trained: Path, tmp_path: Path) -> None:
    twice = f"runs=[{trained},{trained}/../{trained.name}]"
    words = ("estimator=[wis,is]", "interval=[percentile,student,thomas]", "interval.percentile.min_episodes=99")
    ope.run(compose(*QUICK, *words, twice, "rank_by=is", "rank_by_bound=true"), tmp_path)
    ranking = json.loads((tmp_path / "ranking.json").read_text())
    assert ranking["by"] == "lower bound (student)"
    assert all(row["lower bound (student)"] < row["is"] for row in ranking["policies"])
    with pytest.raises(UserError, match="no lower bound"):
        ope.run(compose(*QUICK, *TWO, twice, "rank_by=fqe", "rank_by_bound=true"), tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run=null",), "run=RUN_DIR"),
        (("discount=1.5",), "discount=1.5"),
        (("horizon=0",), "horizon=0"),
        (("kernel=0.1",), "stochastic=false"),
        (("propensities=never",), "propensities=never"),
        (("interval=[]",), "interval"),
        (("dataset.id=none/such-v0",), "none/such-v0"),
        (("clip=0",), "clip=0"),
        (("rank_by=wpdis",), "rank_by=wpdis"),
        (("draws=0",), "draws=0"),
        (("stochastic=false", "kernel=0.1"), "discrete"),
    ],
    ids=str,
)
def test_refusals(compose: Compose, trained: Path, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ope.run(compose(*QUICK, *TWO, f"run={trained}", *words), tmp_path)


def test_a_plain_file_without_probabilities(
    compose: Compose, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a CSV log of unequal episodes, through `offrl dataset import`, to the report."""
    generator = np.random.default_rng(0)
    rows = [
        ",".join(map(str, (episode, *generator.normal(size=4).round(3), generator.integers(2), 1.0, int(t == length))))
        for episode in range(30)
        for length in [3 + episode % 9]
        for t in range(length + 1)
    ]
    (tmp_path / "log.csv").write_text("\n".join(["episode,a,b,c,d,push,reward,done", *rows]) + "\n")
    columns = ("dataset.obs=[a,b,c,d]", "dataset.action=push", f"dataset.path={tmp_path}/log.csv")
    dataset.run(compose("job=dataset", "action=import", "dataset=file", "to=ope/csv-v0", *columns), tmp_path)
    words = (*QUICK, "dataset.id=ope/csv-v0", "estimator=all", "interval=all", "value_model.features.count=20")
    ope.run(compose(*words, f"run={trained}"), tmp_path)
    found = json.loads((tmp_path / "ope.json").read_text())
    assert found["horizon"] == 12
    assert found["support"]["steps"] == len(rows)
    assert found["behaviour"]["estimated"]
    assert found["estimates"]["wdr"]["value"] is not None
    assert "ESTIMATED" in capsys.readouterr().out
    with pytest.raises(UserError, match="propensities=recorded"):
        ope.run(compose(*words, f"run={trained}", "propensities=recorded"), tmp_path)
