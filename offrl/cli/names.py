"""Readable names of runs and of their folders, for `${...}` in configs."""

from __future__ import annotations

import re

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

_LONGEST = 120  # characters of one folder's name; file systems allow 255 bytes


def register() -> None:
    """Make `${run_name:}` and `${folder_name:TEXT}` known to configs."""
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)


def run_name() -> str:
    """Name a run by its choices, such as `iql-hopper_medium`: the algorithm, and what it learns from."""
    choices = HydraConfig.get().runtime.choices
    place = choices.get("dataset") or choices.get("env")
    parts = [str(part) for part in (choices.get("algo"), place) if part]
    return folder_name("-".join(parts)) or str(choices.get("job"))


def folder_name(text: str) -> str:
    """`text` with everything that is awkward in a folder's name replaced, and cut to a sane length."""
    return re.sub(r"[^\w.+-]+", "_", text).strip("_")[:_LONGEST]
