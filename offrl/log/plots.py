"""Curves of one run as a picture."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from offrl.log.files import replacing
from offrl.log.metrics import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Columns = Mapping[str, NDArray[np.float64]]
Draw = Callable[["Axes", Columns], None]
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)  # safe for the colour-blind
LOGARITHMIC = 100.0  # largest over median loss from which on the axis is logarithmic
SMOOTH = 200  # more rows than this are drawn pale, with their running mean


def plot_run(metrics: Path, picture: Path, title: str) -> None:
    """Draw into a PNG whichever of returns, score, success, belief, values, losses and speed the metrics hold."""
    columns = read_metrics(metrics) if metrics.exists() else {}
    panels = _panels([name for name, values in columns.items() if np.isfinite(values).any()])
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
        _finish(axes, float(columns["step"][-1]))
    with replacing(picture) as aside:
        figure.savefig(aside, format="png")


def _panels(names: list[str]) -> list[Draw]:
    """What to draw, in order, for columns of these names."""
    kinds: list[tuple[str, Draw]] = [
        (r"(evaluation|train)/return", _returns),
        (r"evaluation/estimate", _estimate),
        (r"evaluation/score", _score),
        (r"evaluation/success", _success),
        (r"evaluation/believed", _belief),
        (r"(critic|value)/mean", _values),
        *((re.escape(name), functools.partial(_loss, name)) for name in names if name.endswith("/loss")),
        (r"rate/.*", _speed),
    ]
    return [draw for pattern, draw in kinds if any(re.fullmatch(pattern, name) for name in names)]


def _line(axes: Axes, columns: Columns, name: str, label: str, colour: str) -> None:
    """Draw a column where it was logged, if it was: points if few, their running mean if many."""
    there = np.isfinite(columns.get(name, np.empty(0)))
    if not there.any():
        return
    step, value = columns["step"][there], columns[name][there]
    if len(step) > SMOOTH:
        axes.plot(step, value, color=colour, alpha=0.25, lw=1)
        width = len(step) // 50
        value = np.convolve(value, np.full(width, 1.0 / width), "valid")
        step = step[width - 1 :]
    axes.plot(step, value, color=colour, label=label, lw=1.6, marker="o" if len(step) <= 60 else None, ms=3)


def _returns(axes: Axes, columns: Columns) -> None:
    _line(axes, columns, "train/return", "training episodes", "#888888")
    _line(axes, columns, "evaluation/return", "evaluation (mean ± std)", COLOURS[0])
    if "evaluation/return" in columns:
        mean, std = columns["evaluation/return"], columns["evaluation/return_std"]
        there = np.isfinite(mean)
        low, high = (mean - std)[there], (mean + std)[there]
        axes.fill_between(columns["step"][there], low, high, color=COLOURS[0], alpha=0.2, lw=0)
    axes.set_title("Episode return")
    axes.legend(fontsize=8, frameon=False)


def _estimate(axes: Axes, columns: Columns) -> None:
    _line(axes, columns, "evaluation/estimate", "estimate", COLOURS[0])
    axes.set_title("Return, estimated from the log")


def _score(axes: Axes, columns: Columns) -> None:
    _line(axes, columns, "evaluation/score", "score", COLOURS[2])
    axes.axhline(100.0, color="#888888", lw=1, ls="--")
    axes.set_title("Normalised score (0 random, 100 expert)")


def _success(axes: Axes, columns: Columns) -> None:
    _line(axes, columns, "evaluation/success", "success", COLOURS[3])
    axes.set_ylim(-0.05, 1.05)
    axes.set_title("Success rate of evaluations")


def _belief(axes: Axes, columns: Columns) -> None:
    _line(axes, columns, "evaluation/believed", "believed by the critic", COLOURS[1])
    _line(axes, columns, "evaluation/discounted", "what followed", COLOURS[0])
    axes.set_title("Discounted return from the start")
    axes.legend(fontsize=8, frameon=False)


def _values(axes: Axes, columns: Columns) -> None:
    _line(axes, columns, "critic/mean", "Q", COLOURS[1])
    _line(axes, columns, "value/mean", "V", COLOURS[2])
    axes.set_title("Mean value estimates")
    axes.legend(fontsize=8, frameon=False)


def _loss(name: str, axes: Axes, columns: Columns) -> None:
    _line(axes, columns, name, name, COLOURS[1])
    values = columns[name][np.isfinite(columns[name])]
    if values.min() > 0 and values.max() > LOGARITHMIC * np.median(values):
        axes.set_yscale("log")
    axes.set_title(name.replace("/", " ").capitalize())


def _speed(axes: Axes, columns: Columns) -> None:
    for kind, colour in (("updates", COLOURS[0]), ("env_steps", COLOURS[4])):
        if np.nanmax(columns[f"rate/{kind}_per_second"]) > 0:
            _line(axes, columns, f"rate/{kind}_per_second", kind.replace("_", " "), colour)
    axes.set_ylim(bottom=0)
    axes.set_title("Speed [1/s]")
    axes.legend(fontsize=8, frameon=False)


def _finish(axes: Axes, last_step: float) -> None:
    axes.set_xlim(0, 1.02 * last_step)
    axes.set_xlabel("step")
    axes.xaxis.set_major_formatter(lambda step, _: short_number(step))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def short_number(step: float) -> str:
    """1500000 -> 1.5M."""
    if step >= 1e6:
        return f"{step / 1e6:g}M"
    return f"{step / 1e3:g}k" if step >= 1e3 else f"{step:g}"
