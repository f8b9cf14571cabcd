"""Curves of one run as a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from offrl.log.files import replacing
from offrl.log.metrics import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Columns = Mapping[str, NDArray[np.float64]]
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)  # safe for the colour-blind
LOGARITHMIC = 100.0  # largest over smallest magnitude from which on losses are drawn on a logarithmic axis


def plot_run(metrics: Path, picture: Path, title: str) -> None:
    """Draw into a PNG whichever of return, score, success, losses, values and speed the metrics hold."""
    if not metrics.exists():
        return
    columns = read_metrics(metrics)
    panels = [
        draw for pattern, draw in PANELS if any(re.fullmatch(pattern, name) for name in _present(columns))
    ]
    if not panels:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(len(panels), 3)
    down = -(-len(panels) // across)
    figure = Figure(figsize=(4.6 * across, 3.4 * down), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=13)
    for index, draw in enumerate(panels):
        axes = figure.add_subplot(down, across, index + 1)
        draw(axes, columns)
        _finish(axes)
    with replacing(picture) as aside:
        figure.savefig(aside, format="png")


def _present(columns: Columns) -> list[str]:
    return [name for name, values in columns.items() if np.isfinite(values).any()]


def _line(
    axes: Axes, columns: Columns, name: str, label: str, colour: str, *, marked: bool = False
) -> NDArray[np.bool_]:
    """Draw one column where it was logged; returns where that was."""
    there = np.isfinite(columns[name])
    marker = "o" if marked and there.sum() <= 60 else None
    axes.plot(
        columns["step"][there], columns[name][there], color=colour, label=label, lw=1.6, marker=marker, ms=3
    )
    return there


def _returns(axes: Axes, columns: Columns) -> None:
    if "train/return" in columns:
        _line(axes, columns, "train/return", "training episodes", "#999999")
    if "evaluation/return" in columns:
        there = _line(axes, columns, "evaluation/return", "evaluation (mean ± std)", COLOURS[0], marked=True)
        mean, std = columns["evaluation/return"][there], columns["evaluation/return_std"][there]
        axes.fill_between(columns["step"][there], mean - std, mean + std, color=COLOURS[0], alpha=0.2, lw=0)
    axes.set_title("Episode return")
    axes.legend(fontsize=8, frameon=False)


def _score(axes: Axes, columns: Columns) -> None:
    _line(axes, columns, "evaluation/score", "score", COLOURS[2], marked=True)
    axes.axhline(100.0, color="#999999", lw=1, ls="--")
    axes.set_title("Normalised score (0 random, 100 expert)")


def _success(axes: Axes, columns: Columns) -> None:
    _line(axes, columns, "evaluation/success", "success", COLOURS[3], marked=True)
    axes.set_ylim(-0.05, 1.05)
    axes.set_title("Success rate of evaluations")


def _losses(axes: Axes, columns: Columns) -> None:
    names = [name for name in _present(columns) if name.endswith("/loss")]
    for name, colour in zip(names, COLOURS, strict=False):
        _line(axes, columns, name, name.removesuffix("/loss"), colour)
    sizes = np.concatenate([np.abs(columns[name][np.isfinite(columns[name])]) for name in names])
    if sizes.max() > LOGARITHMIC * max(float(np.median(sizes)), 1e-12):
        axes.set_yscale("symlog", linthresh=max(float(np.median(sizes)), 1e-6))
    axes.set_title("Losses")
    axes.legend(fontsize=8, frameon=False)


def _values(axes: Axes, columns: Columns) -> None:
    names = [name for name in _present(columns) if name in ("critic/mean", "value/mean")]
    for name, colour in zip(names, (COLOURS[1], COLOURS[2]), strict=False):
        _line(axes, columns, name, {"critic/mean": "Q", "value/mean": "V"}[name], colour)
    axes.set_title("Mean value estimates")
    axes.legend(fontsize=8, frameon=False)


def _rate(axes: Axes, columns: Columns) -> None:
    for kind, colour in (("updates", COLOURS[0]), ("env_steps", COLOURS[4])):
        name = f"rate/{kind}_per_second"
        if name in columns and np.nanmax(columns[name]) > 0:
            _line(axes, columns, name, kind.replace("_", " "), colour)
    axes.set_ylim(bottom=0)
    axes.set_title("Speed [1/s]")
    axes.legend(fontsize=8, frameon=False)


def _finish(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 1000 else f"{value:g}")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


PANELS = (  # what a panel shows, as a pattern of column names, and how it is drawn
    (r"(evaluation|train)/return", _returns),
    (r"evaluation/score", _score),
    (r"evaluation/success", _success),
    (r"\w+/loss", _losses),
    (r"(critic|value)/mean", _values),
    (r"rate/.*", _rate),
)
