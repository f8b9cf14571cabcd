"""Which runs may train as one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from offrl.algos.base import Algorithm, scalar_knobs
from offrl.build import locate
from offrl.train.estimate import Estimation


def groups(configs: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Indices of resolved configs, in groups that may train as one: they differ in seed and in scalar knobs of the
    algorithm alone. Those of other jobs than training stay by themselves, and those that a log judges, which each end
    when it says so.
    """
    kinds: dict[str, list[int]] = {}
    for number, config in enumerate(configs):
        kinds.setdefault(_kind(config, number), []).append(number)
    return list(kinds.values())


def _kind(config: Mapping[str, Any], number: int) -> str:
    """What runs that train as one have in common."""
    if config["job"] != "offrl.jobs.train.run" or config.get("algo") is None:
        return str(number)
    if locate(config["evaluation"], "evaluation") is Estimation:
        return str(number)
    algo = dict(config["algo"])
    for knob in scalar_knobs(cast("type[Algorithm]", locate(algo, "algo"))):
        algo.pop(knob, None)
    free = ("algo", "seed", "name", "tags", "run")
    rest = {key: value for key, value in config.items() if key not in free}
    return json.dumps([algo, rest], sort_keys=True, default=str)
