"""Make the standard datasets from their recipes in `scripts/datasets`, with the command line's own jobs.

    python scripts/make_datasets.py --list
    python scripts/make_datasets.py --only pointmaze --only hopper/medium-replay
    python scripts/make_datasets.py --only pendulum --scale 0.1

What is there already is not made again, and training goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from offrl.data import minari
from offrl.errors import UserError

RECIPES = Path(__file__).parent / "datasets"
SKILLS = ("medium", "expert")


@dataclass(frozen=True)
class Agent:
    """Whose experience it is: trained in stages, kept when it becomes medium, and at the end."""

    train: Sequence[str]  # overrides of `offrl train`, among them trainer.steps
    stage: int  # environment steps between two looks at the score
    medium_score: float  # normalised


@dataclass(frozen=True)
class Recipe:
    """The sets of one family, by the end of their ids, each with the keys of `offrl collect`."""

    name: str
    sets: Mapping[str, Mapping[str, Any]]
    env: str | None = None
    agent: Agent | None = field(default=None)


def read(file: Path) -> Recipe:
    """The recipe in a YAML file."""
    node = yaml.safe_load(file.read_text(encoding="utf-8"))
    agent = Agent(**node.pop("agent")) if "agent" in node else None
    return Recipe(name=file.stem, agent=agent, **node)


@dataclass(frozen=True)
class Maker:
    """Makes sets, and first whatever they are made of."""

    recipe: Recipe
    runs: Path  # where agents are trained
    scale: float  # of all numbers of steps
    more: Sequence[str]  # overrides of every training

    def make(self, version: str) -> None:
        """Make one set, unless it exists."""
        target = f"{self.recipe.name}/{version}"
        if minari.local_path(target).exists():
            print(f"{target} is there already")
            return
        keys = dict(self.recipe.sets[version])
        if "mix" in keys:
            for part in keys["mix"]:
                self.make(part)
            parts = ",".join(f"{self.recipe.name}/{part}" for part in keys["mix"])
            offrl("collect", f"mix=[{parts}]", f"to={target}")
            return
        if "steps" in keys:
            keys["steps"] = self._scaled(keys["steps"])
        skill = str(keys["actor"]).removeprefix("replay:")
        if skill in SKILLS:
            keys["actor"] = str(keys["actor"]).replace(skill, str(self._trained(skill)))
        elif self.recipe.env is not None:
            keys["env"] = self.recipe.env
        offrl("collect", *(f"{key}={_word(value)}" for key, value in keys.items()), f"to={target}")

    def _trained(self, skill: str) -> Path:
        """The folder of the agent at this skill, trained as far as need be."""
        agent, home = self.recipe.agent, self.runs / self.recipe.name
        if agent is None:
            raise UserError(f"{self.recipe.name}: its sets need an agent, and the recipe has none")
        live, medium = home / "agent", home / "medium"
        (total,) = (int(float(word.partition("=")[2])) for word in agent.train if word.startswith("trainer.steps="))
        total, stage = self._scaled(total), self._scaled(agent.stage)
        while not (medium.exists() and (skill == "medium" or _facts(live).get("step", 0) >= total)):
            done = _facts(live).get("step", 0)
            if done >= total:
                raise UserError(
                    f"{self.recipe.name}: after {total:,} steps the score is {_score(live):.1f}, and medium is "
                    f"{agent.medium_score}: lower medium_score or train longer, and delete {live}"
                )
            self._train(agent, live, min(total, done + stage), stage)
            if not medium.exists() and _score(live) >= agent.medium_score:
                copied = medium.with_name("medium.part")
                shutil.rmtree(copied, ignore_errors=True)
                shutil.copytree(live, copied)
                copied.rename(medium)
        return medium if skill == "medium" else live

    def _train(self, agent: Agent, live: Path, until: int, stage: int) -> None:
        steps, pace = f"trainer.steps={until}", f"trainer.checkpoint_interval={stage}"
        if live.exists():
            offrl("train", f"run={live}", "resume=true", steps)
            return
        chosen = [word for word in agent.train if not word.startswith("trainer.steps=")]
        often = f"evaluation.interval={stage}"
        keep = ["trainer.keep_checkpoints=1", f"hydra.run.dir={live}"]
        offrl("train", f"env={self.recipe.env}", *chosen, steps, pace, often, *keep, *self.more)

    def _scaled(self, steps: int) -> int:
        return max(1, round(steps * self.scale))


def offrl(job: str, *words: str) -> None:
    """Run a job of the command line; raises `UserError` if it fails."""
    command = [sys.executable, "-m", "offrl", job, *words]
    print("$ offrl", *command[3:], flush=True)
    if code := subprocess.run(command, check=False).returncode:
        raise UserError(f"offrl {job} failed with exit code {code}; what is made so far is kept")


def _facts(run: Path) -> dict[str, Any]:
    file = run / "run.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def _score(run: Path) -> float:
    return float(_facts(run)["results"]["last"]["score"])


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def main() -> None:
    """Make what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="name the sets and stop")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a family or set; may be repeated")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply every number of steps, for a try")
    parser.add_argument("--runs", type=Path, default=Path("runs/datasets"), help="where agents are trained")
    parser.add_argument("train", nargs="*", help="overrides of every training, such as hardware=gpu logger=none")
    given = parser.parse_args()
    recipes = [read(file) for file in sorted(RECIPES.glob("*.yaml"))]
    chosen = [
        (recipe, version) for recipe in recipes for version in recipe.sets if _wanted(recipe, version, given.only)
    ]
    if not chosen:
        parser.error(f"--only {' '.join(given.only)}: no such set; --list names them")
    try:
        for recipe, version in chosen:
            if given.list:
                print(f"{recipe.name}/{version}")
            else:
                Maker(recipe, given.runs, given.scale, given.train).make(version)
    except UserError as error:
        sys.exit(f"make_datasets: {error}")


def _wanted(recipe: Recipe, version: str, only: Sequence[str]) -> bool:
    names = (recipe.name, f"{recipe.name}/{version}", f"{recipe.name}/{version.rpartition('-v')[0]}")
    return not only or any(name in names for name in only)


if __name__ == "__main__":
    main()
