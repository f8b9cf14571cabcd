"""Refuse what cannot work together, in one sentence with a remedy, before anything is built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast, get_type_hints

from offrl.algos.base import Algorithm
from offrl.build import TARGET, locate
from offrl.envs.make import Env
from offrl.errors import UserError
from offrl.nn.heads.recipe import Policy, option
from offrl.train.loop import Trainer
from offrl.types import ActionKind, Experience, Spec

_START = "offrl train algo=ppo env=cartpole learns online, offrl train algo=iql dataset=pointmaze/umaze offline"
_TRAINERS: dict[Experience, str] = {
    "dataset": "offline",
    "replay": "replay",
    "rollout": "rollout",
    "passes": "solve",
    "model": "plan",
    "expert": "dagger",
}
_ONLINE = "with another algorithm, such as algo=dqn (discrete actions) or algo=sac (continuous ones)"
LOGGED: frozenset[Experience] = frozenset({"dataset", "passes"})  # what is made of a log
_TRY: dict[ActionKind, str] = {
    "continuous": "sac, td3, ppo (online), or iql, td3_bc, cql, bc (offline)",
    "discrete": "dqn, ppo (online), or iql, discrete_cql, bc (offline)",
    "multi_discrete": "ppo (online), or bc (offline)",
}


def check_experience(config: Mapping[str, Any]) -> None:
    """Raise `UserError` unless algorithm, head, trainer, dataset and environment fit by what they give and need."""
    for group in ("algo", "trainer"):
        if config[group] is None:
            raise UserError(f"no {group} is chosen: {_START}")
    algo = cast(type[Algorithm], locate(config["algo"], "algo"))
    trainer = cast(type[Trainer], locate(config["trainer"], "trainer"))
    _check_head(algo, config["algo"])
    missing = trainer.experience - algo.learns_from
    if missing:
        fitting = ", ".join(_TRAINERS[kind] for kind in sorted(algo.learns_from))
        raise UserError(
            f"{algo.__name__} cannot learn from {_all(missing)}, which is what the trainer {trainer.__name__} "
            f"gives it: try trainer={fitting}"
        )
    chosen = TARGET in (config["dataset"] or {})  # an algorithm alone may have set some of its keys
    if trainer.experience & LOGGED and not chosen:
        online = "with trainer=replay" if "replay" in algo.learns_from else _ONLINE
        raise UserError(
            f"the trainer {trainer.__name__} needs a dataset, and none is chosen: give dataset=ID or dataset=FILE "
            f"(offrl dataset list shows what is here), or learn online {online}"
        )
    if "model" in trainer.experience and config["env"] is None:
        raise UserError(
            f"the trainer {trainer.__name__} solves the MDP of a tabular environment, and none is chosen: give "
            "env=gridworld or env=chain_walk"
        )


def check_env(config: Mapping[str, Any]) -> None:
    """Raise `UserError` where a trainer acts and there is no environment, also not that of the dataset."""
    trainer = cast(type[Trainer], locate(config["trainer"], "trainer"))
    if trainer.experience & {"replay", "rollout", "expert"} and config["env"] is None:
        raise UserError(
            f"the trainer {trainer.__name__} acts in an environment, and none is chosen: give env=NAME or any "
            "Gymnasium id, such as env=cartpole or env=Pendulum-v1"
        )


def _check_head(algo: type[Algorithm], knobs: Mapping[str, Any]) -> None:
    if "policy" not in knobs:
        return
    wanted, chosen = get_type_hints(algo)["policy"], cast(type[Policy], locate(knobs["policy"], "algo.policy"))
    if not issubclass(chosen, wanted):
        raise UserError(
            f"{algo.__name__} is made for one head, policy={option(wanted)}, and policy={option(chosen)} is chosen: "
            "leave it out"
        )


def check_actions(algo: type[Algorithm], spec: Spec, place: str) -> None:
    """Raise `UserError` unless the algorithm takes the actions of `place`, an environment or dataset by its name."""
    kind = spec.action.kind
    if kind not in algo.action_kinds:
        raise UserError(
            f"{algo.__name__} needs {_all(algo.action_kinds)} actions, but {place} has {kind.replace('_', '-')} ones: "
            f"try algo={_TRY[kind]}"
        )


def check_steps(algo: Algorithm, trainer: Mapping[str, Any]) -> None:
    """Raise `UserError` where an algorithm that reads consecutive or single steps would be given sums over several."""
    if not (algo.context or algo.single_steps) or trainer.get("n_step", 1) == 1:
        return
    wrong = (
        "reads windows of consecutive steps, and would count rewards several times"
        if algo.context
        else "weighs each action by what that step alone says, and would credit it with later rewards"
    )
    raise UserError(f"{type(algo).__name__} {wrong} with trainer.n_step={trainer['n_step']}: use trainer.n_step=1")


def check_rollout(algo: Algorithm, trainer: Trainer, env: Env | None) -> None:
    """Raise `UserError` where rollouts have too few whole episodes, one of each environment, to compare."""
    if env is None or not algo.whole_episodes or "rollout" not in trainer.experience:
        return
    if env.default_num_envs < algo.fewest_rows:
        raise UserError(
            f"{type(algo).__name__} compares the episodes of a rollout, one of each environment, and learns nothing "
            f"with env.num_envs={env.default_num_envs}: use env.num_envs=16"
        )


def _all(names: Iterable[str]) -> str:
    return " or ".join(name.replace("_", "-") for name in sorted(names))
