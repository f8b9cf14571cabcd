"""A measurement instead of a training: what it finds becomes a run folder like any other, so that sweeps compare."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
import yaml

from offrl.build import build
from offrl.errors import UserError
from offrl.log.metrics import MetricsFile
from offrl.train.rundir import RunDir, now, surroundings

Measurement = Callable[[], Iterator[Mapping[str, float]]]  # rows with a `step`; randomness is torch's own


def run(config: dict[str, Any], folder: Path) -> None:
    """Measure what `config["measure"]` describes, and keep each row in `folder`; a dry run prints it alone."""
    if not config.get("measure"):
        raise UserError(
            "offrl.jobs.measure needs a measure node: give measure._target_=... (see experiment=lectures/...)"
        )
    measure = cast(Measurement, build(config["measure"], "measure"))
    if config["dry_run"]:
        print(yaml.safe_dump({key: config[key] for key in ("seed", "measure")}, sort_keys=False, allow_unicode=True))
        return
    home, start = RunDir(folder), time.perf_counter()
    home.create(config)
    home.note(status="running", seed=config["seed"], start=now(), end=None, **surroundings(torch.device("cpu")))
    metrics, status, step = MetricsFile(home.metrics), "failed", 0.0
    try:
        for row in measure():
            step = row["step"]
            metrics.log({"seconds": time.perf_counter() - start, **row})
        status = "finished"
    finally:
        metrics.flush()
        home.note(status=status, end=now(), seconds=time.perf_counter() - start, step=step)
