"""How long episodes last under the policies that were learned: a figure, and a rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from offrl.build import build
from offrl.compare import maps, style
from offrl.compare.drawings import Frame
from offrl.compare.quantities import LEVEL, REPLICATES, Array, groups, picked
from offrl.compare.runs import Run, Runs
from offrl.compare.summary import number, shown
from offrl.compare.verdict import Finding, settled, surely
from offrl.data.steps import ends, lengths
from offrl.envs.make import Env
from offrl.functional.comparison import Interval, stratified_bootstrap
from offrl.train.checkpoint import load_policy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True)
class Survival(Frame):
    """The share of episodes that go on after so many steps, over all runs that a condition picks."""

    series: Mapping[str, str]  # label -> condition on runs, see `Runs.where`
    episodes: int  # of each run
    seed: int = 0  # of the first states

    def draw(self, runs: Runs, axes: list[Axes]) -> None:
        """One curve for each condition, over the lengths of its episodes."""
        found = groups(self.series, runs)
        for order, (label, chosen) in enumerate(found):
            lasted = np.concatenate([episode_lengths(run, self.episodes, self.seed) for run in chosen])
            fell = np.sort(lasted[np.isfinite(lasted)])
            left = 1.0 - np.arange(len(fell) + 1) / len(lasted)
            axes[0].step(np.append(0, fell), left, where="post", label=label, **style.look(order))
        self.finish(axes[0], len(found))


@dataclass(frozen=True, kw_only=True)
class Compounds:
    """A rule: what is lost against an episode that never fails grows faster than the horizon from `short` to `long`.

    Lost of T steps is T less the steps that an episode lasts. Errors that cost the same whenever they happen lose in
    proportion to T; those that lead to further errors up to T² (Ross et al. 2011, arXiv:1011.0686, section 2).
    """

    where: str  # condition on runs
    label: str
    short: int
    long: int
    episodes: int  # of each run
    seed: int = 0  # of the first states

    def __call__(self, runs: Runs) -> Finding:
        """The ratio of both losses, each a mean over all runs, which are drawn anew for the interval."""
        chosen = picked(runs, self.where, self.label)
        lasted = [episode_lengths(run, self.episodes, self.seed) for run in chosen]
        lost = [np.array([np.maximum(steps - own, 0).mean() for own in lasted]) for steps in (self.short, self.long)]
        proportion = self.long / self.short

        def ratio(groups: list[Array], axis: int = 0) -> Array:
            means = groups[0].mean(axis)
            return means[..., 1] / means[..., 0]

        found = Interval(float(lost[1].mean() / lost[0].mean()), float("nan"), float("nan"))
        if len(lasted) > 1:
            low, high = stratified_bootstrap(ratio, [np.stack(lost, -1)], level=LEVEL, replicates=REPLICATES)
            found = Interval(found.value, float(low), float(high))
        holds = settled(found.known and found.low > proportion, len(lasted), exact=False)
        few, many = (number(float(each.mean())) for each in lost)
        what = f"{self.label} loses {few} of {self.short} steps and {many} of {self.long}"
        verb = surely(holds, f"above {proportion:g}")
        return Finding(holds, f"{what} ({len(lasted)} runs): {shown(found)} times as many, {verb}.")


def episode_lengths(run: Run, episodes: int, seed: int) -> Array:
    """How many steps the episodes of a run's policy last [episodes]; infinite where they were cut off."""
    policy, _, config = load_policy(run.folder)
    env = cast(Env, build(config["env"], "env"))
    steps = maps.follow(policy.eval(), env, episodes, episodes, seed)
    return np.where(steps.terminated[ends(steps)], lengths(steps), np.inf)
