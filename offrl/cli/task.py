"""What Hydra runs: one job with one config. A sweep has many, maybe in processes that import only this module."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from offrl.build import build, locate
from offrl.cli import names
from offrl.cli.hardware import Hardware, seed_everything
from offrl.cli.messages import Reported, expected, explain, save_traceback

Job = Callable[[dict[str, Any], Path], float | None]  # (resolved config, run folder) -> what a sweep optimises

DEBUG = "OFFRL_DEBUG"  # an environment variable, because the processes of a sweep have to see it too

UNREAD = 141  # what a shell reports of a process whose output nobody reads: 128 + SIGPIPE, which not every system has

names.register()  # here, because configs are resolved in those processes as well


def task(config: DictConfig) -> float | None:
    """Set the machine and the seed, and run the job.

    Raises `SystemExit` after a failure that it has told about; in a sweep `Reported`, so that the other runs go on.
    """
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    log = folder / f"{settings.job.name}.log"
    try:
        plain = cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
        return _prepare(plain)(plain, folder)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _unread():
            raise SystemExit(UNREAD) from None
        if os.environ.get(DEBUG) == "1":
            raise
        told = expected(error)
        message = explain(error) if told else f"{explain(error)}\n{save_traceback(error, log)}"
    # Outside of the handler: what is raised there holds on to the error, and so to all that the run had in memory.
    if settings.mode == RunMode.MULTIRUN:
        print(f"offrl: error in {folder.name}: {message}", file=sys.stderr)
        if "lecture" in config:
            return None  # a run that fails may be what the lecture is about: its verdict says so
        raise Reported(message)
    print(f"offrl: error: {message}", file=sys.stderr)
    if told:
        _discard(folder, log)
    raise SystemExit(1)


def _unread() -> bool:
    """Whether nobody reads stdout any more, as after `offrl … | head`, which is no mistake; it is then closed."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains as it ends
        return True
    return False


def _discard(folder: Path, log: Path) -> None:
    """Remove the folder of a run that was refused before it wrote more than its log."""
    hydra = folder / ".hydra"
    if hydra.is_dir() and {path.name for path in folder.iterdir()} <= {hydra.name, log.name}:
        shutil.rmtree(folder)


def _prepare(config: dict[str, Any]) -> Job:
    """Apply hardware and seed, and only then import the job: it imports torch."""
    hardware = cast(Hardware, build(config["hardware"], "hardware"))
    config["hardware"]["device"] = hardware.apply()
    seed_everything(config["seed"])
    if hardware.devices > 1 and not config.get("dry_run"):
        from offrl.cli.devices import launch

        return launch
    return locate({"_target_": config["job"]}, "job")
