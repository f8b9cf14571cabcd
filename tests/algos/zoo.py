"""The whole zoo as tests see it: every YAML in `configs/algo`, composed and built small, and one way to work
with each."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor

from offrl.algos.base import Algorithm, OnPolicy
from offrl.build import build
from offrl.functional import noise
from offrl.paths import config_dir
from offrl.types import ActionKind, ActionSpec, Batch, ObsSpec, Rollout, Spec
from scripts.make_zoo_table import names, target

NAMES = names("algo")
OBS, ACTIONS, CHOICES = 4, 2, 3
SPECS = {
    "continuous": Spec(
        ObsSpec((OBS,)), ActionSpec("continuous", (ACTIONS,), low=(-1.0,) * ACTIONS, high=(1.0,) * ACTIONS)
    ),
    "discrete": Spec(ObsSpec((OBS,)), ActionSpec("discrete", (), (CHOICES,))),
    "multi_discrete": Spec(ObsSpec((OBS,)), ActionSpec("multi_discrete", (2,), (CHOICES, 2))),
}

LIKE = torch.empty(0)  # on which device


def randn(*shape: int) -> Tensor:
    """Standard normal numbers of the default type, from the stream of the run: alone or in company."""
    return noise.normal(shape, torch.empty(0))


def rand(*shape: int) -> Tensor:
    """Uniform ones."""
    return noise.uniform(shape, torch.empty(0))


@cache
def node(name: str, *overrides: str) -> dict[str, Any]:
    """The resolved config of `algo={name}`; not to be changed in place."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("config", [f"algo={name}", *overrides])
    return cast("dict[str, Any]", OmegaConf.to_container(config.algo, resolve=True))


def kinds(name: str) -> list[ActionKind]:
    """The kinds of action that the algorithm takes."""
    return sorted(target(name).action_kinds)


PAIRS: list[tuple[str, ActionKind]] = [(name, kind) for name in NAMES for kind in kinds(name)]
ONE_OF_EACH = list({target(name): name for name in reversed(NAMES)}.values())  # of the names that share a class


def small(name: str, **knobs: object) -> Algorithm:
    """The algorithm with layers of 32 and minibatches of 16, then `knobs` set; not built yet."""
    config = cast("dict[str, Any]", {**node(name), "batch_size": 16})
    if "hidden" in config.get("network", {}):
        config |= {"network": config["network"] | {"hidden": [32, 32]}}
    if "context_length" in config:
        config |= {"context_length": 3, "network": config["network"] | {"width": 32, "layers": 1, "heads": 2}}
    if "sweeps" in config:
        config |= {"sweeps": 3}
    if "horizon" in config:
        config |= {"horizon": 16, "epochs": 2}
    return cast(Algorithm, build(config | knobs, "algo"))


def made(name: str, kind: ActionKind, **knobs: object) -> Algorithm:
    """As `small`, with its networks for one kind of action, all from one seed."""
    torch.manual_seed(0)
    algo = small(name, **knobs)
    algo.build(SPECS[kind])
    return algo


def actions(kind: ActionKind, *shape: int) -> Tensor:
    """Uniform actions."""
    if kind == "continuous":
        return rand(*shape, ACTIONS) * 2.0 - 1.0
    if kind == "discrete":
        return noise.integers(CHOICES, shape, LIKE)
    return torch.stack([noise.integers(k, shape, LIKE) for k in SPECS[kind].action.choices], -1)


def a_batch(algo: Algorithm, kind: ActionKind, reward_scale: float = 1.0) -> Batch:
    """Random transitions with the algorithm's own batch size and discount, a quarter of them terminal; windows of them,
    of all ages, where it has a context."""
    rows = algo.batch_size * max(algo.context, 1)
    discount = algo.return_discount * (rand(rows) > 0.25)
    reward = reward_scale * randn(rows)
    batch = Batch(randn(rows, OBS), actions(kind, rows), reward, discount, randn(rows, OBS))
    batch = with_needs(batch, algo, kind)
    if not algo.context:
        return batch
    windows = Batch(*(column.unflatten(0, (-1, algo.context)) if len(column) else column for column in batch))
    age = 1 + noise.integers(algo.context, (algo.batch_size, 1), LIKE)
    return windows._replace(mask=torch.arange(algo.context, 0, -1) <= age)


def as_windows(batch: Batch, algo: Algorithm) -> Batch:
    """Transitions that are episodes of their own, in the form that the algorithm asks for."""
    if not algo.context:
        return batch
    rows = [column.unsqueeze(1).expand(-1, algo.context, *column.shape[1:]) for column in batch if len(column)]
    names = [name for name, column in batch._asdict().items() if len(column)]
    mask = (torch.arange(algo.context, 0, -1) == 1).expand(len(batch.reward), -1)
    return Batch(**dict(zip(names, rows, strict=True)))._replace(mask=mask)


def with_needs(batch: Batch, algo: Algorithm, kind: ActionKind) -> Batch:
    """With the columns that the algorithm asks for; where the batch does not say better, as if one more step with the
    same reward ended the episode.
    """
    rows = len(batch.reward)
    columns = {
        "next_action": actions(kind, rows),
        "return_to_go": batch.return_to_go if len(batch.return_to_go) else (1.0 + algo.return_discount) * batch.reward,
        "timestep": torch.arange(rows) % 3,
        "log_prob": -rand(rows),
    }
    return batch._replace(**{name: columns[name] for name in algo.needs})


def work(algo: Algorithm, kind: ActionKind, updates: int = 4, reward_scale: float = 1.0) -> None:
    """Learn a little, as the algorithm's trainer would have it do."""
    if not isinstance(algo, OnPolicy):
        for _ in range(updates):
            algo.update(a_batch(algo, kind, reward_scale))
        return
    for done in (0.0, 0.5):
        algo.anneal(done)
        rows = prepared(algo, kind, reward_scale)
        for _ in range(algo.epochs):
            for index in noise.permutation(len(rows.obs), LIKE).split(algo.batch_size):
                algo.update(Batch(*(column[index] if len(column) else column for column in rows)))


def prepared(algo: OnPolicy, kind: ActionKind, reward_scale: float = 1.0) -> Batch:
    """The rows of a rollout of noise in which the algorithm acted."""
    shape = (algo.horizon, 20 if algo.whole_episodes else 2)
    obs, next_obs = randn(*shape, OBS), randn(*shape, OBS)
    action = algo.explore(obs.flatten(0, 1), 0).unflatten(0, shape)
    terminated, truncated = rand(*shape) < 0.1, rand(*shape) < 0.1
    return algo.prepare(Rollout(obs, action, reward_scale * randn(*shape), terminated, truncated, next_obs))
