"""The script for the standard datasets: its recipes, and the order in which it runs the jobs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from offrl.errors import UserError
from offrl.paths import config_dir
from scripts import make_datasets as script

RECIPES = [script.read(file) for file in sorted(script.RECIPES.glob("*.yaml"))]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_recipes_use_keys_and_configs_that_there_are(recipe: script.Recipe) -> None:
    keys = {"env", *yaml.safe_load((config_dir() / "job" / "collect.yaml").read_text(encoding="utf-8"))}
    for version, wanted in recipe.sets.items():
        assert wanted.keys() <= keys
        own = yaml.safe_load(
            (config_dir() / "dataset" / recipe.name / f"{version[:-3]}.yaml").read_text(encoding="utf-8")
        )
        assert own["dataset"]["id"] == f"{recipe.name}/{version}"
        env = wanted.get("env", recipe.env)
        assert (config_dir() / "env" / f"{env}.yaml").is_file()


def test_all_standard_sets_have_a_recipe() -> None:
    skills = {f"{skill}-v0" for skill in ("random", "medium", "medium-replay", "medium-expert", "expert")}
    sets = {recipe.name: set(recipe.sets) for recipe in RECIPES}
    assert sets.pop("pointmaze") == {"umaze-v0", "medium-v0", "large-v0"}
    assert sets == dict.fromkeys(("pendulum", "cartpole", "hopper", "halfcheetah", "walker2d"), skills)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What would have been run; training raises the score by one point for each of its steps."""
    ran: list[list[str]] = []

    def offrl(job: str, *words: str) -> None:
        ran.append([job, *words])
        given = dict(word.split("=", 1) for word in words)
        if job == "train":
            folder, steps = Path(given.get("run", given.get("hydra.run.dir", ""))), int(given["trainer.steps"])
            folder.mkdir(parents=True, exist_ok=True)
            facts = {"step": steps, "results": {"last": {"score": steps}}}
            (folder / "run.json").write_text(json.dumps(facts))

    monkeypatch.setattr(script, "offrl", offrl)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "none"))
    return ran


def maker(tmp_path: Path, medium_score: float = 25.0) -> script.Maker:
    sets: dict[str, Any] = {
        "random-v0": {"actor": "random", "steps": 1000},
        "medium-replay-v0": {"actor": "replay:medium"},
        "expert-v0": {"actor": "expert", "steps": 1000},
        "medium-expert-v0": {"mix": ["random-v0", "expert-v0"]},
    }
    agent = script.Agent(["algo=sac", "trainer.steps=400"], stage=100, medium_score=medium_score)
    return script.Maker(script.Recipe("toy", sets, "pendulum", agent), tmp_path, 0.1, ["logger=none"])


def test_medium_is_the_agent_when_it_gets_there_and_expert_at_the_end(jobs: list[list[str]], tmp_path: Path) -> None:
    make = maker(tmp_path)
    make.make("medium-replay-v0")
    steps = [word for job in jobs for word in job if word.startswith("trainer.steps=")]
    assert steps == ["trainer.steps=10", "trainer.steps=20", "trainer.steps=30"]
    assert jobs[-1] == ["collect", f"actor=replay:{tmp_path}/toy/medium", "to=toy/medium-replay-v0"]
    make.make("expert-v0")
    assert jobs[-2] == ["train", f"run={tmp_path}/toy/agent", "resume=true", "trainer.steps=40"]
    assert jobs[-1][1] == f"actor={tmp_path}/toy/agent"
    assert json.loads((tmp_path / "toy" / "medium" / "run.json").read_text())["step"] == 30


def test_mixtures_make_their_parts_first(jobs: list[list[str]], tmp_path: Path) -> None:
    maker(tmp_path).make("medium-expert-v0")
    assert jobs[0] == ["collect", "actor=random", "steps=100", "env=pendulum", "to=toy/random-v0"]
    assert jobs[-1] == ["collect", "mix=[toy/random-v0,toy/expert-v0]", "to=toy/medium-expert-v0"]


@pytest.mark.usefixtures("jobs")
def test_an_agent_that_never_becomes_medium_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="medium_score"):
        maker(tmp_path, medium_score=99.0).make("medium-replay-v0")
