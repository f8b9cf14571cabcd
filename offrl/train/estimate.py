"""Evaluation without a simulator: what a log says of the policy that is being trained on it, which chooses the best
checkpoint and, if asked, ends the training."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch

from offrl.algos.base import Algorithm
from offrl.data import steps as episodes
from offrl.data.dataset import Dataset
from offrl.data.recipes import Preparation
from offrl.errors import UserError
from offrl.ope.estimator import Estimator
from offrl.ope.logged import Log
from offrl.ope.target import Trained, check_drawing
from offrl.train.callbacks import write_policy
from offrl.train.loop import Moment
from offrl.train.randomness import undisturbed
from offrl.types import Spec


@dataclass(frozen=True, kw_only=True)
class Estimation:
    """When and how to judge by a log."""

    interval: int  # steps of training between two estimates
    patience: int  # estimates without a better one, after which training ends; 0: never
    estimator: Estimator
    stochastic: bool  # the policy as it explores; false: its one best action
    kernel: float | None  # with stochastic=false and continuous actions: the width that this is smoothed to
    draws: int  # actions that stand for a continuous distribution
    discount: float  # gamma of the return that is estimated
    horizon: int | None  # steps of an episode that count; null: the longest in the log
    folds: int  # of cross-fitting, for estimators that weigh
    seed: int

    def judge(self, recipe: Preparation, spec: Spec) -> Judge:
        """Read the log as it was recorded: rewards not rescaled, nor summed over steps, and of episodes not the best
        alone, whose luck would count as the policy's merit."""
        check_drawing(spec, self.stochastic, self.kernel, self.draws)
        if self.interval < 1 or self.patience < 0:
            raise UserError(
                f"evaluation.interval={self.interval} must be at least 1, patience={self.patience} at least 0"
            )
        if self.horizon is not None and self.horizon < 1:
            raise UserError(f"evaluation.horizon={self.horizon}: at least one step, or null")
        recipe = replace(recipe, normalize_reward="none", reward_scale=1.0, reward_shift=0.0, best_fraction=1.0)
        data = recipe.load(discount=1.0)
        if self.estimator.weighs and "log_prob" not in data.steps.extra:
            raise UserError(
                f"evaluation.estimator={type(self.estimator).__name__} weighs actions, but the log has no "
                "probabilities of them: use fitted Q evaluation (evaluation=estimated as it is), or record them"
            )
        return Judge(self, data, spec)


class Judge:
    """Values a policy by the log; keeps the best one as checkpoints/best.pt."""

    def __init__(self, settings: Estimation, data: Dataset, spec: Spec) -> None:
        self.settings, self.data, self.spec = settings, data, spec
        self.interval = settings.interval

    def __call__(self, moment: Moment) -> None:
        run, step = moment.run, moment.trainer.step
        with undisturbed():
            value = self.estimate(run.algo)
        moment.row["evaluation/estimate"] = value
        run.progress.last = {"step": step, "estimate": value}
        if not run.progress.best or value > run.progress.best["estimate"]:
            run.progress.best = run.progress.last
            write_policy(run, run.folder.checkpoints / "best.pt", step)
        elif self.settings.patience and step - run.progress.best["step"] >= self.settings.patience * self.interval:
            moment.stop = True

    def estimate(self, algo: Algorithm) -> float:
        """J of the policy as it is now, by a copy on the CPU.

        Raises `UserError` where the log cannot answer.
        """
        settings = self.settings
        target = Trained(
            copy.deepcopy(algo).cpu().eval(), self.spec, settings.stochastic, settings.kernel, settings.draws
        )
        lengths = episodes.lengths(self.data.steps)
        horizon = settings.horizon or int(lengths.max())
        log = Log(self.data.rows.gather, self.data.spec, lengths, target, horizon, settings.discount)
        estimator = settings.estimator
        behaviour = np.asarray(self.data.steps.extra["log_prob"], np.float64) if estimator.weighs else None
        evidence = log.evidence(behaviour)
        model = estimator.model_of()
        if model is not None:
            folds = min(settings.folds, len(lengths)) if estimator.weighs else 1
            evidence = evidence.with_values(*model.values(log, folds, settings.seed))
        estimator.check(evidence)
        with torch.no_grad():
            evidence = estimator.prepare(log, evidence)
        value = float(estimator(evidence, evidence.ones)[0])
        if not np.isfinite(value):
            raise UserError(
                f"{type(estimator).__name__} gives {value}: the policy has left the log; use evaluation=none or a model"
            )
        return value
