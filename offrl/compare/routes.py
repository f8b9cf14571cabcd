"""A figure of ways through a gridworld or a maze: those in the log, and those of the policies that were learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from offrl.build import build
from offrl.compare import maps, style
from offrl.compare.quantities import groups, picked
from offrl.compare.runs import Run, Runs
from offrl.data.recipes import Preparation
from offrl.data.steps import ends, starts
from offrl.envs.make import Env
from offrl.train.checkpoint import load_policy
from offrl.train.rundir import read_config

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRACED = 40  # trips of a log that are drawn, at most


@dataclass(frozen=True, kw_only=True)
class Routes:
    """One map: the way of one episode of each run that `ways` picks, or the trips of the first run's log.

    `ways` maps a label to a condition on runs (see `Quantity.where`); of `log` the trips are told apart by their start.
    """

    title: str
    log: str | None = None  # condition on the run whose log is drawn
    ways: Mapping[str, str] | None = None
    marks: Mapping[str, tuple[int, int]] | None = None  # letters on the map: [row, column], or [x, y] in a maze
    seed: int = 0  # of the first run's first state; the next run has the next one
    panels: int = 1

    def draw(self, runs: Runs, axes: list[Axes]) -> None:
        """The map."""
        chosen = groups(self.ways or {}, runs)
        first: Run = picked(runs, self.log, self.title)[0] if self.log is not None else chosen[0][1][0]
        drawn = _logged(first) if self.log is not None else {}
        for label, some in chosen:
            drawn[label] = [way for order, run in enumerate(some) for way in _followed(run, self.seed + order)]
        plan = maps.need_plan(_env(first))
        for order, ways in enumerate(drawn.values()):
            maps.draw_routes(axes[0], plan, ways, style.colour(order))
        for letter, (down, right) in (self.marks or {}).items():
            place = (right, down) if plan.grid else (down, right)
            box = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "black", "lw": 0.8}
            axes[0].annotate(letter, place, ha="center", va="center", fontsize=12, weight="bold", bbox=box, zorder=8)
        axes[0].set_title(style.wrapped(self.title, style.WIDTH))
        if self.ways and len(drawn) > 1:
            handles = [axes[0].plot([], [], color=style.colour(i), lw=2.5)[0] for i in range(len(drawn))]
            axes[0].legend(handles, list(drawn), loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=len(drawn))


def _env(run: Run) -> Env:
    return cast(Env, build(read_config(run.folder)["env"], "env"))


def _logged(run: Run) -> dict[str, list[maps.Array]]:
    """The first trips of the run's log, by where they start."""
    steps = cast(Preparation, build(read_config(run.folder)["dataset"], "dataset")).read().steps
    plan, first, last = maps.need_plan(_env(run)), starts(steps), ends(steps)
    chosen = np.linspace(0, len(first) - 1, min(len(first), TRACED)).astype(int)
    place, arrived = plan.place(steps.obs), plan.place(steps.next_obs)
    groups: dict[str, list[maps.Array]] = {}
    for trip in chosen:
        rows = slice(int(first[trip]), int(last[trip]) + 1)
        way = np.concatenate([place[rows], arrived[rows][-1:]])
        groups.setdefault(str(way[0].tolist()), []).append(way)
    return groups


def _followed(run: Run, seed: int) -> list[maps.Array]:
    """One episode of the run's policy, as it is judged."""
    policy: Any = load_policy(run.folder)[0].eval()
    env = _env(run)
    return maps.routes(maps.need_plan(env), maps.follow(policy, env, 1, 1, seed))
