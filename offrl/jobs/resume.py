"""`offrl resume`: go on with every run of a sweep that stopped, together where they can."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any, cast

from offrl.build import locate
from offrl.errors import UserError
from offrl.jobs import train
from offrl.train.grouping import groups
from offrl.train.loop import Trainer
from offrl.train.rundir import read_config
from offrl.train.together import Company


def run(config: dict[str, Any], folder: Path) -> None:
    """Resume the runs below `config["runs"]`, those that may train as one in company."""
    del folder  # each run has its own
    folders = sorted(path.parent for path in Path(config["runs"]).rglob("run.json"))
    if not folders:
        raise UserError(f"runs={config['runs']}: there is no run folder in it")
    configs = [_resumed(each, config) for each in folders]
    failed: list[str] = []
    for group in groups(configs):
        jobs = [partial(train.run, copy.deepcopy(configs[i]), folders[i]) for i in group]
        print(f"resume: {len(group)} {'run' if len(group) == 1 else 'runs together'}")
        company = Company(mode=config["mode"])
        with company.signals():
            results = company.run(jobs, [configs[i]["seed"] for i in group])
        for i, result in zip(group, results, strict=True):
            if isinstance(result, BaseException) and not isinstance(result, Exception):
                raise result  # asked to stop
            if isinstance(result, Exception):
                failed.append(f"{folders[i].name}: {result}")
    if failed:
        raise UserError("; ".join(failed))


def _resumed(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The config with which a run goes on: its own, on this machine, maybe for longer."""
    own: dict[str, Any] = read_config(folder) | {"resume": True, "run": str(folder), "dry_run": False}
    own["hardware"] = own["hardware"] | {"device": config["hardware"]["device"]}
    if config["total"] is not None:
        totals = cast("type[Trainer]", locate(own["trainer"], "trainer")).totals
        if len(totals) != 1:
            raise UserError(f"total={config['total']}: the trainer of {folder} has several totals: {', '.join(totals)}")
        own["trainer"] = own["trainer"] | {totals[0]: config["total"]}
    return own
