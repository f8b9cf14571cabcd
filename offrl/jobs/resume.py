"""`offrl resume`: go on with every run of a sweep that stopped, together where they can, and otherwise one by one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from offrl.build import locate
from offrl.compare.lecture import report
from offrl.errors import UserError
from offrl.jobs import train
from offrl.train import checkpoint
from offrl.train.grouping import groups
from offrl.train.loop import Trainer
from offrl.train.rundir import read_config, read_facts
from offrl.train.together import Company, Mode

TRAINING = "offrl.jobs.train.run"
Saved = Mapping[Path, dict[str, Any]]  # run folder -> its config


def run(config: dict[str, Any], folder: Path) -> None:
    """Resume the runs below `config["runs"]`, those that may train as one in company, and conclude their lectures.

    Raises `UserError` that names the runs that failed, once all have ended.
    """
    del folder  # each run has its own
    if not config["runs"]:
        raise UserError("offrl resume needs the folder of a sweep: give runs=FOLDER")
    saved = {path.parent: read_config(path.parent) for path in sorted(Path(config["runs"]).rglob("run.json"))}
    if not saved:
        raise UserError(f"runs={config['runs']}: there is no run folder in it")
    _need_training(saved, config["runs"])
    stopped = [each for each, own in saved.items() if not _finished(each, own, config["total"])]
    if len(stopped) < len(saved):
        print(f"resume: {len(saved) - len(stopped)} of {len(saved)} runs are finished; total=STEPS makes them longer")
    shared = [each for each in stopped if saved[each]["hardware"].get("devices", 1) > 1]
    for each in shared:
        stopped.remove(each)
    failed = [f"{each.name}: hardware.devices > 1 needs `offrl train run={each} resume=true`" for each in shared]
    failed += _go_on(stopped, [_resumed(each, saved[each], config) for each in stopped], config["mode"])
    _conclude(saved, len(stopped))
    if failed:
        raise UserError("; ".join(failed))


def _need_training(saved: Saved, place: str) -> None:
    """Raise `UserError` where there is a run that trains nothing."""
    other = [each for each, own in saved.items() if own["job"] != TRAINING]
    if other:
        raise UserError(
            f"runs={place}: {len(other)} of {len(saved)} runs are no trainings ({other[0].name}: "
            f"{saved[other[0]]['job']}); a lecture's measurements are not resumed: run it again"
        )


def _finished(folder: Path, own: Mapping[str, Any], total: int | None) -> bool:
    """Whether nothing is left to do of a run."""
    done = read_facts(folder).get("status") == "finished"
    return done and (total is None or total <= own["trainer"][_total(folder, own, total)])


def _total(folder: Path, own: Mapping[str, Any], total: int) -> str:
    """The key of the trainer that `total` stands for. Raises `UserError` where it could be several."""
    totals = cast("type[Trainer]", locate(own["trainer"], "trainer")).totals
    if len(totals) != 1:
        raise UserError(f"total={total}: the trainer of {folder} has several totals: {', '.join(totals)}")
    return totals[0]


def _resumed(folder: Path, own: dict[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with which a run goes on: its own, on this machine, maybe for longer."""
    more = {"resume": True, "run": str(folder), "dry_run": False}
    more["hardware"] = own["hardware"] | {"device": config["hardware"]["device"]}
    if config["total"] is not None:
        more["trainer"] = own["trainer"] | {_total(folder, own, config["total"]): config["total"]}
    return own | more


def _go_on(folders: Sequence[Path], configs: Sequence[dict[str, Any]], mode: Mode) -> list[str]:
    """Resume the runs, group by group; returns what to say of those that failed."""
    failed: list[str] = []
    for group in _in_step(groups(configs), folders):
        jobs = [partial(train.run, copy.deepcopy(configs[i]), folders[i]) for i in group]
        print(f"resume: {len(group)} {'run' if len(group) == 1 else 'runs together'}")
        results = _together(jobs, [configs[i]["seed"] for i in group], mode) if len(jobs) > 1 else [_alone(jobs[0])]
        failed += [f"{folders[i].name}: {end}" for i, end in zip(group, results, strict=True) if end is not None]
    return failed


def _in_step(alike: Sequence[Sequence[int]], folders: Sequence[Path]) -> list[list[int]]:
    """The groups, divided where runs stopped at different steps: an update of a stack is the same one for all."""
    divided: dict[tuple[int, str], list[int]] = {}
    for number, group in enumerate(alike):
        for i in group:
            last = checkpoint.numbered(folders[i] / "checkpoints")[-1:]
            divided.setdefault((number, "".join(path.name for path in last)), []).append(i)
    return list(divided.values())


def _together(jobs: Sequence[Callable[[], object]], seeds: Sequence[int], mode: Mode) -> list[Exception | None]:
    """Do the jobs in company; what failed in each. Raises what asked them to stop."""
    company = Company(mode=mode)
    with company.signals():
        results = company.run(jobs, seeds)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            raise result
    return [result if isinstance(result, Exception) else None for result in results]


def _alone(job: Callable[[], object]) -> Exception | None:
    """Do the job as `offrl train` would; what failed in it."""
    try:
        job()
    except Exception as error:
        return error
    return None


def _conclude(saved: Saved, resumed: int) -> None:
    """Draw and judge the lectures whose sweeps these runs belong to."""
    sweeps = {each.parent: each for each, own in saved.items() if "lecture" in own}
    lectures = {sweep: one for sweep, one in sweeps.items() if (sweep / "multirun.yaml").is_file()}
    for sweep, one in lectures.items():
        report(saved[one]["lecture"], sweep, read_facts(one)["command"][1:])
    if lectures and resumed:
        print("resume: runs that had not begun when the lecture stopped are missing; its own command makes them all")
