"""The recipe of an environment: any Gymnasium id, wrapped and vectorised as the config says."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal

import gymnasium as gym

from offrl.envs.block import Block, Seat
from offrl.envs.reference import ReferenceScores
from offrl.envs.spaces import ActionCodec, ObsCodec, action_codec, obs_codec
from offrl.envs.vector import Simulator, VectorEnv
from offrl.envs.workers import Workers
from offrl.errors import UserError
from offrl.types import Spec

# Packages with environments of their own: the package, the extra that installs it, and how its ids begin.
PACKAGES = (
    ("gymnasium_robotics", "robotics", ("PointMaze", "AntMaze", "Adroit", "Fetch", "Hand", "FrankaKitchen")),
    ("minigrid", "envs", ("MiniGrid", "BabyAI")),
    ("ale_py", "atari", ("ALE/",)),
)


@dataclass(frozen=True)
class Env:
    """How to make environments; picklable, and cheap until `make`.

    `wrappers` are applied in order, the last outermost; each is a mapping with the class at `_target_` and its
    arguments. `history` > 0 makes an observation the window of the last so many, oldest first.
    """

    name: str  # short, for data sets and groups of runs
    id: str  # Gymnasium's id; `module:Id-v0` imports `module` first
    kwargs: Mapping[str, Any]
    obs_keys: (
        tuple[str, ...] | None
    )  # the parts of a Dict observation to see, in this order; null is all but `achieved_goal` and text
    history: int
    wrappers: tuple[Mapping[str, Any], ...]
    max_episode_steps: int | None  # null keeps the limit registered with the id
    num_envs: int
    mode: Literal["sync", "async"]
    workers: int | None  # processes in async mode; null is one a core
    script: str | None  # `module:name` of a hand-written controller (see `offrl collect actor=scripted`)
    reference: ReferenceScores | None

    @property
    def default_num_envs(self) -> int:
        """Environments side by side where nobody asks for another number."""
        return self.num_envs

    def spec(self) -> Spec:
        """What a policy sees and may do here.

        Raises:
            UserError: no such environment, or spaces that no algorithm takes.
        """
        return self._spec(*self._look())

    def make(self, num_envs: int, seed: int) -> VectorEnv:
        """N environments; their episodes depend on `seed` alone, not on `mode`.

        Raises:
            UserError: as `spec`, and for numbers that make no sense.
        """
        self._check(num_envs)
        codec, actions = self._look()
        if self.mode == "sync":
            simulator: Simulator = make_block(self, range(num_envs))
        else:
            processes = min(num_envs, self.workers or os.cpu_count() or 1)
            simulator = Workers(functools.partial(make_block, self), codec.spec, num_envs, processes)
        return VectorEnv(simulator, self._spec(codec, actions), actions, num_envs, seed)

    def make_one(self) -> gym.Env[Any, Any]:
        """One plain Gymnasium environment with the wrappers, and none of our conventions.

        Raises:
            UserError: unknown id, missing package, or arguments that it does not take.
        """
        quiet_mujoco()
        _import_package(self.id)
        try:
            with warnings.catch_warnings():  # who writes a version into an id means it
                warnings.filterwarnings("ignore", ".*is out of date", DeprecationWarning)
                env = gym.make(self.id, self.max_episode_steps, disable_env_checker=True, **self.kwargs)
        except gym.error.UnregisteredEnv as error:
            raise UserError(f"env.id={self.id}: {_without_hint(error)} {_suggestion(self.id)}".rstrip()) from error
        except ModuleNotFoundError as error:
            raise UserError(f"env.id={self.id}: {error}") from error
        except gym.error.DependencyNotInstalled as error:
            raise UserError(f"env.id={self.id} needs a package that is not installed: {error}") from error
        except TypeError as error:
            raise UserError(f"env.kwargs={dict(self.kwargs)}: {self.id} does not take them: {error}") from error
        for wrapper in self.wrappers:
            env = _wrap(env, wrapper)
        return env

    def _look(self) -> tuple[ObsCodec, ActionCodec]:
        env = self.make_one()
        codecs = obs_codec(env.observation_space, self.obs_keys), action_codec(env.action_space)
        env.close()
        return codecs

    def _spec(self, codec: ObsCodec, actions: ActionCodec) -> Spec:
        obs, history = codec.spec, self.history
        return Spec(replace(obs, shape=(history, *obs.shape), history=history) if history else obs, actions.spec)

    def _check(self, num_envs: int) -> None:
        if num_envs < 1:
            raise UserError(f"env.num_envs={num_envs}: at least one environment is needed")
        if self.history < 0:
            raise UserError(f"env.history={self.history}: 0 means single observations, H > 0 a window of H")
        if self.workers is not None and self.workers < 1:
            raise UserError(f"env.workers={self.workers}: at least one process is needed (null is one a core)")


def make_block(recipe: Env, numbers: Sequence[int]) -> Block:
    """The environments of these numbers, in this process."""
    envs = [recipe.make_one() for _ in numbers]
    codec = obs_codec(envs[0].observation_space, recipe.obs_keys)
    return Block([Seat(env, codec, number) for env, number in zip(envs, numbers, strict=True)], codec.encode)


def quiet_mujoco() -> None:
    """Send MuJoCo's warnings to the logger "mujoco" instead of the console and a MUJOCO_LOG.TXT in the working
    directory, and drop the one about Gymnasium's own models."""
    try:
        mujoco = importlib.import_module("mujoco")
    except ModuleNotFoundError:
        return
    mujoco.set_mju_user_warning(_log_mujoco)


def _log_mujoco(message: str) -> None:
    if "settotalmass" not in message:
        logging.getLogger("mujoco").warning(message)


def _import_package(id: str) -> None:
    """Import the package that registers `id`, where it is one of those we know."""
    module, _, name = id.rpartition(":")
    for package, extra, prefixes in PACKAGES:
        if package == module or (not module and name.startswith(prefixes)):
            try:
                with contextlib.redirect_stderr(io.StringIO()):  # a notice about environments that nobody asked for
                    importlib.import_module(package)
            except ModuleNotFoundError as error:
                raise UserError(
                    f"env.id={id} needs {package}, which is not installed: pip install 'offrl[{extra}]'"
                ) from error


def _without_hint(error: Exception) -> str:
    """What Gymnasium says, less its own guess, which knows no versions."""
    return str(error).partition(" Did you mean")[0]


def _suggestion(id: str) -> str:
    close = get_close_matches(id.rpartition(":")[2], list(gym.registry), n=3)
    return f"Did you mean {' or '.join(close)}?" if close else ""


def _wrap(env: gym.Env[Any, Any], node: Mapping[str, Any]) -> gym.Env[Any, Any]:
    path, arguments = str(node.get("_target_", "")), {key: value for key, value in node.items() if key != "_target_"}
    module, _, name = path.rpartition(".")
    try:
        wrapper = getattr(importlib.import_module(module), name)
        return wrapper(env, **arguments)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"env.wrappers: no wrapper at _target_={path!r} ({error})") from error
    except TypeError as error:
        raise UserError(f"env.wrappers: {path} does not take {arguments}: {error}") from error
