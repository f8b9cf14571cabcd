"""`offrl compare`: tables, figures and a report of runs beside each other."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

from offrl.compare.comparison import Comparison, compare
from offrl.compare.report import write_report
from offrl.compare.runs import Runs, load_runs
from offrl.compare.summary import Bootstrap, shown
from offrl.errors import UserError

AT, FAILED = ("last", "best", "mean"), ("leave_out", "count")
FULL_SCORE = 100.0  # of an expert, in D4RL's scale


def run(config: dict[str, Any], folder: Path) -> None:
    """Compare the runs at `config["runs"]`, print the scores, and write the report into `config["to"]`."""
    del folder
    _check(config)
    if config["watch"]:
        from offrl.compare.live import watch

        watch(lambda: _load(config), lambda runs: _compare(runs, config), config["every"])
        return
    comparison = _compare(_load(config), config)
    how = Bootstrap(config["level"], config["replicates"], config["seed"])
    target = _target(comparison, config)
    tables = write_report(comparison, Path(config["to"]), target, how, shlex.join(["offrl", "compare", *_words()]))
    for note in comparison.notes:
        print(f"note: {note}")
    for table in tables[:-1]:  # the last lists every run
        print(f"\n{table.title}\n")
        for row in table.rows:
            print(
                "  "
                + "   ".join(f"{key} {shown(value)}" if key != "group" else str(value) for key, value in row.items())
            )
    print(f"\nreport: {Path(config['to']) / 'report.html'}")


def _check(config: dict[str, Any]) -> None:
    if not config["runs"]:
        raise UserError("offrl compare needs runs: give runs=FOLDER, a glob, or a list of them")
    for key, known in (("at", AT), ("failed", FAILED)):
        if config[key] not in known:
            raise UserError(f"{key}={config[key]} should be {' or '.join(known)}")
    if not 0.0 < config["level"] < 1.0:
        raise UserError(f"level={config['level']} should be between 0 and 1")
    if config["replicates"] < 100:
        raise UserError(f"replicates={config['replicates']}: an interval needs at least 100")


def _load(config: dict[str, Any]) -> Runs:
    places = [config["runs"]] if isinstance(config["runs"], str) else [str(place) for place in config["runs"]]
    runs = load_runs(places).where(config["where"])
    if not len(runs):
        raise UserError(f"where={config['where']}: no run is left")
    return runs


def _compare(runs: Runs, config: dict[str, Any]) -> Comparison:
    by = [config["by"]] if isinstance(config["by"], str) else config["by"]
    return compare(runs, by, config["metric"], config["x"], config["at"], config["failed"], config["pivot"])


def _target(comparison: Comparison, config: dict[str, Any]) -> float | None:
    """What counts as full marks: as the user says, or an expert's score."""
    if config["target"] is not None:
        return float(config["target"])
    return FULL_SCORE if comparison.metric.endswith("/score") else None


def _words() -> list[str]:
    """The command line as it was typed, without what the launcher added: keys of its own, and quotes for Hydra."""
    typed = [word for word in sys.argv[1:] if not word.startswith(("job=", "hydra."))]
    return [re.sub(r"^([^=]+)='([^'\\]*)'$", r"\1=\2", word) for word in typed]
