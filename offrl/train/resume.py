"""Going on with a run exactly where it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from offrl.errors import UserError
from offrl.train import checkpoint
from offrl.train.loop import Progress, RunContext, Trainer
from offrl.train.randomness import random_state, set_random_state

# What may differ between the run that stopped and the one that goes on: nothing in it changes what is learnt next.
FREE_GROUPS = ("hardware", "logger", "evaluation", "job", "run", "resume", "dry_run", "name", "tags", "hydra")
FREE_KEYS = ("dataset.path",)  # where the data are: what they are shows in their fingerprint
FREE_KNOBS = ("log_interval", "checkpoint_interval", "keep_checkpoints", "pulse", "max_q")

OF_A_RANK = ("trainer", "random")  # what differs between the devices that share a run


def full_state(trainer: Trainer, run: RunContext) -> dict[str, object]:
    """Everything from which the run goes on exactly, beside the algorithm."""
    progress = {"seconds": run.progress.seconds, "last": run.progress.last, "best": run.progress.best}
    return {
        "trainer": trainer.state(),
        "random": random_state(),
        "progress": progress,
        "data": _fingerprint(run),
    }


def restore(trainer: Trainer, run: RunContext) -> None:
    """Put a begun trainer, its algorithm, the records and all generators where the last checkpoint had them.

    Raises `UserError` if there is none, it is damaged, or it is of other code, another config or other data.
    """
    path = latest(run.folder.checkpoints)
    state = checkpoint.load(path)
    refuse_changes(state["config"], run.config, trainer, path)
    if state["data"] != _fingerprint(run):
        raise UserError(f"{path} was made on other data: the fingerprint of the dataset differs")
    own = _own(state, run, path)
    checkpoint.restore_algorithm(run.algo, state["algo"], path)
    trainer.load(own["trainer"], run)
    _check_total(state["config"]["trainer"], trainer)
    run.progress = _progress(state["progress"], run)
    if run.writes:
        run.metrics.truncate(trainer.step)
    set_random_state(own["random"])


def _progress(saved: Mapping[str, Any], run: RunContext) -> Progress:
    """Where the run was, without evaluations that are not of the kind that it goes on with: they cannot be compared."""
    progress = Progress(**saved)
    kind = "estimate" if run.judge else "return"
    if (run.judge or run.evaluator) and kind not in progress.best:
        progress.last, progress.best = {}, {}
    return progress


def _own(state: Mapping[str, Any], run: RunContext, path: Path) -> Mapping[str, Any]:
    """This rank's part of a checkpoint. Raises `UserError` if another number of devices made it."""
    states = [state, *state.get("followers", [])]
    count = run.ranks.count if run.ranks else 1
    if len(states) != count:
        raise UserError(
            f"{path} was made with hardware.devices={len(states)}: resume it with as many, not with {count}"
        )
    return states[run.ranks.number if run.ranks else 0]


def _check_total(saved: Mapping[str, int], trainer: Trainer) -> None:
    """Say that nothing is left to do, if so. Raises `UserError` if fewer steps are asked for than were done."""
    if trainer.step < trainer.total:
        return
    asked = " and ".join(f"trainer.{name}={getattr(trainer, name)}" for name in trainer.totals)
    if trainer.total < sum(saved[name] for name in trainer.totals):  # a whole rollout may end beyond its own total
        raise UserError(f"resume=true: this run has done {trainer.step} steps already, so {asked} is too few")
    print(f"resume: nothing is left to do of {asked}; with more the run goes on")


def latest(folder: Path) -> Path:
    """The last checkpoint. Raises `UserError` if there is none."""
    paths = checkpoint.numbered(folder)
    if not paths:
        raise UserError(f"resume=true: there is no checkpoint in {folder} to go on from; start the run again")
    return paths[-1]


def refuse_changes(saved: Mapping[str, Any], config: Mapping[str, Any], trainer: Trainer, path: Path) -> None:
    """Raise `UserError` that names what changed, unless it cannot matter. Total numbers of steps may change."""
    free = {*FREE_KEYS, *(f"trainer.{name}" for name in (*trainer.totals, *FREE_KNOBS))}
    then, now = _flat(saved), _flat(config)
    changed = [
        f"{key} was {then.get(key)}, now {now.get(key)}"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key) and key not in free and key.split(".")[0] not in FREE_GROUPS
    ]
    if changed:
        more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
        raise UserError(
            f"resume=true cannot go on from {path}: {'; '.join(changed[:4])}{more}. Put it back, or start a new run"
        )


def _flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            flat |= _flat(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(cast("list[Any]", value)) if isinstance(value, list | tuple) else value
    return flat


def _fingerprint(run: RunContext) -> str | None:
    return run.dataset.fingerprint if run.dataset is not None else None
