"""Who made the log, guessed from it: probabilities b(a|s) where none were recorded, and what lies outside the data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from offrl.errors import UserError
from offrl.nn.learner import Learner
from offrl.nn.networks import MLP, Normalize
from offrl.nn.policies import Choices, Density, Normal, Policy
from offrl.ope.evidence import Array
from offrl.ope.features import spaced
from offrl.ope.logged import CHUNK, Log
from offrl.ope.values import assign
from offrl.types import Loss, Network

BINS = 10
TEMPERATURES = tuple(float(t) for t in np.geomspace(0.2, 5.0, 65))


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """Recipe: cloning by maximum likelihood, each part of the log judged by a model fitted to the others.

    Calibrated by one temperature that is fitted where the model was not (C. Guo et al., "On Calibration of Modern
    Neural Networks", ICML 2017, arXiv:1706.04599, section 4.2): of the logits, or of the spread of a Gaussian."""

    network: MLP
    policy: Policy
    lr: float
    updates: int  # for each part
    batch_size: int
    folds: int
    calibrate: bool
    seed: int

    def fit(self, log: Log) -> Guess:
        """Train on this log. Draws from torch's own generator, which it seeds.

        Raises `UserError` for settings that train nothing, and for a log that cannot be split.
        """
        if len(log.lengths) < 2:
            raise UserError(
                "the log has one episode: nothing can be said from it; record more (offrl collect episodes=…)"
            )
        if self.updates < 1 or self.batch_size < 1:
            raise UserError(f"behaviour.updates={self.updates}, behaviour.batch_size={self.batch_size}: at least 1")
        fold = assign(len(log.lengths), self.folds, self.seed, key="behaviour.folds")[log.episode]
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            models = [self._train(log, fold, part) for part in range(self.folds)]
        guess = Guess(log, models, torch.as_tensor(fold), 1.0)
        return guess.calibrated() if self.calibrate else guess

    def _train(self, log: Log, fold: NDArray[np.int64], part: int) -> Learner[torch.nn.Module]:
        rows = torch.as_tensor(np.flatnonzero((fold != part) | (self.folds == 1)))
        learner = Learner(self.policy.build(log.spec, self.network, needs="density"), self.lr)
        sample = log.read(rows[torch.randint(len(rows), (min(len(rows), CHUNK),))]).obs
        for module in learner.modules():
            if isinstance(module, Normalize):
                module.set(sample.mean(0), sample.std(0) + 1e-3)
        for update in tqdm(range(self.updates), "behaviour model", leave=False, disable=None):
            learner.lr.fill_(self.lr * (1.0 - update / self.updates))
            batch = log.read(rows[torch.randint(len(rows), (self.batch_size,))])
            learner.descend(_loss, batch.obs, batch.action)
        return learner


def _loss(network: Network, obs: Tensor, action: Tensor) -> Loss:
    return -cast(Density, network(obs)).clipped_log_prob(action).mean(), {}


@dataclass(frozen=True, eq=False)
class Guess:
    """A behaviour model of every part, for the rows that it was not fitted to."""

    log: Log
    models: list[Learner[torch.nn.Module]]
    fold: Tensor  # [rows]
    temperature: float

    @torch.no_grad()
    def log_prob(self, rows: Tensor, obs: Tensor, action: Tensor) -> Tensor:
        """[B] log b(action | obs), for observations of these rows."""
        parts = [_warmed(model(obs), self.temperature).clipped_log_prob(action) for model in self.models]
        return torch.stack(parts)[self.fold[rows], torch.arange(len(rows))].double()

    @cached_property
    def logged(self) -> Array:
        """[rows] log b(a|s) of what was done."""
        return self.log.gather(lambda c: self.log_prob(_rows(c.rows), c.batch.obs, c.batch.action))

    def calibrated(self) -> Guess:
        """With the temperature under which rows that a model has not seen are likeliest, found on a sample of them."""
        rows = spaced(self.log.rows, 4 * CHUNK)
        batch = self.log.read(rows)
        guesses = [Guess(self.log, self.models, self.fold, t) for t in TEMPERATURES]
        return max(guesses, key=lambda guess: float(guess.log_prob(rows, batch.obs, batch.action).sum()))

    @cached_property
    @torch.no_grad()
    def reliability(self) -> tuple[Array, Array, Array]:
        """(what was foretold, how often it came true, weight of the bin), each [bins].

        Discrete actions: probabilities of all actions, in bins. Continuous ones: the share of logged actions at or
        below each decile of the foretold distribution, coordinate by coordinate.
        """
        foretold, true, weight = np.zeros(BINS), np.zeros(BINS), np.zeros(BINS)
        for chunk in self.log.chunks():
            rows, batch = _rows(chunk.rows), chunk.batch
            for part, model in enumerate(self.models):
                mine = (self.fold[rows] == part).numpy()
                chance, hit = _promises(_warmed(model(batch.obs[mine]), self.temperature), batch.action[mine])
                bins = np.minimum((chance * BINS).astype(int), BINS - 1)
                foretold += np.bincount(bins, chance, BINS)
                true += np.bincount(bins, hit, BINS)
                weight += np.bincount(bins, minlength=BINS)
        if not self.log.discrete and self.log.spec.action.kind == "continuous":  # bins of probability integrals
            levels = (np.arange(BINS) + 1.0) / BINS
            return levels, np.cumsum(weight) / weight.sum(), np.full(BINS, 1.0 / BINS)
        known = np.maximum(weight, 1.0)
        return foretold / known, true / known, weight / weight.sum()


def _rows(part: slice) -> Tensor:
    return torch.arange(part.start, part.stop)


def _warmed(choice: object, temperature: float) -> Density:
    if isinstance(choice, Choices):
        sizes = tuple(part.shape[-1] for part in choice.log_probs)
        return Choices(torch.cat(choice.log_probs, -1) / temperature, sizes, choice.single)
    if isinstance(choice, Normal):
        return Normal(choice.mean, choice.log_std + float(np.log(temperature)), choice.limit)
    assert isinstance(choice, Density)
    return choice


def _promises(choice: Density, action: Tensor) -> tuple[Array, Array]:
    """(probabilities, whether they came true), flat; of a Gaussian the probability integrals of the actions."""
    if isinstance(choice, Choices):
        actions = action[:, None] if choice.single else action
        chance = [part.exp() for part in choice.log_probs]
        hit = [torch.nn.functional.one_hot(actions[:, i], part.shape[-1]) for i, part in enumerate(chance)]
        joined = torch.cat(chance, -1).flatten(), torch.cat(hit, -1).flatten()
        return joined[0].double().numpy(), joined[1].double().numpy()
    assert isinstance(choice, Normal)
    integral = torch.special.ndtr((action - choice.mean) / choice.log_std.exp()).flatten().double().numpy()
    return integral, np.zeros_like(integral)


def calibration_error(reliability: tuple[Array, Array, Array]) -> float:
    """Mean distance of foretold and true, weighted by how often (the expected calibration error of Guo et al. 2017)."""
    foretold, true, weight = reliability
    return float((np.abs(foretold - true) * weight).sum())
