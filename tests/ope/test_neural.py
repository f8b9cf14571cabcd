"""Fitted Q evaluation with networks, and of continuous actions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from offrl.envs import off_policy as problems
from offrl.errors import UserError
from offrl.nn.networks import MLP
from offrl.ope.features import Polynomial
from offrl.ope.linear import Linear
from offrl.ope.logged import Log
from offrl.ope.neural import Neural
from offrl.ope.tabular import MaximumLikelihood
from offrl.ope.values import ValueModel
from offrl.types import ActionSpec, Batch, ObsSpec, Spec
from tests.ope.kit import episodes

NETWORK = MLP(hidden=(32,), activation="relu", layer_norm=False, initialisation="uniform", normalize_obs=True)
NEURAL = Neural(
    stationary=False,
    network=NETWORK,
    members=1,
    lr=1e-2,
    updates=600,
    batch_size=128,
    target_rate=0.1,
    growth=0.3,
    own=0.8,
    seed=0,
)
QUADRATIC = Linear(stationary=False, ridge=1e-9, features=Polynomial(degree=2))
TABULAR = MaximumLikelihood(stationary=False, max_states=100, skip_last=False)


def graph_log() -> Log:
    mdp = problems.graph(length=4)
    b, p = problems.everywhere(mdp, (0.5, 0.5)), problems.everywhere(mdp, (0.8, 0.2))
    return episodes(mdp, b, p, 300, seed=1).log()[0]


@pytest.mark.parametrize(("stationary", "members"), [(False, 1), (True, 1), (False, 2)])
def test_equals_the_table(stationary: bool, members: int) -> None:
    log = replace(graph_log(), discount=0.9 if stationary else 1.0)
    model, table = replace(NEURAL, stationary=stationary, members=members), replace(TABULAR, stationary=stationary)
    q, v = model.values(log, 1, 0)
    known = table.values(log, 1, 0)
    assert v[:, 0].mean() == pytest.approx(known[1][:, 0].mean(), rel=0.05)
    assert np.abs(q - known[0]).mean() < 0.1
    assert np.abs(v - known[1]).mean() < 0.1


def test_a_part_is_valued_by_the_others() -> None:
    """Episodes of one part alone earn more; the other part's model does not know."""
    log = graph_log()
    fold = np.arange(len(log.lengths)) % 2
    better = torch.as_tensor(fold[log.episode] == 0)

    def read(rows: Tensor) -> Batch:
        batch = log.read(rows)
        return batch._replace(reward=batch.reward + 10.0 * better[rows])

    _, v, _, _ = replace(NEURAL, updates=200).fit(replace(log, read=read), fold.astype(np.int64))
    first = v[log.timestep == 0]
    assert first[fold == 0].mean() < 5.0
    assert first[fold == 1].mean() > 35.0


@dataclass(frozen=True)
class Leaning:
    """Acts at 0.5 ± 0.1 whatever it sees."""

    def choices(self, obs: Tensor) -> Tensor:
        return 0.5 + 0.1 * torch.linspace(-1.0, 1.0, 5)[None, :, None].expand(len(obs), 5, 1)

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        raise UserError("no density")


@pytest.mark.parametrize("model", [NEURAL, QUADRATIC], ids=lambda model: type(model).__name__)
def test_continuous_actions_over_two_steps(model: ValueModel) -> None:
    """r = s − a² in both steps that count, s from U(−1, 1): J = −2 E a², with a = 0.5 ± 0.1."""
    generator = torch.Generator().manual_seed(0)
    obs, next_obs, action = (torch.rand(2000, 1, generator=generator) * 2.0 - 1.0 for _ in range(3))
    reward = obs[:, 0] - action[:, 0].square()
    columns = (obs, action, reward, torch.ones(2000), next_obs)

    def read(rows: Tensor) -> Batch:
        return Batch(*(column[rows] for column in columns))

    spec = Spec(ObsSpec((1,)), ActionSpec("continuous", (1,), (), (-1.0,), (1.0,)))
    log = Log(read, spec, np.full(1000, 2), Leaning(), 2, 1.0)
    _, v = model.values(log, 2, 0)
    assert v[:, 0].mean() == pytest.approx(obs[::2].mean().item() - 2.0 * (0.25 + 0.005), abs=0.06)


@pytest.mark.parametrize(
    ("knob", "message"),
    [({"own": 1.5}, "own=1.5"), ({"members": 0}, "members=0"), ({"stationary": True}, "discount=1")],
)
def test_refusals(knob: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(NEURAL, **knob).values(replace(graph_log(), discount=1.0), 1, 0)
