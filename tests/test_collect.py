"""The jobs that record and that measure, from config to file."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from offrl.data import minari
from offrl.data.steps import returns
from offrl.envs.video import film
from offrl.errors import UserError
from offrl.functional.intervals import bootstrap_mean
from offrl.jobs import collect, evaluate, train
from tests.conftest import Compose

SHORT = ("logger=none", "evaluation.episodes=2", "evaluation.num_envs=2", "network.hidden=[8]")
SAC = (*SHORT, "algo=sac", "env=pendulum", "trainer.steps=450", "trainer.warmup=440", "trainer.checkpoint_interval=450")


@pytest.fixture(scope="module")
def trained(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run."""
    folder = tmp_path_factory.mktemp("run")
    train.run(compose(*SAC), folder)
    return folder


@pytest.fixture
def record(compose: Compose, tmp_path: Path) -> Any:
    def run(*overrides: str) -> None:
        collect.run(compose("job=collect", *overrides), tmp_path)

    return run


def test_what_is_read_is_what_was_recorded(record: Any) -> None:
    record("env=cartpole", "actor=random", "steps=300", "num_envs=2", "to=cartpole/random-v0", "description=short")
    read = minari.read("cartpole/random-v0")
    assert len(read.steps) == 300
    assert read.steps.obs.shape == (300, 4)
    np.testing.assert_allclose(read.steps.extra["log_prob"], -np.log(2), rtol=1e-6)
    assert read.metadata["algorithm_name"] == "random"
    assert read.metadata["description"] == "short"
    assert (read.metadata["ref_min_score"], read.metadata["ref_max_score"]) == (22.2, 500.0)
    facts = json.loads(read.metadata["recipe"]) if isinstance(read.metadata["recipe"], str) else read.metadata["recipe"]
    assert facts["seed"] == 0
    assert facts["env"]["id"] == "CartPole-v1"


def test_the_same_seed_records_the_same(record: Any) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        record("env=pendulum", "steps=100", f"seed={seed}", "noise=0.1", "actor=scripted", f"to=pendulum/{name}-v0")
    first, again, other = (minari.read(f"pendulum/{name}-v0").fingerprint for name in "abc")
    assert first == again != other


def test_an_existing_dataset_is_kept_unless_told(record: Any) -> None:
    record("env=cartpole", "steps=20", "to=cartpole/kept-v0")
    before = minari.read("cartpole/kept-v0").fingerprint
    with pytest.raises(UserError, match="overwrite=true"):
        record("env=cartpole", "steps=30", "to=cartpole/kept-v0")
    assert minari.read("cartpole/kept-v0").fingerprint == before
    record("env=cartpole", "steps=30", "to=cartpole/kept-v0", "overwrite=true")
    assert len(minari.read("cartpole/kept-v0").steps) == 30


def test_mixtures(record: Any) -> None:
    record("env=cartpole", "steps=50", "to=cartpole/one-v0")
    record("env=cartpole", "steps=70", "seed=1", "actor=scripted", "to=cartpole/two-v0")
    record("mix=[cartpole/one-v0,cartpole/two-v0]", "to=cartpole/both-v0")
    parts = [minari.read(f"cartpole/{name}-v0").steps for name in ("one", "two")]
    both = minari.read("cartpole/both-v0")
    np.testing.assert_array_equal(both.steps.obs, np.concatenate([part.obs for part in parts]))
    np.testing.assert_array_equal(returns(both.steps), np.concatenate([returns(part) for part in parts]))
    assert both.metadata["ref_max_score"] == 500.0
    record("env=pendulum", "steps=20", "to=pendulum/one-v0")
    with pytest.raises(UserError, match="different environments"):
        record("mix=[cartpole/one-v0,pendulum/one-v0]", "to=cartpole/odd-v0")


