"""All estimates of one policy on one log, with their intervals."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from offrl.errors import UserError
from offrl.ope.behaviour import Behaviour, Guess, calibration_error
from offrl.ope.estimator import Estimator
from offrl.ope.evidence import Array, Evidence
from offrl.ope.intervals import Bounds, Interval
from offrl.ope.logged import Log
from offrl.ope.support import Support, support
from offrl.ope.values import ValueModel


@dataclass(frozen=True)
class Settings:
    """How to judge."""

    estimators: Mapping[str, Estimator]
    intervals: Mapping[str, Interval]
    behaviour: Behaviour
    propensities: str  # auto, recorded or estimated
    clip: float | None  # largest ratio p/b of a step; null: none
    folds: int  # of cross-fitting
    baseline: float | None  # for P(J > baseline); null: the mean logged return
    seed: int


@dataclass(frozen=True)
class Estimate:
    """One row of the report."""

    value: float | None
    intervals: dict[str, Bounds] = field(default_factory=dict[str, Bounds])
    note: str = ""
    weighs: bool = True  # it rests on importance weights


@dataclass(frozen=True)
class Assessment:
    """What a log says about a policy."""

    support: Support
    logged: float  # mean discounted return of the log: of the behaviour policy
    logged_error: float  # its standard error
    baseline: float
    estimated: bool  # whether the behaviour probabilities are a model's
    calibration: float  # calibration error of that model
    reliability: tuple[Array, Array, Array]
    clipped: float | None  # share of the ratios that the clip touched
    estimates: dict[str, Estimate]
    levels: dict[str, float]  # of each interval

    def doubtful(self, row: Estimate) -> bool:
        """Whether it rests on weights that the log cannot give."""
        return row.weighs and self.support.hopeless

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "support": dataclasses.asdict(self.support) | {"verdict": self.support.verdict()},
            "logged_return": self.logged,
            "logged_return_error": self.logged_error,
            "baseline": self.baseline,
            "behaviour": {
                "estimated": self.estimated,
                "calibration_error": self.calibration,
                "reliability": [part.tolist() for part in self.reliability],
            },
            "clipped_share": self.clipped,
            "levels": self.levels,
            "estimates": {name: dataclasses.asdict(row) for name, row in self.estimates.items()},
        }


def assess(log: Log, recorded: Array | None, settings: Settings, guess: Guess | None = None) -> Assessment:
    """Judge `log.target`; `recorded` is log b(a|s) of every row [rows], None where it was not recorded; `guess` is the
    behaviour model where one has been fitted to this log already, for another target.

    Raises `UserError` for a log that nothing can be said about, or if not one of the estimators can be had.
    """
    guess = guess or settings.behaviour.fit(log)
    estimated = settings.propensities == "estimated" or (settings.propensities == "auto" and recorded is None)
    if not estimated and recorded is None:
        raise UserError(
            "propensities=recorded, but the log has no probabilities of its actions: name their column "
            "(dataset.log_prob=… or dataset.probability=…), or let them be estimated (propensities=estimated)"
        )
    if recorded is not None and not estimated:
        check_probabilities(recorded, discrete=log.spec.action.kind != "continuous")
    behaviour = guess.logged if estimated else cast(Array, recorded)
    evidence, weighs = _weighed(log, behaviour)
    clipped = None
    if settings.clip is not None:
        evidence, clipped = clip(evidence, settings.clip)
    logged = evidence.returns
    baseline = float(logged.mean()) if settings.baseline is None else settings.baseline
    fitted = Fitted(log, evidence, settings)
    rows = {name: _estimate(one, fitted, weighs, baseline) for name, one in settings.estimators.items()}
    if all(row.value is None for row in rows.values()):
        raise UserError("; ".join(f"{name}: {row.note}" for name, row in rows.items()))
    return Assessment(
        support(log, evidence, guess, weighs),
        float(logged.mean()),
        float(logged.std(ddof=1) / math.sqrt(len(logged))),
        baseline,
        estimated,
        calibration_error(guess.reliability),
        guess.reliability,
        clipped,
        rows,
        {name: one.level for name, one in settings.intervals.items()},
    )


def check_probabilities(log_prob: Array, discrete: bool) -> None:
    """Raise `UserError`, with the row, for probabilities that are none."""
    wrong = ~np.isfinite(log_prob) | (discrete & (log_prob > 1e-6))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"row {row} of the log has log_prob={log_prob[row]:g} (probability {np.exp(log_prob[row]):.3g}): whoever "
            "acted must have given every logged action a probability above 0 and, if actions are discrete, at most 1; "
            f"{int(wrong.sum()):,} rows are like this. Correct them, or use propensities=estimated"
        )


def clip(evidence: Evidence, largest: float) -> tuple[Evidence, float]:
    """(ratios of at most `largest`, the share of them that this changed)."""
    if largest <= 0.0:
        raise UserError(f"clip={largest:g}: the largest ratio must be above 0; null clips nothing")
    limit = math.log(largest)
    touched = float((evidence.log_ratio > limit)[evidence.mask].mean())
    return dataclasses.replace(evidence, log_ratio=np.minimum(evidence.log_ratio, limit) * evidence.mask), touched


def _weighed(log: Log, behaviour: Array) -> tuple[Evidence, str | None]:
    """(the evidence, why it has no weights where it has none)."""
    try:
        evidence = log.evidence(behaviour)
    except UserError as error:
        return log.evidence(None), f"{error}."
    if np.isneginf(evidence.log_weight[:, -1]).all():
        reason = "in every episode the log has an action that the target never takes."
        return log.evidence(None), reason
    return evidence, None


@dataclass(frozen=True)
class Fitted:
    """Evidence with the values of models, each fitted once."""

    log: Log
    evidence: Evidence
    settings: Settings
    known: dict[tuple[ValueModel, int], Evidence] = field(default_factory=dict[tuple[ValueModel, int], Evidence])

    def by(self, model: ValueModel, folds: int) -> Evidence:
        """The evidence with this model's values."""
        if (model, folds) not in self.known:
            values = model.values(self.log, folds, self.settings.seed)
            self.known[model, folds] = self.evidence.with_values(*values)
        return self.known[model, folds]


def _estimate(estimator: Estimator, fitted: Fitted, weighs: str | None, baseline: float) -> Estimate:
    """One row; with the reason where there is no estimate."""
    if estimator.weighs and weighs is not None:
        return Estimate(None, note=weighs)
    try:
        evidence = fitted.evidence
        if (model := estimator.model_of()) is not None:
            # What is corrected by the data must not have been fitted to them; what is not may use all of them.
            folds = min(fitted.settings.folds, evidence.episodes) if estimator.weighs else 1
            evidence = fitted.by(model, folds)
        estimator.check(evidence)
        evidence = estimator.prepare(fitted.log, evidence)
        value = float(estimator(evidence, evidence.ones)[0])
    except UserError as error:
        return Estimate(None, note=str(error))
    if not math.isfinite(value):
        return Estimate(None, note="weights beyond what a number can hold")
    bounds = {name: one(estimator, evidence, baseline) for name, one in fitted.settings.intervals.items()}
    return Estimate(value, bounds, weighs=estimator.weighs)
