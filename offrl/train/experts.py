"""Experts: who can be asked, while training, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from offrl.envs.actors import Actor, Agent, Scripted
from offrl.envs.controllers import Act, Controller, load_controller
from offrl.envs.make import Env
from offrl.errors import UserError
from offrl.train import checkpoint
from offrl.types import Spec, State, remembers


class Expert:
    """A scripted controller, or the policy of a run folder."""

    def __init__(self, actor: Actor, controller: Act | None, spec: Spec) -> None:
        self._actor, self._controller, self._spec = actor, controller, spec
        # Controllers are written for single observations.
        self._newest = bool(spec.obs.history) and controller is not None

    def act(self, obs: Tensor) -> Tensor:
        """[N, *obs.shape] -> the expert's actions [N, *action.shape], in the algorithms' units, on the CPU."""
        return self._spec.action.executed(self._actor.act(obs[:, -1] if self._newest else obs).action)

    def restart(self, envs: Sequence[int]) -> None:
        """New episodes begin in these environments."""
        self._actor.restart(envs)

    def state(self) -> State:
        """What it remembers."""
        return self._controller.state() if isinstance(self._controller, Controller) else {}

    def load(self, state: State) -> None:
        """Remember it again."""
        if isinstance(self._controller, Controller):
            self._controller.load(state)


def load_expert(who: str, which: str, env: Env, spec: Spec, num_envs: int, seed: int) -> Expert:
    """The expert that `trainer.expert` names: `scripted` (the controller of `env.script`), `module:name` of a
    controller, or a run folder, whose checkpoint `which` acts as it is judged.

    Raises `UserError` where there is none, or it does not fit the environment.
    """
    if Path(who).is_dir():
        algo, trained, _ = checkpoint.load_policy(who, which)
        if remembers(algo):
            raise UserError(
                f"trainer.expert={who} is a {type(algo).__name__}, which acts by what it has done before, and an "
                "expert is asked about what others do: use a run of another algorithm"
            )
        if trained != spec:
            raise UserError(
                f"trainer.expert={who} was trained on other observations or actions than env={env.name} has: use a run "
                "of that environment, with the same env.history and env.obs_keys"
            )
        return Expert(Agent(algo.eval(), stochastic=False), None, spec)
    path = env.script if who == "scripted" else who
    if path is None:
        raise UserError(
            f"trainer.expert=scripted: {env.name} has no controller; give trainer.expert=module:name or a run folder"
        )
    if ":" not in path:
        raise UserError(f"trainer.expert={who} is neither scripted, nor module:name, nor a run folder")
    generator = np.random.default_rng([seed, 1])
    controller = load_controller(path, env, num_envs, generator, key="trainer.expert")
    _check_answers(path, controller, spec, num_envs)
    return Expert(Scripted(controller), controller, spec)


def _check_answers(path: str, controller: Act, spec: Spec, num_envs: int) -> None:
    """Ask once, before anything is trained; a controller with a memory would be disturbed and is trusted."""
    if isinstance(controller, Controller):
        return
    frame = spec.obs.shape[1:] if spec.obs.history else spec.obs.shape
    blank: Any = np.zeros((num_envs, *frame), np.dtype(spec.obs.dtype))
    answer = torch.from_numpy(np.asarray(controller(blank)))
    if tuple(answer.shape) != (num_envs, *spec.action.shape):
        raise UserError(
            f"trainer.expert={path} gives actions of shape {list(answer.shape)} for {num_envs} observations, but this "
            f"environment takes {[num_envs, *spec.action.shape]}: is it the controller of another one?"
        )
    if answer.is_floating_point() != (spec.action.kind == "continuous"):
        raise UserError(
            f"trainer.expert={path} gives {cast(Any, answer.dtype)} actions, but this environment takes "
            f"{spec.action.kind.replace('_', '-')} ones"
        )
