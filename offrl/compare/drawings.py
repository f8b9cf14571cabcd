"""The figures of lectures, as their configs describe them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from offrl.compare import style
from offrl.compare.groups import say
from offrl.compare.quantities import LEVEL, Absent, Array, Quantity, levels, quantity, there
from offrl.compare.runs import Runs
from offrl.functional.comparison import interval, mean, stratified_bootstrap
from offrl.log.plots import short_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 200  # of a curve, where the runs were not logged at the same steps
REPLICATES = 1000


class Drawing(Protocol):
    """Something that can be drawn from runs, on axes that are already there."""

    @property
    def panels(self) -> int:
        """How many axes it wants, side by side."""
        ...

    def draw(self, runs: Runs, axes: list[Axes]) -> None:
        """Draw. Raises `Absent` where no run has any of it; what some have is drawn."""
        ...


def draw_or_say(drawing: Drawing, runs: Runs, axes: list[Axes]) -> None:
    """Draw; where the runs lack what it is about, say so in its place."""
    try:
        drawing.draw(runs, axes)
    except Absent as absent:
        for each in axes:
            each.clear()
            each.set_axis_off()
        said = style.wrapped(f"nothing to draw: {absent}", style.WIDTH)
        axes[0].text(0.5, 0.5, said, transform=axes[0].transAxes, ha="center", va="center")


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What a panel with two axes may be told."""

    xlabel: str = ""
    ylabel: str = ""
    title: str = ""
    logx: bool = False
    logy: bool = False
    ylim: tuple[float, float] | None = None
    lines: Mapping[str, float] | None = None  # label -> height of a horizontal line
    panels: int = 1

    def finish(self, axes: Axes, entries: int) -> None:
        """Scales, lines, labels and legend, once everything is drawn."""
        for label, height in (self.lines or {}).items():
            axes.axhline(height, label=label, **style.REFERENCE)
        if self.logx:
            axes.set_xscale("log")
        if self.logy:
            axes.set_yscale("log")
        if self.ylim:
            axes.set_ylim(*self.ylim)
        if self.logx:
            style.decades(axes.xaxis, axes.get_xlim())
        if self.logy:
            style.decades(axes.yaxis, axes.get_ylim())
        if self.title:
            axes.set_title(style.wrapped(self.title, style.WIDTH))
        axes.set_xlabel(self.xlabel)
        axes.set_ylabel(style.wrapped(self.ylabel, 0.85 * style.HEIGHT))
        if self.lines or entries > 1:  # a single curve is what its axis says
            style.legend(axes, entries + len(self.lines or {}))


@dataclass(frozen=True, kw_only=True)
class Curves(Frame):
    """Quantities over what was logged, such as steps: the mean over runs and its interval."""

    series: tuple[Mapping[str, Any], ...]  # fields of `Quantity`
    by: str | None = None  # config key: a curve for each of its values; `{value}` in a label stands for it
    x: str = "step"

    def draw(self, runs: Runs, axes: list[Axes]) -> None:
        """One curve for each series and each value of `by`."""
        curves = _series(self.series, runs, self.by)
        for order, (what, part) in enumerate(curves):
            x, y = _aligned(what, part, self.x, self.logx)
            _band(axes[0], order, what.name, x, [y[:, i] for i in range(len(x))])
        if not self.logx:
            axes[0].xaxis.set_major_formatter(lambda step, _: short_number(step))
        self.finish(axes[0], len(curves))


@dataclass(frozen=True, kw_only=True)
class Levels(Frame):
    """Quantities over a numeric config key: the mean over runs and its interval at each value."""

    series: tuple[Mapping[str, Any], ...]  # fields of `Quantity`
    over: str  # the config key
    by: str | None = None  # config key: a curve for each of its values; `{value}` in a label stands for it

    def draw(self, runs: Runs, axes: list[Axes]) -> None:
        """One curve for each series and each value of `by`."""
        curves = _series(self.series, runs, self.by)
        for order, (what, part) in enumerate(curves):
            points = there(partial(_point, what, *step) for step in levels(part, self.over, what.where))
            x = np.array([level for level, _ in points])
            _band(axes[0], order, what.name, x, [values for _, values in points])
        self.finish(axes[0], len(curves))


@dataclass(frozen=True, kw_only=True)
class Bars(Frame):
    """Quantities side by side: a bar for the mean, a dot for each run, a whisker for the interval."""

    series: tuple[Mapping[str, Any], ...]  # fields of `Quantity`
    by: str | None = None  # config key: a bar for each of its values; `{value}` in a label stands for it

    def draw(self, runs: Runs, axes: list[Axes]) -> None:
        """One bar for each series and each value of `by`."""
        bars = _series(self.series, runs, self.by)
        for order, (what, part) in enumerate(bars):
            values = what.values(part)
            middle, low, high = interval(mean, [values], level=LEVEL, replicates=REPLICATES)
            axes[0].bar(order, middle, 0.6, color=style.colour(order), alpha=0.55)
            spread = np.linspace(-0.15, 0.15, len(values)) if len(values) > 1 else np.zeros(1)
            axes[0].plot(order + spread, values, "o", color=style.colour(order), ms=4, mec="white", mew=0.5)
            if np.isfinite(low):
                axes[0].errorbar(order, middle, [[middle - low], [high - middle]], color="black", capsize=5, lw=1.5)
        room = style.WIDTH / (len(bars) + 0.5)
        axes[0].set_xticks(range(len(bars)), [style.wrapped(what.name, room) for what, _ in bars])
        axes[0].grid(axis="x", visible=False)
        self.finish(axes[0], 0)


