"""What a critic believes beside what then happens, state by state."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from offrl.algos.base import Discounted
from offrl.algos.estimates import believed_return
from offrl.compare import style
from offrl.data.columns import return_to_go
from offrl.data.steps import ends, starts
from offrl.types import Steps

Array = NDArray[np.float64]
CUT_OFF = 0.05  # weight that a return may still have when the time limit ends it; beyond, its truth is not known
MOST = 4000  # states of one picture


class Belief(NamedTuple):
    """Of some states that were visited."""

    believed: Array  # [states]
    true: Array  # [states] discounted return that followed

    @property
    def error(self) -> float:
        """Mean of believed less true."""
        return float((self.believed - self.true).mean())


def belief(algo: Discounted, steps: Steps) -> Belief | None:
    """Belief and truth on steps that the algorithm's own policy took; None without a critic, or where all is cut off.

    `steps.obs` has to be all that the policy saw: no history windows.
    """
    first, last = starts(steps), ends(steps)
    stop = np.repeat(last + 1, last - first + 1)
    left = stop - np.arange(len(steps))  # steps to the end of the episode
    known = np.asarray(steps.terminated)[stop - 1] | (algo.discount**left < CUT_OFF)
    rows = np.flatnonzero(known)
    if not len(rows):
        return None
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST)).astype(int)]
    obs = torch.from_numpy(np.ascontiguousarray(steps.obs[rows])).to(next(algo.parameters()).device)
    believed = believed_return(algo, obs)
    if believed is None:
        return None
    truth = return_to_go(steps.reward, stop, algo.discount)[rows]
    return Belief(believed.cpu().numpy().astype(np.float64), truth.astype(np.float64))


def draw_belief(found: Belief, path: Path, title: str) -> None:
    """A dot for each state; on the dotted line a critic is right."""
    with style.drawing(style.ALONE, style.HEIGHT + 1.2, title) as figure:
        axes = figure.add_subplot()
        axes.plot(found.true, found.believed, ".", color=style.colour(0), alpha=0.35, ms=5, rasterized=True)
        ends_ = [min(found.true.min(), found.believed.min()), max(found.true.max(), found.believed.max())]
        axes.plot(ends_, ends_, label="believed = true", **style.REFERENCE)
        axes.set_xlabel("discounted return that followed")
        axes.set_ylabel("return that the critic believed")
        axes.set_title(f"mean error {found.error:+.3g} over {len(found.true)} states", fontsize=11)
        axes.legend()
        style.save(figure, path)
