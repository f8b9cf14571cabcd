"""What a dataset looks like, as numbers, as a table, and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from offrl.data import steps as episodes
from offrl.data.checks import Finding
from offrl.data.spaces import logged_action
from offrl.data.steps import Recording
from offrl.data.store import aside

BARS = 12  # of the histogram
WIDTH = 40  # characters of its longest bar
STYLE = {"ok": "green", "warn": "yellow", "fail": "bold red"}
ABOUT = (
    "dataset_id",
    "algorithm_name",
    "description",
    "seed",
    "code_version",
    "ref_min_score",
    "ref_max_score",
    "source",
)


def summary(recording: Recording) -> dict[str, Any]:
    """Counts, and minimum, mean, deviation and maximum of every column, as JSON can hold them.

    Actions are in the units of the log.
    """
    steps = recording.steps
    ends = episodes.ends(steps)
    terminated = int(np.asarray(steps.terminated)[ends].sum())
    returns, lengths = episodes.returns(steps), episodes.lengths(steps)
    return {
        **{key: recording.metadata[key] for key in ABOUT if recording.metadata.get(key)},
        "transitions": len(steps),
        "episodes": len(ends),
        "terminated": terminated,
        "truncated": len(ends) - terminated,
        "observation": f"{recording.observation_space}",
        "action": f"{recording.action_space}",
        "fingerprint": recording.fingerprint,
        "return": _statistics(returns),
        "length": _statistics(lengths),
        "columns": dict(_columns(recording)),
    }


def print_summary(console: Console, facts: Mapping[str, Any]) -> None:
    """Facts one below the other, then a table of the columns."""
    table = Table(show_header=False, box=None)
    for name, value in facts.items():
        if not isinstance(value, dict):
            table.add_row(Text(name, "bold"), Text(f"{value:,}" if isinstance(value, int) else str(value)))
    console.print(table)
    columns = Table("column", *("min", "mean", "std", "max"))
    for name, row in {"return": facts["return"], "length": facts["length"], **facts["columns"]}.items():
        columns.add_row(name, *(f"{row[key]:.4g}" if row else "-" for key in ("min", "mean", "std", "max")))
    console.print(columns)


def print_findings(console: Console, findings: Sequence[Finding]) -> None:
    """One line for each check, with its severity in colour."""
    table = Table("", "check", "finding", box=None)
    for finding in findings:
        table.add_row(Text(finding.severity, STYLE[finding.severity]), finding.check, Text(finding.message))
    console.print(table)


def print_histogram(console: Console, returns: NDArray[np.float64]) -> None:
    """Returns of the episodes as bars of text."""
    returns = returns[np.isfinite(returns)]
    counts, edges = np.histogram(returns, _edges(returns, BARS))
    console.print(Text("returns of the episodes", "bold"))
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        bar = "█" * int(np.ceil(WIDTH * count / max(counts.max(), 1)))
        console.print(Text(f"{low:10.4g} … {high:<10.4g} {bar} {count:,}"))


def _edges(returns: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Edges of at most `most` bins; of one where returns differ in their last bits only."""
    whole = np.histogram_bin_edges(returns, 1)
    parts = np.linspace(whole[0], whole[-1], min(most, max(1, len(returns))) + 1)
    return parts if (np.diff(parts) > 0).all() else whole


def save(folder: Path, facts: Mapping[str, Any], findings: Sequence[Finding], returns: NDArray[np.float64]) -> None:
    """Write `check.json` and `returns.png` into `folder`."""
    from matplotlib.figure import Figure

    with aside(folder / "check.json") as fresh:
        found = [{"severity": one.severity, "check": one.check, "message": one.message} for one in findings]
        fresh.write_text(json.dumps({**facts, "findings": found}, indent=2))
    returns = returns[np.isfinite(returns)]
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(returns, _edges(returns, 50).tolist(), color="tab:blue")
    title = f"{len(returns):,} episodes" + (f", mean {returns.mean():.4g}" if len(returns) else "")
    axes.set(xlabel="return of an episode", ylabel="episodes", title=title)
    with aside(folder / "returns.png") as fresh:
        figure.savefig(fresh, format="png", dpi=120)


def _columns(recording: Recording) -> list[tuple[str, dict[str, float]]]:
    out: list[tuple[str, dict[str, float]]] = []
    actions = {"action": logged_action(recording.action_space, recording.steps.action)}
    for name, value in (episodes.arrays(recording.steps) | actions).items():
        if name in ("terminated", "truncated", "next_obs") or value.dtype.kind not in "biuf":
            continue
        flat = value.reshape(len(value), -1)
        if value.dtype == np.uint8 or flat.shape[1] == 1:
            out.append((name, _statistics(flat)))
        else:
            out += [(f"{name}[{i}]", _statistics(flat[:, i])) for i in range(flat.shape[1])]
    return out


def _statistics(values: NDArray[Any]) -> dict[str, float]:
    finite = values[np.isfinite(values)]  # the others are a finding of their own
    if finite.size == 0:
        return {}
    numbers = finite.min(), finite.mean(dtype=np.float64), finite.std(dtype=np.float64), finite.max()
    return dict(zip(("min", "mean", "std", "max"), map(float, numbers), strict=True))