@dataclass(frozen=True, kw_only=True)
class Scatter(Frame):
    """One quantity against another, a dot for each run; with `diagonal` the line where both are equal."""

    x: Mapping[str, Any]
    y: Mapping[str, Any]
    by: str | None = None  # config key: a colour for each of its values
    diagonal: bool = False

    def draw(self, runs: Runs, axes: list[Axes]) -> None:
        """A colour for each value of `by`."""
        down, up = quantity(self.x), quantity(self.y)
        groups = _split(up, runs, self.by)
        for order, (what, part) in enumerate(groups):
            members = [run for run in what.runs(part) if np.isfinite(down.of(part, run))]
            values = np.array([(down.of(part, run), what.of(part, run)) for run in members]).reshape(-1, 2)
            marker = style.MARKERS[order % len(style.MARKERS)]
            axes[0].plot(*values.T, marker, color=style.colour(order), label=what.name, alpha=0.8)
        if self.diagonal:
            ends = np.array([axes[0].get_xlim(), axes[0].get_ylim()])
            line = (ends.min(), ends.max())
            axes[0].plot(line, line, label="equal", **style.REFERENCE)
        self.finish(axes[0], len(groups))


@dataclass(frozen=True)
class Panels:
    """Several drawings side by side."""

    drawings: tuple[Drawing, ...]

    @property
    def panels(self) -> int:
        """Of all of them."""
        return sum(each.panels for each in self.drawings)

    def draw(self, runs: Runs, axes: list[Axes]) -> None:
        """Each in its own axes."""
        start = 0
        for each in self.drawings:
            draw_or_say(each, runs, axes[start : start + each.panels])
            start += each.panels


def _series(nodes: Iterable[Mapping[str, Any]], runs: Runs, by: str | None) -> list[tuple[Quantity, Runs]]:
    """The series that some run has, each for every value of a config key."""
    return [*chain.from_iterable(there(partial(_split, quantity(node), runs, by) for node in nodes))]


def _split(what: Quantity, runs: Runs, by: str | None) -> list[tuple[Quantity, Runs]]:
    """The quantity for each value of a config key, labelled with it."""
    from dataclasses import replace

    chosen = Runs(tuple(what.runs(runs)), runs.logged)
    if by is None:
        return [(what, chosen)]
    values = dict.fromkeys(run.get(by) for run in chosen)
    label = what.label or "{value}"
    return [
        (
            replace(what, label=label.replace("{value}", say(value))),
            chosen.only(r for r in chosen if r.get(by) == value),
        )
        for value in values
    ]


def _point(what: Quantity, level: float, runs: Runs) -> tuple[float, Array]:
    return level, what.values(runs)


def _aligned(what: Quantity, runs: Runs, x: str, logarithmic: bool) -> tuple[Array, Array]:
    """(x [points], values [runs, points]) up to where every run got."""
    curves = [_curve(what, runs, index, x) for index in range(len(runs))]
    first = curves[0][0]
    if all(np.array_equal(first, own) for own, _ in curves):
        return first, np.array([y for _, y in curves])
    begin, end = max(own[0] for own, _ in curves), min(own[-1] for own, _ in curves)
    axis = np.geomspace(begin, end, POINTS) if logarithmic and begin > 0 else np.linspace(begin, end, POINTS)
    return axis, np.array([np.interp(axis, own, y) for own, y in curves])


def _curve(what: Quantity, runs: Runs, index: int, x: str) -> tuple[Array, Array]:
    run = runs[index]
    own, y = runs.curve(run, what.metric, x)
    if what.minus:
        y = y - np.interp(own, *runs.curve(run, what.minus, x))
    if what.over:
        y = y / np.interp(own, *runs.curve(run, what.over, x))
    return own, y


def _band(axes: Axes, order: int, label: str, x: Array, values: list[Array]) -> None:
    """The mean of the values [runs] at each x, and the interval of it."""
    middle = np.array([own.mean() for own in values])
    marker = style.MARKERS[order % len(style.MARKERS)] if len(x) <= 12 else None
    axes.plot(x, middle, label=label, marker=marker, ms=5, **style.look(order))
    if min(map(len, values)) < 2:
        return
    if len({len(own) for own in values}) == 1:
        low, high = stratified_bootstrap(mean, [np.stack(values, -1)], level=LEVEL, replicates=REPLICATES)
    else:
        low, high = np.array([interval(mean, [own], level=LEVEL, replicates=REPLICATES)[1:] for own in values]).T
    axes.fill_between(x, low, high, color=style.colour(order), alpha=0.18, lw=0)
