"""Ratios of visits against the exact ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from offrl.errors import UserError
from offrl.functional.mdp import make_mdp
from offrl.ope.dice import Dice, DualDice, GenDice
from offrl.ope.features import Features, Fourier, Landmarks
from offrl.ope.linear import Linear
from tests.ope.kit import Episodes, episodes

SHARES = Landmarks(count=300, width=0.05)  # of three states: one-hot
DUAL = DualDice(features=SHARES, ridge=1e-9)
GENERAL = GenDice(features=SHARES, ridge=1e-9, normalization=1.0, rounds=4)
DISCOUNT = 0.9


def recorded(ends: bool) -> Episodes:
    """Three states and two actions, 80 steps; with `ends` the last state is the end."""
    generator = torch.Generator().manual_seed(0)
    transition = torch.rand(3, 2, 3, generator=generator, dtype=torch.float64)
    transition[0, :, 2] *= 0.3
    transition[1, :, 2] *= 0.3
    transition /= transition.sum(-1, keepdim=True)
    reward = torch.rand(3, 2, 3, generator=generator, dtype=torch.float64)
    mdp = make_mdp(
        transition, reward, discount=DISCOUNT, terminal=[False, False, ends], start=[0.6, 0.4, 0.0], horizon=80
    )
    behaviour = torch.tensor([[0.5, 0.5]] * 3, dtype=torch.float64)
    target = torch.tensor([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]], dtype=torch.float64)
    return episodes(mdp, behaviour, target, 400, seed=1)


def exact(every: Episodes) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """[S, A] visits of the target, discounted and in all 1 where nothing ends, over the shares of the log."""
    mdp, target = every.mdp, every.target
    states, actions = target.shape
    onward = (mdp.transition * (~mdp.terminal)).reshape(-1, states)  # [SA, S]
    under = (onward[:, :, None] * target).reshape(len(onward), -1)
    start = (mdp.start[:, None] * target).flatten()
    visits = (1.0 - DISCOUNT) * torch.linalg.solve(torch.eye(len(under)) - DISCOUNT * under.T, start)
    pairs = (every.state * actions + every.action)[every.mask]
    share = torch.bincount(pairs, minlength=states * actions) / len(pairs)
    return (visits / share).reshape(states, actions).numpy()


@pytest.mark.parametrize(
    ("estimator", "ends"), [(DUAL, False), (DUAL, True), (GENERAL, False), (replace(GENERAL, normalization=0.0), True)]
)
def test_ratios_are_the_exact_ones(estimator: Dice, ends: bool) -> None:
    every = recorded(ends)
    log, _ = every.log()
    evidence = estimator.prepare(log, log.evidence(None))
    assert evidence.marginal is not None
    known = exact(every)[every.state.numpy(), every.action.numpy()]
    assert np.abs(evidence.marginal - known)[evidence.mask].mean() < 0.05
    assert estimator(evidence, evidence.ones)[0] == pytest.approx(every.truth, rel=0.05)


@pytest.mark.parametrize("features", [SHARES, Fourier(count=5, bandwidth=1.0, seed=0)], ids=str)
def test_linear_dual_dice_is_lstdq(features: Features) -> None:
    log, _ = recorded(True).log()
    dual = DualDice(features=features, ridge=1e-3)
    evidence = dual.prepare(log, log.evidence(None))
    _, v = Linear(stationary=True, features=features, ridge=1e-3).values(log, 1, 0)
    assert dual(evidence, evidence.ones)[0] == pytest.approx(v[:, 0].mean(), rel=1e-9)


@pytest.mark.parametrize("estimator", [DUAL, replace(GENERAL, normalization=0.0)], ids=lambda one: type(one).__name__)
def test_a_horizon_leaves_visits_of_an_endless_future_as_they_are(estimator: Dice) -> None:
    log, _ = recorded(True).log()
    values: list[float] = []
    for horizon in (80, 3):
        short = replace(log, horizon=horizon)
        evidence = estimator.prepare(short, short.evidence(None))
        values.append(float(estimator(evidence, evidence.ones)[0]))
    assert values[1] == pytest.approx(values[0], rel=1e-9)


def test_refusals() -> None:
    log, _ = recorded(True).log()
    with pytest.raises(UserError, match="below 1"):
        DUAL.prepare(replace(log, discount=1.0), log.evidence(None))
    with pytest.raises(UserError, match="normalization=0"):
        GENERAL.prepare(log, log.evidence(None))
