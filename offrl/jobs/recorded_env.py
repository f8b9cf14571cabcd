"""The environment in which a dataset was recorded, where nobody chose one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from offrl.build import build
from offrl.data.recipes import MinariData
from offrl.errors import UserError


def choose_env(config: dict[str, Any]) -> None:
    """Put the environment that the dataset names into `config["env"]`, if that is empty and it can be made here.

    An offline run needs none, so a missing simulator is said and no error.
    """
    if config["env"] or not config["dataset"]:
        return
    recipe = build(config["dataset"], "dataset")
    if not isinstance(recipe, MinariData):
        return
    recording = recipe.read()
    node = env_node(recording.metadata, recording.obs_keys or None, recipe.history)
    if node is None:
        return
    try:
        build(node, "env").spec()
    except UserError as error:
        print(f"env: the data were recorded in {node['id']}, which cannot be made here: {error}")
        return
    print(f"env: {node['id']}, in which the data were recorded")
    config["env"] = node


def env_node(about: Mapping[str, Any], obs_keys: tuple[str, ...] | None, history: int) -> dict[str, Any] | None:
    """The config node of the environment in a dataset's metadata; None where they name none that is plain."""
    spec = json.loads(about.get("env_spec") or "{}")
    if not spec.get("id") or spec.get("additional_wrappers"):
        return None
    low, high = about.get("ref_min_score"), about.get("ref_max_score")
    reference = {
        "_target_": "offrl.envs.reference.ReferenceScores",
        "random": low,
        "expert": high,
        "source": "metadata of the dataset",
    }
    return {
        "_target_": "offrl.envs.make.Env",
        "name": spec["id"],
        "id": spec["id"],
        "kwargs": spec.get("kwargs") or {},
        "obs_keys": list(obs_keys) if obs_keys is not None else None,
        "history": history,
        "wrappers": [],
        "max_episode_steps": spec.get("max_episode_steps"),
        "num_envs": 1,
        "mode": "sync",
        "workers": None,
        "script": None,
        "reference": reference if low is not None and high is not None else None,
    }
