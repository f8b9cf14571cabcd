"""Cut a run short without knowing its trainer."""

from __future__ import annotations

from typing import Any, cast

from offrl.build import locate
from offrl.train.loop import Trainer


def shorten(config: dict[str, Any]) -> None:
    """Cut the trainer's totals to `limit`, and its warm-up to half of it, in place; None leaves them alone."""
    limit, config["limit"] = config["limit"], None  # done once: a resumed run may go further
    if limit is None:
        return
    trainer = config["trainer"]
    totals = cast(type[Trainer], locate(trainer, "trainer")).totals
    for name, most in {**dict.fromkeys(totals, limit), "warmup": limit // 2}.items():
        if name in trainer:
            trainer[name] = min(trainer[name], most)
