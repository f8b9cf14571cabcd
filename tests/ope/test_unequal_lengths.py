"""Episodes of unequal lengths: those that end, those that the log breaks off, and those longer than the horizon."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from offrl.ope.dice import DualDice
from offrl.ope.doubly_robust import Direct, DoublyRobust, WeightedDoublyRobust
from offrl.ope.estimator import Estimator
from offrl.ope.evidence import Array, Evidence
from offrl.ope.features import Landmarks, Polynomial
from offrl.ope.importance import ImportanceSampling, PerDecision, WeightedImportanceSampling, WeightedPerDecision
from offrl.ope.linear import Averager, Linear
from offrl.ope.logged import Log
from offrl.ope.magic import Magic
from offrl.ope.marginal import MarginalizedImportanceSampling
from offrl.ope.tabular import MaximumLikelihood
from offrl.ope.values import ValueModel
from offrl.types import ActionSpec, Batch, ObsSpec, Spec
from tests.ope.kit import Table

STATES, END, STEPS = 4, 3, 6  # the last state is the end
TABULAR = MaximumLikelihood(stationary=False, max_states=9, skip_last=False)
LINEAR = Linear(stationary=False, ridge=1e-9, features=Polynomial(degree=1))
AVERAGER = Averager(stationary=False, ridge=0.0, features=Landmarks(count=500, width=0.05))
SEQUENTIAL = (ImportanceSampling(), WeightedImportanceSampling(), PerDecision(), WeightedPerDecision())
CORRECTED = (DoublyRobust(model=TABULAR), WeightedDoublyRobust(model=TABULAR))
MODELS = (TABULAR, LINEAR, AVERAGER, replace(TABULAR, stationary=True), replace(LINEAR, stationary=True))
MAGIC = Magic(model=TABULAR, lengths=99, replicates=100, confidence=0.9, legacy_covariance=False, seed=0)
MARGINAL = (
    MarginalizedImportanceSampling(max_states=9),
    DualDice(ridge=1e-12, features=Landmarks(count=500, width=0.05)),
)
EVERY: tuple[Estimator, ...] = (*SEQUENTIAL, *CORRECTED, *(Direct(model=model) for model in MODELS), MAGIC, *MARGINAL)


@dataclass(frozen=True)
class Step:
    """One row of a log that is written by hand."""

    state: int
    action: int
    reward: float
    after: int
    ends: bool
    chance: float  # of the action, under whoever acted


def assemble(log: list[list[Step]], target: Tensor, horizon: int) -> tuple[Log, Array]:
    """(the log as the library reads it, log b(a|s) [rows])."""
    rows = [step for episode in log for step in episode]
    eye = torch.eye(STATES)
    columns = Batch(
        eye[[step.state for step in rows]],
        torch.tensor([step.action for step in rows]),
        torch.tensor([step.reward for step in rows], dtype=torch.float64),
        torch.tensor([float(not step.ends) for step in rows]),
        eye[[step.after for step in rows]],
    )

    def read(index: Tensor) -> Batch:
        return Batch(*(column[index] for column in columns[:5]))

    spec, lengths = Spec(ObsSpec((STATES,)), ActionSpec("discrete", (), (2,))), np.array([len(one) for one in log])
    return Log(read, spec, lengths, Table(target), horizon, 0.9), np.log([step.chance for step in rows])


def policies() -> tuple[Tensor, Tensor]:
    """Behaviour and target [S, A]; alike after the end."""
    generator = torch.Generator().manual_seed(0)
    both = torch.rand(2, STATES, 2, generator=generator, dtype=torch.float64) + 0.3
    both[:, END] = 1.0
    behaviour, target = both / both.sum(-1, keepdim=True)
    return behaviour, target


def recorded(episodes: int = 60) -> list[list[Step]]:
    """Episodes of 1 to 6 steps."""
    generator, (behaviour, _) = np.random.default_rng(1), policies()
    log: list[list[Step]] = []
    for _ in range(episodes):
        steps, state = list[Step](), int(generator.integers(END))
        while len(steps) < STEPS and state != END:
            action = int(generator.random() < float(behaviour[state, 1]))
            after = int(generator.integers(STATES))
            chance = float(behaviour[state, action])
            steps.append(Step(state, action, float(generator.normal()), after, after == END, chance))
            state = after
        log.append(steps)
    return log


def value(estimator: Estimator, log: Log, behaviour: Array) -> float:
    evidence: Evidence = log.evidence(behaviour)
    model: ValueModel | None = estimator.model_of()
    if model is not None:
        evidence = evidence.with_values(*model.values(log, 2 if estimator.weighs else 1, 0))
    evidence = estimator.prepare(log, evidence)
    return float(estimator(evidence, evidence.ones)[0])


@pytest.mark.parametrize("estimator", EVERY, ids=lambda one: f"{type(one).__name__}-{type(one.model_of()).__name__}")
def test_an_end_is_a_state_that_is_never_left(estimator: Estimator) -> None:
    """Ended episodes, continued to the horizon where nothing is earned and both policies act alike, say the same."""
    log, (_, target) = recorded(), policies()
    stay = [Step(END, t % 2, 0.0, END, False, float(target[END, t % 2])) for t in range(STEPS)]
    longer = [[replace(step, ends=False) for step in one] + stay[len(one) :] for one in log]
    assert {len(one) for one in log} == set(range(1, STEPS + 1))
    first, second = (value(estimator, *assemble(one, target, STEPS)) for one in (log, longer))
    assert second == pytest.approx(first, abs=1e-6)


def test_the_weight_of_an_ended_episode_goes_on() -> None:
    """Ratios 3 | 1, 1 and rewards of 1: by hand. A weight that is dropped at the end would make it 2."""
    log = [[Step(0, 0, 1.0, END, True, 0.2)], [Step(1, 0, 1.0, 2, False, 0.6), Step(2, 0, 1.0, END, True, 0.6)]]
    target = torch.tensor([[0.6, 0.4]] * STATES, dtype=torch.float64)
    read, behaviour = assemble(log, target, 2)
    read = replace(read, discount=1.0)
    by_hand = {"is": (3.0 + 2.0) / 2.0, "wis": (3.0 + 2.0) / 4.0, "pdis": (3.0 + 2.0) / 2.0, "wpdis": 1.0 + 1.0 / 4.0}
    for estimator, known in zip(SEQUENTIAL, by_hand.values(), strict=True):
        assert value(estimator, read, behaviour) == pytest.approx(known)


@pytest.mark.parametrize("estimator", SEQUENTIAL, ids=repr)
def test_steps_beyond_the_horizon_do_not_count(estimator: Estimator) -> None:
    log, (_, target) = recorded(), policies()
    short, cut = (assemble(one, target, 3) for one in (log, [steps[:3] for steps in log]))
    assert short[0].rows > cut[0].rows
    assert value(estimator, *short) == pytest.approx(value(estimator, *cut))


@pytest.mark.parametrize("estimator", [Direct(model=TABULAR), DoublyRobust(model=TABULAR)], ids=repr)
def test_what_the_log_breaks_off_is_no_end(estimator: Estimator) -> None:
    """A walk 0 → 1 → 2 → 2 … that earns 1 a step, broken off anywhere: six steps are worth six, not what was seen."""
    walk = [Step(min(t, 2), t % 2, 1.0, min(t + 1, 2), False, 0.5) for t in range(STEPS)]
    swapped = [replace(step, action=1 - step.action) for step in walk]
    log = [one[: 2 + n % 5] for n in range(30) for one in (walk, swapped)]
    read, behaviour = assemble(log, torch.full((STATES, 2), 0.5, dtype=torch.float64), STEPS)
    assert value(estimator, replace(read, discount=1.0), behaviour) == pytest.approx(STEPS)
