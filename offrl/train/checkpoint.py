"""Checkpoints: written aside and renamed, with a checksum beside, and read without running anything that is in them."""

from __future__ import annotations

import errno
import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, cast

import torch

from offrl.algos.base import Algorithm
from offrl.build import build
from offrl.errors import UserError
from offrl.log.files import replacing
from offrl.train.rundir import read_facts
from offrl.types import ActionSpec, ObsSpec, Spec, State

FORMAT = 1  # of the files below; a reader refuses any other


def save(path: Path, state: State) -> None:
    """Write `state` (tensors, numbers, strings, lists and dicts of them) and its checksum.

    Raises `UserError` if the disk refuses; a file that was there before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as aside:
        with aside.open("wb") as file:
            _write(file, {"format": FORMAT, **state})
        lines = [f"{_digest(aside)}  {path.name}"]
        if path.exists():  # until the rename below, the old file is the one that must pass
            lines.append(f"{_digest(path)}  {path.name}")
        with replacing(_checksum(path)) as checksum:
            checksum.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write(file: IO[bytes], state: Mapping[str, object]) -> None:
    try:
        torch.save(state, file)
    except RuntimeError as error:  # torch's own writer hides why a write failed
        raise OSError(errno.ENOSPC, f"the disk is full, or fails ({error})") from error


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote, onto the CPU. Raises `UserError` if it is damaged, and says what to use instead."""
    try:
        if _digest(path) not in _checksum(path).read_text(encoding="utf-8").split():
            raise UserError(_damaged(path, "its checksum differs"))
        state = cast("dict[str, Any]", torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: no such file") from error
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(_damaged(path, str(error).splitlines()[0])) from error
    if state.get("format") != FORMAT:
        raise UserError(f"{path} is of format {state.get('format')}, and this version reads format {FORMAT}")
    return state


def _checksum(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(path: Path, why: str) -> str:
    resumable = numbered(path.parent) or numbered(path.parent / "checkpoints")
    if path in resumable:
        older = resumable[: resumable.index(path)]
        remedy = f"delete it to go on from {older[-1].name}" if older else ""
    else:
        remedy = f"checkpoint={resumable[-1].stem} is the last from which the run can go on" if resumable else ""
    return f"{path} is damaged ({why}): {remedy or 'there is no older one, so start the run again'}"


def numbered(folder: Path) -> list[Path]:
    """The checkpoints from which a run can go on, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def save_numbered(folder: Path, step: int, state: State, keep: int) -> Path:
    """Write the checkpoint of `step`, then remove all but the last `keep`, and before it what a killed process left."""
    for rest in folder.glob(".step-*.tmp"):
        rest.unlink()
    path = folder / f"step-{step:012d}.pt"
    save(path, state)
    for old in numbered(folder)[:-keep]:
        old.unlink()
        _checksum(old).unlink(missing_ok=True)
    return path


# --------------------------------------------------------------------------------------------------------- policies


def policy_state(algo: Algorithm, spec: Spec, config: Mapping[str, object], step: int) -> dict[str, object]:
    """All that acting with an algorithm needs."""
    own = {  # of runs that train as one, a tensor is a view of what all of them share, and would be saved whole
        name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in algo.state_dict().items()
    }
    return {"algo": own, "spec": asdict(spec), "config": dict(config), "step": step}


def load_policy(
    run: Path | str, checkpoint: str = "last", device: torch.device | str = "cpu"
) -> tuple[Algorithm, Spec, dict[str, Any]]:
    """The trained algorithm of a run folder, what it sees and may do, and the run's config.

    `checkpoint`: `last` (the final policy, or that of the last checkpoint where the run is not finished), `best` (of
    the best evaluation) or the name of a file in `checkpoints/`.

    Raises `UserError` where there is no such file, it is damaged, or it does not fit this version's code.
    """
    status = read_facts(run).get("status", "finished")
    path = _policy_path(Path(run), checkpoint, final=status == "finished")
    if status != "finished":
        print(f"note: the run {run} is {status}; this is the policy of {path.name}")
    state = load(path)
    spec = spec_from(state["spec"])
    algo = cast(Algorithm, build(state["config"]["algo"], "algo"))
    algo.build(spec)
    restore_algorithm(algo, state["algo"], path)
    return algo.to(device), spec, state["config"]


def _policy_path(run: Path, checkpoint: str, final: bool) -> Path:
    """The file of `checkpoint`; `final`: whether policy.pt, where it is there, is the last one."""
    if not run.is_dir():
        raise UserError(f"run={run}: no such run folder")
    folder = run / "checkpoints"
    if checkpoint == "last":
        policy = [run / "policy.pt"] if (run / "policy.pt").exists() else []
        candidates = [*numbered(folder), *policy] if final else [*policy, *numbered(folder)]
        if not candidates:
            raise UserError(f"run={run}: there is neither policy.pt nor a checkpoint in it yet")
        return candidates[-1]
    path = folder / checkpoint if checkpoint.endswith(".pt") else folder / f"{checkpoint}.pt"
    if not path.exists():
        there = ", ".join(sorted(other.stem for other in folder.glob("*.pt"))) or "none"
        raise UserError(f"checkpoint={checkpoint}: no such file in {folder} (there: {there})")
    return path


def spec_from(state: Mapping[str, Any]) -> Spec:
    """The inverse of `dataclasses.asdict` for a `Spec`."""

    def tuples(node: Mapping[str, Any]) -> dict[str, Any]:
        return {key: tuple(value) if isinstance(value, list | tuple) else value for key, value in node.items()}  # pyright: ignore[reportUnknownArgumentType]

    return Spec(ObsSpec(**tuples(state["obs"])), ActionSpec(**tuples(state["action"])))


def restore_algorithm(algo: Algorithm, state: Mapping[str, Any], path: Path) -> None:
    """Load parameters, moments and counters. Raises `UserError` that names what does not fit."""
    try:
        algo.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        more = f" (and {len(lines) - 3} more)" if len(lines) > 3 else ""
        raise UserError(
            f"{path} does not fit {type(algo).__name__} as this code and config build it: {' '.join(lines[:3])}{more}"
        ) from error
