"""Which policy is judged: as it explores, its one best action, or that action smoothed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from offrl.errors import UserError
from offrl.ope.importance import WeightedImportanceSampling
from offrl.ope.logged import Log
from offrl.ope.target import Trained
from offrl.types import ActionSpec, Batch, ObsSpec, Spec

CONTINUOUS = Spec(ObsSpec((1,)), ActionSpec("continuous", (1,), (), (-1.0,), (1.0,)))
DISCRETE = Spec(ObsSpec((1,)), ActionSpec("discrete", (), (3,)))


@dataclass(frozen=True)
class Leaning:
    """Acts at half of what it sees; explores without a density that it knows."""

    def act(self, obs: Tensor) -> Tensor:
        return 0.5 * obs

    def explore(self, obs: Tensor, step: int) -> Tensor:
        return 0.5 * obs + 0.1 * torch.randn_like(obs)

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        raise UserError("no density")


LEANING: Any = Leaning()
SMOOTH = Trained(LEANING, CONTINUOUS, stochastic=False, kernel=0.3, draws=4000)


def test_a_smoothed_action_has_the_density_of_what_is_drawn() -> None:
    """A bandit that pays s·a, uniformly tried: weighted and drawn, the clipped Gaussian is worth the same."""
    generator = torch.Generator().manual_seed(0)
    obs, action = (torch.rand(20_000, 1, generator=generator) * 2.0 - 1.0 for _ in range(2))
    columns = (obs, action, (obs * action)[:, 0], torch.zeros(20_000), obs)

    def read(rows: Tensor) -> Batch:
        return Batch(*(column[rows] for column in columns))

    log = Log(read, CONTINUOUS, np.ones(20_000, np.int64), SMOOTH, 1, 1.0)
    evidence = log.evidence(np.full(20_000, -np.log(2.0)))
    assert evidence.weight[:, -1].mean() == pytest.approx(1.0, abs=0.05)  # hardly any of it beyond the bounds
    torch.manual_seed(0)
    drawn = (obs[:200] * SMOOTH.choices(obs[:200]).mean(1)).mean()
    assert WeightedImportanceSampling()(evidence, evidence.ones)[0] == pytest.approx(1.0 / 6.0, abs=0.01)
    assert float(drawn) == pytest.approx(0.5 * float(obs[:200].square().mean()), abs=0.01)


def test_a_smoothed_action_is_not_clipped_where_there_are_no_bounds() -> None:
    endless = Spec(ObsSpec((1,)), ActionSpec("continuous", (1,), (), (-np.inf,), (np.inf,)))
    target, obs = replace(SMOOTH, spec=endless), torch.tensor([[4.0]])
    assert target.choices(obs).mean().item() == pytest.approx(2.0, abs=0.05)
    assert target.log_prob(obs, 0.5 * obs).item() == pytest.approx(-np.log(0.3 * np.sqrt(2.0 * np.pi)), abs=1e-5)


def test_one_action_of_a_continuum_is_for_models_alone() -> None:
    one = replace(SMOOTH, kernel=None)
    obs = torch.tensor([[0.4], [-0.8]])
    assert one.choices(obs).tolist() == pytest.approx(np.array([[[0.2]], [[-0.4]]]))
    with pytest.raises(UserError, match=r"kernel=0.1.*estimator=fqe"):
        one.log_prob(obs, obs)
    with pytest.raises(UserError, match="no density"):
        replace(one, stochastic=True).log_prob(obs, obs)


def test_the_best_of_discrete_actions_is_certain() -> None:
    algo: Any = SimpleNamespace(act=lambda obs: torch.tensor([2, 0]))
    target = Trained(algo, DISCRETE, stochastic=False, kernel=None, draws=1)
    obs = torch.zeros(2, 1)
    assert target.choices(obs).tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    assert target.log_prob(obs, torch.tensor([2, 1])).tolist() == [0.0, -np.inf]


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"kernel": 0.0}, "kernel=0.0"),
        ({"stochastic": True}, "stochastic=false"),
        ({"spec": DISCRETE}, "discrete"),
        ({"draws": 0}, "draws=0"),
        ({"algo": SimpleNamespace(player=None)}, "remembers"),
    ],
    ids=str,
)
def test_refusals(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(SMOOTH, **knobs)
