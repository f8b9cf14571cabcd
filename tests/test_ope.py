"""`offrl ope` from a trained run and a recorded log to its report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

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


def csv(path: Path, header: str, rows: Iterable[str]) -> tuple[str, str]:
    """The words that name this log."""
    path.write_text("\n".join([header, *rows]) + "\n")
    return "dataset=file", f"dataset.path={path}"


def judged(compose: Compose, folder: Path, data: Sequence[str], words: Sequence[str], log: Sequence[str]) -> Any:
    """What is said of a policy that was cloned from `data` by a log that has the probabilities of its actions."""
    quick = ("logger=none", "evaluation=none", "network.hidden=[8]", "trainer.updates=20", *words)
    train.run(compose("algo=bc", *data, *quick), folder / "run")
    asked = ("job=ope", "estimator=[is,wis]", "behaviour.updates=5", f"run={folder / 'run'}")
    ope.run(compose(*asked, *log), folder / "ope")
    return json.loads((folder / "ope" / "ope.json").read_text())


@pytest.mark.parametrize("stochastic", [True, False])
def test_several_discrete_actions_at_once(compose: Compose, tmp_path: Path, stochastic: bool) -> None:
    generator = np.random.default_rng(0)
    pairs = generator.integers(0, [2, 3], (200, 2))
    rows = (f"{i % 5}.5,{x},{y},{x + y}.5,1,{1 / 6}" for i, (x, y) in enumerate(pairs))
    words = csv(tmp_path / "log.csv", "obs_0,a_0,a_1,reward,done,propensity", rows)
    words = (*words, "dataset.action_kind=multi_discrete")
    found = judged(compose, tmp_path, words, (), (*words, f"stochastic={str(stochastic).lower()}"))
    assert found["estimates"]["wis"]["value"] is not None
    assert 0.0 <= found["support"]["outside"] <= 1.0


def test_pictures_are_read_as_the_policy_reads_them(compose: Compose, tmp_path: Path) -> None:
    generator, count = np.random.default_rng(0), 40
    columns: dict[str, Any] = {
        name: generator.integers(0, 255, (count, 3, 7, 7)).astype(np.uint8)
        for name in ("observations", "next_observations")
    }
    columns |= {"actions": generator.integers(0, 3, count), "rewards": generator.random(count).astype(np.float32)}
    np.savez(tmp_path / "log.npz", **columns, terminals=np.ones(count, np.bool_), probability=np.full(count, 1 / 3))
    words = ("dataset=file", f"dataset.path={tmp_path}/log.npz")
    found = judged(compose, tmp_path, words, ("network=cnn_small",), words)
    assert found["estimates"]["is"]["value"] is not None


@pytest.mark.parametrize(
    ("column", "whole", "part"), [("action", (0, 2), (0, 1)), ("action_0", (-7.0, 5.0), (-2.5, 2.5))], ids=str
)
def test_a_log_that_lacks_some_actions(
    compose: Compose, tmp_path: Path, column: str, whole: tuple[float, float], part: tuple[float, float]
) -> None:
    """What actions there are is known from the run, where the file does not show it."""
    header = f"obs_0,{column},reward,done,log_prob"
    logs = [
        csv(tmp_path / f"{n}.csv", header, (f"{i % 5}.5,{ends[i % 2]},1.5,1,-1.5" for i in range(40)))
        for n, ends in enumerate((whole, part))
    ]
    words = () if column == "action" else ("policy=gaussian",)
    assert judged(compose, tmp_path, logs[0], words, logs[1])["support"]["steps"] == 40


def test_a_log_of_other_actions(compose: Compose, tmp_path: Path) -> None:
    two = csv(tmp_path / "two.csv", "obs_0,a_0,a_1,reward,done", (f"{i % 5}.5,0.{i},{i}.5,1,1" for i in range(40)))
    one = csv(tmp_path / "one.csv", "obs_0,a_0,reward,done", (f"{i % 5}.5,0.{i},1,1" for i in range(40)))
    with pytest.raises(UserError, match="are 1 numbers, and 2 bounds are known"):
        judged(compose, tmp_path, two, ("policy=gaussian",), one)


def test_a_log_of_one_episode(compose: Compose, trained: Path, tmp_path: Path) -> None:
    rows = (f"1,0.1,0.2,0.3,0.{i},{i % 2},1.0,{int(i == 9)},0.5" for i in range(10))
    words = csv(tmp_path / "log.csv", "episode,obs_0,obs_1,obs_2,obs_3,action,reward,done,propensity", rows)
    with pytest.raises(UserError, match="the log has one episode"):
        ope.run(compose("job=ope", *words, *TWO, f"run={trained}"), tmp_path)


def test_the_report_says_how_to_export_what_was_judged(
    compose: Compose, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stochastic in ("true", "false"):
        ope.run(compose(*QUICK, *TWO, f"run={trained}", f"stochastic={stochastic}"), tmp_path)
        printed = "".join(capsys.readouterr().out.split())
        assert f"offrlexportrun={trained}checkpoint=laststochastic={stochastic}" in printed
