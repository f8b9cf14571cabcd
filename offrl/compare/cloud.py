"""A figure of many dots: one logged quantity against another, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from offrl.compare import style
from offrl.compare.drawings import Frame
from offrl.compare.quantities import Absent, Quantity, picked, quantity, there
from offrl.compare.runs import Curve, Runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True)
class Cloud(Frame):
    """For each of `series` a dot for every row in which its metric and `x` were logged, of its first run."""

    series: tuple[Mapping[str, Any], ...]  # fields of `Quantity`; `at`, `minus` and `over` mean nothing here
    x: str

    def draw(self, runs: Runs, axes: list[Axes]) -> None:
        """The first series lies beneath, in grey: it is what the others are held against."""
        dots = there(partial(_dots, order, quantity(node), runs, self.x) for order, node in enumerate(self.series))
        for order, what, curve in dots:
            shade = style.colour(order - 1) if order else "#b5b5b5"
            marker = style.MARKERS[(order - 1) % len(style.MARKERS)] if order else "."
            axes[0].plot(*curve, marker, ls="", color=shade, ms=4, label=what.name)
        self.finish(axes[0], len(dots))


def _dots(order: int, what: Quantity, runs: Runs, x: str) -> tuple[int, Quantity, Curve]:
    """Those of the first run that has any, beside the place of the series. Raises `Absent` where none has."""
    curves = (runs.curve(run, what.metric, x) for run in picked(runs, what.where, what.name))
    found = next((curve for curve in curves if len(curve.x)), None)
    if found is None:
        raise Absent(what.name, f"no run{f' with {what.where}' if what.where else ''} has {what.metric} and {x}")
    return order, what, found
