"""Whether the updates of a run are compiled: chosen once, kept in run.json, and kept to when the run is resumed.

What compiling costs and what it saves both grow with the number of operations in an update, and hardly with the sizes
of the tensors: so auto goes by the number of updates (`hardware.compile_from`), except for an algorithm whose time goes
where a compiler does worse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from offrl.algos.base import Algorithm, Solver
from offrl.train.loop import Trainer

FEW = 4  # graphs that a stack may need


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why."""

    compiled: bool
    why: str

    def facts(self) -> dict[str, object]:
        """For run.json."""
        return {"compiling": asdict(self)}


def choose(
    hardware: Mapping[str, Any],
    trainer: Trainer,
    algo: Algorithm,
    facts: Mapping[str, Any],
    *,
    in_company: bool = False,
    devices: int = 1,
) -> Choice:
    """Choose for a run with the `hardware` node, of which `facts` are on record."""
    asked, recorded = hardware["compile"], facts.get("compiling")
    if asked is False:
        return Choice(False, "hardware.compile=false")
    if devices > 1:
        return Choice(False, "an update that several devices share is not compiled")
    phases = getattr(algo, "policy_delay", 1)
    if in_company and phases > FEW:
        return Choice(False, f"in company each of the {phases} phases of algo.policy_delay would be a graph of its own")
    chosen = Choice(True, "hardware.compile=true") if asked is True else _auto(hardware, trainer, algo)
    if in_company and chosen.compiled:
        chosen = Choice(True, f"{chosen.why}; as one stack: runs that train side by side are not compiled")
    if asked == "auto" and recorded is not None:
        chosen = Choice(**recorded)
    if not chosen.compiled:
        return chosen
    failure = _failure(torch.device(hardware["device"]))
    return chosen if failure is None else Choice(False, f"this machine cannot compile: {failure}")


def _auto(hardware: Mapping[str, Any], trainer: Trainer, algo: Algorithm) -> Choice:
    if isinstance(algo, Solver):
        return Choice(False, "an algorithm that solves has no updates to repeat")
    if hardware.get("detect_anomaly"):
        return Choice(False, "hardware.detect_anomaly is about operations as they are written")
    if algo.written_is_faster and torch.device(hardware["device"]).type == "cpu":
        return Choice(False, "what takes its time is faster as written, on a CPU")
    planned, enough = trainer.planned_updates(algo), hardware["compile_from"]
    if planned < enough:
        return Choice(False, f"{planned:,} updates are fewer than hardware.compile_from={enough:,}")
    return Choice(True, f"{planned:,} updates are at least hardware.compile_from={enough:,}")


def _failure(device: torch.device) -> str | None:
    """Why nothing can be compiled here (no C++ compiler, no Python headers, a cache that cannot be written); None: it
    can. Tried on something small, because each part of a tool chain may be missing.
    """
    try:
        torch.compile(_something, fullgraph=True)(torch.zeros(64, device=device))
    except Exception as error:  # whatever a tool chain may raise
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return None


def _something(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1.0
