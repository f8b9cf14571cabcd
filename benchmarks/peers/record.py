"""A file of finished trainings, one a seed, that grows: whoever is stopped goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def fill(out: Path, about: dict[str, Any], seeds: Iterable[int], run: Callable[[int], dict[str, Any]]) -> None:
    """Train the seeds that the record at `out` lacks, and rewrite it after each.

    A record of something else than `about` (library, task, settings) is begun anew.
    """
    about = json.loads(json.dumps(about))  # as it will be read
    old: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    runs: list[dict[str, Any]] = old.pop("runs", [])
    if old != about:
        runs = []
    for seed in seeds:
        if all(done["seed"] != seed for done in runs):
            runs.append(run(seed))
            aside = out.with_suffix(".tmp")
            aside.write_text(json.dumps({**about, "runs": runs}, indent=1))
            os.replace(aside, out)
