"""`hardware.devices=N`: the same job in N processes, one a device, which train as one (`offrl/train/ranks.py`)."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, cast

import cloudpickle
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import configure_log

from offrl.build import build, locate
from offrl.cli.hardware import Hardware, seed_everything
from offrl.errors import UserError
from offrl.log.files import replacing

PATIENCE = timedelta(days=1)  # of ranks that wait while the leader evaluates
GRACE = 60.0  # seconds that the leader has for ending a run that has failed everywhere

COLLECTIVE = (UserError, SystemExit, KeyboardInterrupt)  # what all ranks meet at the same step


@dataclass(frozen=True)
class Errand:
    """What a rank needs to know."""

    config: dict[str, Any]
    folder: Path
    meeting: Path  # a folder in which they find each other, and leave how they ended
    hydra: bytes  # Hydra's state, which names the choices and the log


def check(config: Mapping[str, Any]) -> None:
    """Raise `UserError` where the work of several devices cannot be shared."""
    given = f"hardware.devices={config['hardware']['devices']}"
    if config["job"] != "offrl.jobs.train.run":
        raise UserError(f"{given}: only offrl train shares its work; use hardware.devices=1")
    if config["trainer"] and cast(Any, locate(config["trainer"], "trainer")).experience != {"dataset"}:
        raise UserError(f"{given} shares the batches of a log: it needs trainer=offline, or use hardware.devices=1")
    if config["hardware"]["compile"] is True:
        raise UserError(f"{given} averages gradients outside of any graph: add hardware.compile=false")


def launch(config: dict[str, Any], folder: Path) -> float | None:
    """Run the job of `config` in as many processes as it has devices; what it returns, or raises, is the leader's."""
    from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

    check(config)
    with tempfile.TemporaryDirectory(prefix="offrl-ranks-") as scratch:
        meeting = Path(scratch)
        errand = Errand(config, folder, meeting, cloudpickle.dumps(Singleton.get_state()))
        broken: Exception | None = None
        logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # that it ends the others is no news
        with _passing_signals_on():
            try:
                start_processes(_rank, (errand,), nprocs=config["hardware"]["devices"], start_method="spawn")
            except (ProcessRaisedException, ProcessExitedException) as error:
                broken = error
        ends = [pickle.loads(file.read_bytes()) for file in sorted(meeting.glob("end-*"))]  # of our own processes
    if ends and isinstance(ends[0], BaseException):
        raise ends[0]
    if broken is not None:
        raise RuntimeError(str(broken).strip().splitlines()[-1]) from broken
    return ends[0]


@contextlib.contextmanager
def _passing_signals_on() -> Generator[None]:
    """Ctrl-C and SIGTERM are the ranks' to obey, whose process groups are their own."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        del frame
        for child in multiprocessing.active_children():
            if child.pid is not None:
                os.kill(child.pid, number)

    previous = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _rank(number: int, errand: Errand) -> None:
    """One process: meets the others, does the job, and leaves behind how it ended."""
    os.setpgid(0, 0)
    place = errand.meeting / f"end-{number}"
    try:
        result = _work(number, errand)
    except COLLECTIVE as error:
        _leave(place, error)
        if number:  # the leader meets the same, and ends all once it has written its files
            time.sleep(GRACE)
        sys.exit(1)
    if number == 0:
        _leave(place, result)


def _work(number: int, errand: Errand) -> float | None:
    import torch
    import torch.distributed as dist

    config = errand.config
    hardware = cast(Hardware, build(config["hardware"], "hardware"))
    device = hardware.apply()
    Singleton.set_state(cloudpickle.loads(errand.hydra))
    if number == 0:
        settings = HydraConfig.get()
        configure_log(cast(Any, settings.job_logging), settings.verbose)
    else:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process
    if device == "cuda":
        torch.cuda.set_device(number)
    seed_everything(config["seed"])
    meeting = f"file://{errand.meeting / 'meeting'}"
    dist.init_process_group("nccl" if device == "cuda" else "gloo", meeting, PATIENCE, hardware.devices, number)
    result = cast("float | None", locate({"_target_": config["job"]}, "job")(config, errand.folder))
    dist.destroy_process_group()
    return result


def _leave(place: Path, end: object) -> None:
    with replacing(place) as aside:
        aside.write_bytes(pickle.dumps(end))