def test_a_policy_and_its_replay_buffer(record: Any, trained: Path) -> None:
    record(f"actor={trained}", "steps=100", "noise=0.2", "to=pendulum/sac-v0")
    assert "SAC" in minari.read("pendulum/sac-v0").metadata["algorithm_name"]
    record(f"actor=replay:{trained}", "to=pendulum/replay-v0")
    replay = minari.read("pendulum/replay-v0").steps
    assert len(replay) == 400  # the whole episodes among 450 steps
    assert replay.truncated.sum() == 2


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("actor=random",), "needs an environment"),
        (("env=hopper", "actor=scripted"), "no controller"),
        (("env=cartpole", "actor=no_such_folder"), "run folder"),
        (("env=cartpole", "steps=5", "episodes=5"), "steps=5"),
    ],
)
def test_mistakes_are_said(record: Any, overrides: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        record(*overrides, "to=some/thing-v0")
    assert not minari.local_path("some/thing-v0").exists()


def test_evaluate(compose: Compose, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = compose("job=evaluate", "env=pendulum", "episodes=5", "num_envs=3") | {"run": str(trained)}
    score = evaluate.run(config, trained)
    kept = json.loads((trained / "evaluation" / "pendulum-last.json").read_text())
    assert kept["score"] == score
    assert len(kept["returns"]) == kept["episodes"] == 5
    assert kept["return_95"][0] <= kept["return"] <= kept["return_95"][1]
    assert np.mean(kept["returns"]) == pytest.approx(kept["return"])
    assert "return_95" in capsys.readouterr().out
    evaluate.run(config, trained)
    assert json.loads((trained / "evaluation" / "pendulum-last.json").read_text())["returns"] == kept["returns"]


def test_how_a_policy_acts_is_in_the_name_of_its_evaluation(compose: Compose, trained: Path) -> None:
    for stochastic, name in ((True, "pendulum-last-stochastic"), (False, "pendulum-last")):
        words = ("job=evaluate", "env=pendulum", "episodes=1", f"stochastic={str(stochastic).lower()}")
        evaluate.run(compose(*words) | {"run": str(trained)}, trained)
        assert json.loads((trained / "evaluation" / f"{name}.json").read_text())["stochastic"] is stochastic
    assert json.loads((trained / "evaluation" / "pendulum-last-stochastic.json").read_text())["stochastic"]


def test_films(compose: Compose, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before anything is measured where nothing can encode them; else named as what they show."""
    asked = ("job=evaluate", "episodes=2", "first_states=7", "checkpoint=step-000000000450.pt", "video=3")
    config, made = compose(*asked) | {"run": str(trained)}, list[dict[str, Any]]()
    monkeypatch.setitem(sys.modules, "moviepy", None)
    with pytest.raises(UserError, match=r"pip install 'offrl\[video\]'"):
        evaluate.run(config, trained)
    name = "pendulum-step-000000000450.pt"
    assert not (trained / "evaluation" / f"{name}.json").exists()
    monkeypatch.setitem(sys.modules, "moviepy", ModuleType("moviepy"))

    def record(env: Any, **settings: Any) -> Any:
        made.append(settings)
        return env

    monkeypatch.setattr("offrl.envs.video.film", record)
    evaluate.run(config, trained)
    assert made[-1] == {"folder": str(trained / "evaluation"), "name": name, "episodes": 3}


def test_a_film_is_not_said_to_replace_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moviepy", ModuleType("moviepy"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recorder = film(gym.make("CartPole-v1", render_mode="rgb_array"), str(tmp_path), "cartpole-last", 1)
    assert isinstance(recorder, gym.wrappers.RecordVideo)


def test_another_environment_has_to_fit(compose: Compose, trained: Path) -> None:
    config = compose("job=evaluate", "env=cartpole") | {"run": str(trained)}
    with pytest.raises(UserError, match="leave env out"):
        evaluate.run(config, trained)


def test_bootstrap_interval_covers_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    intervals = [bootstrap_mean(list(generator.normal(size=40)), replicates=500, seed=i) for i in range(300)]
    assert 0.89 <= np.mean([low <= 0.0 <= high for low, high in intervals]) <= 0.98
