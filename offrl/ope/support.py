"""What a log can support, looked at before any estimate is believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from offrl.ope.behaviour import Guess
from offrl.ope.evidence import Array, Evidence
from offrl.ope.intervals import mean_weight, wrong_weights
from offrl.ope.logged import Log

HANDFUL = 10.0  # an effective sample size below which weighted figures are noise
PLENTY = 100.0  # and above which they may be trusted
DEGENERATE = 0.1  # share of the episodes that still count
RARE = 0.01  # share of the logged actions that are as unlikely as an action called outside the data
HISTOGRAM = np.array([-np.inf, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, np.inf])  # log10 of a weight


@dataclass(frozen=True)
class Support:
    """How much of what the target policy would do is in the log."""

    episodes: int
    steps: int
    cut_short: int  # episodes that the log breaks off before the horizon, without an end
    weighs: str | None  # None: weights are known; else why there are none
    ess: float | None  # effective number of episodes, (Σ w)² / Σ w²
    ess_by_step: list[float]
    degenerate_at: int | None  # first step at which less than a tenth of the episodes counts
    largest_share: float | None  # of all weight, in one episode
    mean_weight: float | None  # should be 1
    mean_weight_error: float | None  # its standard error
    weight_histogram: list[int]  # over `HISTOGRAM`
    overlap: float | None  # 1 − the mean distance between what both policies do, in total variation
    outside: float  # share of the target's actions that are about as unlikely as the rarest hundredth of the log's

    @property
    def hopeless(self) -> bool:
        """Whether weighting cannot answer."""
        return self.ess is None or self.ess < HANDFUL or self.wrong is not None

    @property
    def wrong(self) -> str | None:
        """Why weights of such a mean are not to be believed; None where they may be, or where there are none."""
        if self.mean_weight is None or self.mean_weight_error is None:
            return None
        return wrong_weights(self.mean_weight, self.mean_weight_error)

    def verdict(self) -> str:
        """One sentence on what may be believed."""
        model = (
            f"a model speaks of actions of which {self.outside:.0%} lie outside the data"
            if self.outside > 0.1
            else f"a model stays within the data ({self.outside:.0%} of the target's actions lie outside)"
        )
        if self.weighs is not None:
            return f"No weights: {self.weighs} Only estimates by a model are possible, and {model}."
        if self.wrong is not None:
            return (
                f"THE LOG CANNOT ANSWER BY WEIGHTING: {self.wrong}; believe none of the weighted figures, and {model}."
            )
        if self.hopeless:
            return (
                f"THE LOG CANNOT ANSWER BY WEIGHTING: its {self.episodes} episodes count as {self.ess:.1f} of the "
                f"target's own; believe none of the weighted figures, and as for fqe and direct, {model}."
            )
        believed = (
            "wpdis and wdr may be believed within their intervals, is and pdis less"
            if (self.ess or 0.0) < PLENTY
            else "weighted figures may be believed within their intervals"
        )
        return f"The log counts as {self.ess:.0f} episodes of the target's own: {believed}; {model}."


def support(log: Log, evidence: Evidence, guess: Guess, weighs: str | None) -> Support:
    """Look at a log; `weighs` says why there are no weights, where there are none."""
    cut = len(log.breaks())
    outside = outside_share(log, guess)
    if weighs is not None:
        return Support(evidence.episodes, log.rows, cut, weighs, None, [], None, None, None, None, [], None, outside)
    weight = evidence.relative_weight
    with np.errstate(invalid="ignore", divide="ignore"):
        by_step = np.nan_to_num(weight.sum(axis=0) ** 2 / (weight**2).sum(axis=0))[1:]
        share = float(np.nan_to_num(weight[:, -1].max() / weight[:, -1].sum()))
    low = np.flatnonzero(by_step < DEGENERATE * evidence.episodes)
    with np.errstate(divide="ignore"):
        logs = np.log10(evidence.weight[:, -1])
    mean, error = mean_weight(evidence)
    return Support(
        episodes=evidence.episodes,
        steps=log.rows,
        cut_short=cut,
        weighs=None,
        ess=float(by_step[-1]),
        ess_by_step=by_step.tolist(),
        degenerate_at=int(low[0]) if len(low) else None,
        largest_share=share,
        mean_weight=mean,
        mean_weight_error=error,
        weight_histogram=np.histogram(np.clip(logs, -1e9, 1e9), HISTOGRAM)[0].tolist(),
        overlap=float(np.minimum(np.exp(np.minimum(evidence.log_ratio, 0.0))[evidence.mask], 1.0).mean()),
        outside=outside,
    )


def outside_share(log: Log, guess: Guess) -> float:
    """By the behaviour model: how often the target acts less likely than all but `RARE` of the logged actions."""
    limit = float(np.quantile(guess.logged, RARE)) - 1e-6
    total, count = 0.0, 0
    for chunk in log.chunks():
        rows, obs = torch.arange(chunk.rows.start, chunk.rows.stop), chunk.batch.obs
        choices = log.target.choices(obs)
        if log.discrete:
            every = [torch.full((len(rows),), k) for k in range(choices.shape[1])]
            unlikely = torch.stack([guess.log_prob(rows, obs, action) < limit for action in every], 1)
            total += float((unlikely * choices).sum())
            count += len(rows)
        else:
            drawn = choices[:, 0].to(chunk.batch.action.dtype)
            total += float((guess.log_prob(rows, obs, drawn) < limit).sum())
            count += len(rows)
    return total / count


def lines(support: Support) -> list[tuple[str, str]]:
    """(name, figure) of everything, for a table."""
    out = [("episodes", f"{support.episodes:,}"), ("steps", f"{support.steps:,}")]
    if support.cut_short:
        out.append(("episodes cut short", f"{support.cut_short:,} (what follows is missing from their returns)"))
    if support.weighs is None:
        out += [
            ("effective episodes", f"{support.ess:.1f}"),
            ("effective at step", _thinned(np.array(support.ess_by_step))),
            (
                "a tenth is left",
                "to the end" if support.degenerate_at is None else f"up to step {support.degenerate_at}",
            ),
            ("largest share", f"{support.largest_share:.1%} of all weight in one episode"),
            ("mean weight", f"{support.mean_weight:.3g} ± {support.mean_weight_error:.2g} (should be 1)"),
            ("weights by power of ten", _histogram(support.weight_histogram)),
            ("overlap", f"{support.overlap:.0%} of what both policies do is alike"),
        ]
    return [*out, ("outside the data", f"{support.outside:.1%} of the target's actions")]


def _thinned(by_step: Array) -> str:
    chosen = np.unique(np.linspace(0, len(by_step) - 1, 6).astype(int))
    return "  ".join(f"{t + 1}:{by_step[t]:.0f}" for t in chosen)


def _histogram(counts: list[int]) -> str:
    names = ["<-4", *(f"{power}" for power in range(-4, 4)), ">4"]
    return "  ".join(f"{name}:{count}" for name, count in zip(names, counts, strict=True) if count)
