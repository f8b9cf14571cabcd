"""`offrl evaluate`: measure the policy of a run folder, in environments of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from offrl.build import build
from offrl.compare.maps import follow
from offrl.envs.make import Env
from offrl.envs.video import check_encoder
from offrl.errors import UserError
from offrl.functional.intervals import bootstrap_mean
from offrl.jobs.fitting import check_fits
from offrl.jobs.pictures import draw_pictures
from offrl.log.files import write_json
from offrl.train.checkpoint import load_policy
from offrl.train.evaluator import Result, evaluate
from offrl.train.rundir import now
from offrl.types import END, Player, Policy, at_play


@dataclass
class Exploring:
    """A policy judged by the actions that it explores with, its schedules at their end."""

    policy: Policy
    step: int = END

    def act(self, obs: Tensor) -> Tensor:
        """See `Policy.explore`."""
        return self.explore(obs, self.step)

    def explore(self, obs: Tensor, step: int) -> Tensor:
        """See `Policy.explore`."""
        return self.policy.explore(obs, step)

    def player(self, envs: int, stochastic: bool) -> Player:
        """See `at_play`."""
        return at_play(self.policy, envs, stochastic=True)


def run(config: dict[str, Any], folder: Path) -> float:
    """Evaluate, print the table, and keep it in the run folder; the headline is the score, or the mean return."""
    if not config["run"]:
        raise UserError("offrl evaluate needs a run folder: give run=RUN_DIR")
    if config["episodes"] < 1:
        raise UserError(f"episodes={config['episodes']}: at least one is needed")
    if films := int(config["video"]):
        check_encoder()
    home, device = Path(config["run"]), torch.device(config["hardware"]["device"])
    algo, spec, trained = load_policy(home, str(config["checkpoint"]), device)
    env = cast(Env, build(_env(config, trained), "env"))
    check_fits(home, spec, env)
    algo.eval()
    policy = Exploring(algo) if config["stochastic"] else algo
    result = _measure(policy, env, config["episodes"], config["num_envs"], config["first_states"], device)
    table = _table(result, env, config)
    mark = "-stochastic" if config["stochastic"] else ""
    out = home / "evaluation" / f"{env.name.replace('/', '_')}-{config['checkpoint']}{mark}.json"
    out.parent.mkdir(exist_ok=True)
    write_json(out, table | {"returns": result.returns, "lengths": result.lengths})
    for name, value in table.items():
        print(f"{name:>14}  {_shown(value)}")
    if config["pictures"]:
        seen = follow(algo, env, config["episodes"], config["num_envs"], config["first_states"], config["stochastic"])
        drawn = draw_pictures(algo, env, seen, out.parent, f"{trained['name']} in {env.name}")
        for picture in drawn or ["none: there is no critic, or no state whose future was seen for long enough"]:
            print(f"{'picture':>14}  {picture}")
    if films:
        _measure(policy, _filmed(env, out.with_suffix(""), films), films, 1, config["first_states"], device)
    print(f"written to {out.parent}")
    return cast(float, table.get("score", table["return"]))


def _env(config: Mapping[str, Any], trained: Mapping[str, Any]) -> Mapping[str, Any]:
    node = config["env"] or trained["env"]
    if not node:
        raise UserError("the run was trained without an environment: give env=NAME or any Gymnasium id")
    return node


def _measure(policy: Policy, env: Env, episodes: int, num_envs: int, seed: int, device: torch.device) -> Result:
    vector = env.make(min(num_envs, episodes), seed)
    try:
        return evaluate(policy, vector, episodes, seed, device)
    finally:
        vector.close()


def _table(result: Result, env: Env, config: Mapping[str, Any]) -> dict[str, Any]:
    low, high = bootstrap_mean(result.returns)
    table = {"env": env.name, "checkpoint": config["checkpoint"], "stochastic": config["stochastic"], "time": now()}
    table |= {"episodes": len(result.returns), **result.summary(env.reference), "return_95": [low, high]}
    if env.reference is not None:
        table["score_95"] = [env.reference.normalize(low), env.reference.normalize(high)]
        table["score_source"] = env.reference.source
    return table


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " to ".join(f"{number:.2f}" for number in cast("list[float]", value))
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _filmed(env: Env, begins: Path, episodes: int) -> Env:
    """The same environment with a camera, whose films have names that begin so; MuJoCo draws without a display."""
    if "DISPLAY" not in os.environ:
        os.environ.setdefault("MUJOCO_GL", "egl")
    camera = {
        "_target_": "offrl.envs.video.film",
        "folder": str(begins.parent),
        "name": begins.name,
        "episodes": episodes,
    }
    return replace(
        env, kwargs={**env.kwargs, "render_mode": "rgb_array"}, wrappers=(*env.wrappers, camera), mode="sync"
    )
