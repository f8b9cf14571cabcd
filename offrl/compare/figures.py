"""The figures of a comparison: learning curves, aggregates, performance profiles, probabilities of improvement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from offrl.compare import style
from offrl.compare.comparison import Comparison
from offrl.compare.summary import Bootstrap, improvement, number
from offrl.functional.comparison import (
    Array,
    Interval,
    Scores,
    exceedances,
    interquartile_mean,
    interval,
    mean,
    median,
    optimality_gap,
    stratified_bootstrap,
)
from offrl.log.plots import short_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

THRESHOLDS = 101  # of a performance profile
MOST_PAIRS = 8  # groups up to which every pair is drawn


def draw_curves(comparison: Comparison, path: Path, how: Bootstrap) -> list[Path]:
    """One panel a task (and one for all together, where they compare): IQM over runs with its interval."""
    together = {label: comparison.together(label) for label in comparison.labels} if comparison.comparable else {}
    panels: list[str | None] = list(comparison.tasks)
    if len(panels) > 1 and together and all(part is not None for part in together.values()):
        panels.insert(0, None)
    across = min(3, len(panels))
    down = -(-len(panels) // across)
    with style.drawing(style.across(across), style.HEIGHT * down) as figure:
        for index, task in enumerate(panels):
            axes = figure.add_subplot(down, across, index + 1)
            for order, label in enumerate(comparison.labels):
                if task is None:
                    x, parts = together[label] or (np.empty(0), [])
                elif (label, task) in comparison.curves:
                    aligned = comparison.curves[label, task]
                    x, parts = aligned.x, [aligned.y]
                else:
                    continue
                draw_curve(axes, x, parts, label, order, how)
            finish_curve(axes, comparison.metric, comparison.x, "all tasks" if task is None else task)
            if index == 0:
                style.legend(axes, len(comparison.labels))
        return style.save(figure, path)


def draw_curve(axes: Axes, x: Array, parts: Scores, label: str, order: int, how: Bootstrap) -> None:
    """The IQM of runs [runs, points] of each task over `x`, with a band where there are several runs."""
    middle = interquartile_mean(parts)
    marker = style.MARKERS[order % len(style.MARKERS)] if len(x) <= 12 else None
    axes.plot(x, middle, label=label, marker=marker, ms=4, **style.look(order))
    if all(len(part) > 1 for part in parts):
        low, high = stratified_bootstrap(
            interquartile_mean, parts, level=how.level, replicates=min(how.replicates, 1000), seed=how.seed
        )
        axes.fill_between(x, low, high, color=style.colour(order), alpha=0.18, lw=0)


def finish_curve(axes: Axes, metric: str, x: str, title: str) -> None:
    """Labels and ticks."""
    axes.set_title(style.wrapped(title, style.WIDTH))
    axes.set_xlabel(style.step_label(x))
    axes.set_ylabel(style.metric_label(metric))
    axes.xaxis.set_major_formatter(lambda step, _: short_number(step))
    axes.margins(x=0.01)


def draw_aggregates(comparison: Comparison, path: Path, target: float | None, how: Bootstrap) -> list[Path]:
    """IQM, median, mean and optimality gap of each group, with intervals: a row a group."""
    kinds: list[tuple[str, Callable[..., Array]]] = [("IQM", interquartile_mean), ("median", median), ("mean", mean)]
    if target is not None:
        goal = target
        kinds.append(("optimality gap (less is better)", lambda s, axis=0: optimality_gap(s, goal, axis)))
    labels = comparison.labels
    height = 1.4 + 0.42 * len(labels)
    with style.drawing(3.2 * len(kinds) + 1.0, height) as figure:
        shared = None
        for index, (name, statistic) in enumerate(kinds):
            axes = figure.add_subplot(1, len(kinds), index + 1, sharey=shared)
            shared = shared or axes
            for order, label in enumerate(labels):
                _bar(axes, order, _estimate(statistic, comparison.scores(label), how))
            axes.set_title(name, fontsize=11)
            axes.set_yticks(range(len(labels)), labels)
            axes.tick_params(labelleft=index == 0)
            axes.set_ylim(len(labels) - 0.4, -0.6)
            axes.use_sticky_edges = False
            axes.margins(x=0.08)
            axes.grid(axis="y", visible=False)
        figure.supxlabel(style.metric_label(comparison.metric), fontsize=11)
        return style.save(figure, path)


def _estimate(statistic: Callable[..., Array], scores: Scores, how: Bootstrap) -> Interval:
    return interval(statistic, scores, level=how.level, replicates=how.replicates, seed=how.seed)


def _bar(axes: Axes, order: int, estimate: Interval) -> None:
    """A point with its interval as a thick bar."""
    if estimate.known:
        axes.barh(
            order, estimate.high - estimate.low, left=estimate.low, height=0.5, color=style.colour(order), alpha=0.45
        )
    axes.plot([estimate.value], [order], "|", color="black", ms=16, mew=2)


def draw_profile(comparison: Comparison, path: Path, how: Bootstrap) -> list[Path]:
    """The share of runs above each score."""
    every = np.concatenate([task for label in comparison.labels for task in comparison.scores(label)])
    room = 0.05 * max(float(np.ptp(every)), 1e-9)
    thresholds = np.linspace(every.min() - room, every.max() + room, THRESHOLDS)
    with style.drawing(style.ALONE) as figure:
        axes = figure.add_subplot()
        for order, label in enumerate(comparison.labels):
            above = exceedances(comparison.scores(label), thresholds)
            axes.step(thresholds, mean(above), where="post", label=label, **style.look(order))
            if all(len(task) > 1 for task in above):
                low, high = stratified_bootstrap(
                    mean, above, level=how.level, replicates=min(how.replicates, 1000), seed=how.seed
                )
                axes.fill_between(thresholds, low, high, step="post", color=style.colour(order), alpha=0.18, lw=0)
        axes.set_xlabel(f"{style.metric_label(comparison.metric)} τ")
        axes.set_ylabel("share of runs above τ")
        axes.set_ylim(-0.03, 1.03)
        axes.set_title("Performance profile")
        style.legend(axes, len(comparison.labels))
        return style.save(figure, path)


def draw_improvement(comparison: Comparison, path: Path, how: Bootstrap) -> list[Path]:
    """P(a run of the first group beats one of the second); beyond `MOST_PAIRS` groups, each against the best."""
    pairs = _pairs(comparison)
    chances = [(one, other, improvement(comparison, one, other, how)) for one, other in pairs]
    rows = [(one, other, chance) for one, other, chance in chances if chance is not None]
    if not rows:
        return []
    with style.drawing(7.4, 1.5 + 0.4 * len(rows)) as figure:
        axes = figure.add_subplot()
        for order, (_, _, chance) in enumerate(rows):
            _bar(axes, order, chance)
            axes.text(1.02, order, number(chance.value, 2), va="center", transform=axes.get_yaxis_transform())
        axes.axvline(0.5, color="#888888", lw=1, ls="--")
        axes.set_xlim(-0.02, 1.02)
        axes.set_yticks(range(len(rows)), [f"{one}  >  {other}" for one, other, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("P(first > second)")
        axes.set_title("Probability of improvement")
        return style.save(figure, path)


def _pairs(comparison: Comparison) -> list[tuple[str, str]]:
    """Each pair once, the better group first."""
    labels = sorted(comparison.labels, key=lambda label: -float(interquartile_mean(comparison.scores(label))))
    if len(labels) > MOST_PAIRS:
        return [(labels[0], other) for other in labels[1:]]
    return [(one, other) for index, one in enumerate(labels) for other in labels[index + 1 :]]
