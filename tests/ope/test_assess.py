"""A whole assessment: support, models of the behaviour, cross-fitting, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from offrl.build import build
from offrl.envs import off_policy as problems
from offrl.errors import UserError
from offrl.ope.assess import Assessment, Settings, assess, check_probabilities, clip
from offrl.ope.behaviour import Behaviour
from offrl.ope.doubly_robust import DoublyRobust
from offrl.ope.evidence import Array
from offrl.ope.features import Landmarks, Polynomial, spaced
from offrl.ope.importance import PerDecision
from offrl.ope.linear import Averager, Linear
from offrl.ope.logged import Log
from offrl.ope.marginal import MarginalizedImportanceSampling, marginal_weights
from offrl.ope.selection import regret_at, spearman
from offrl.ope.tabular import MaximumLikelihood
from offrl.types import ActionSpec, Batch, ObsSpec, Spec
from tests.conftest import Compose
from tests.ope.kit import Table, episodes

TABULAR = MaximumLikelihood(stationary=False, max_states=100, skip_last=False)
LINEAR = Linear(stationary=False, ridge=1e-9, features=Polynomial(degree=1))
AVERAGER = Averager(stationary=False, ridge=0.0, features=Landmarks(count=400, width=0.1))


@pytest.fixture(scope="module")
def settings(compose: Compose) -> Settings:
    config = compose("job=ope", "behaviour.updates=150", "estimator=[is,wis,wdr,fqe,lstdq]", "value_model=tabular")
    estimators: dict[str, Any] = {k: build(node, f"estimator.{k}") for k, node in config["estimator"].items()}
    intervals: dict[str, Any] = {k: build(node, f"interval.{k}") for k, node in config["interval"].items()}
    behaviour: Behaviour = build(config["behaviour"], "behaviour")
    return Settings(estimators, intervals, behaviour, "auto", None, 2, None, 0)


def graph_log(count: int = 300, target: float = 0.6) -> tuple[Log, Array, float]:
    mdp = problems.graph(length=4)
    b, p = problems.everywhere(mdp, (0.5, 0.5)), problems.everywhere(mdp, (target, 1.0 - target))
    every = episodes(mdp, b, p, count, seed=1)
    return *every.log(), every.truth


def test_assessment(settings: Settings) -> None:
    log, recorded, truth = graph_log()
    found = assess(log, recorded, settings)
    assert found.support.ess is not None
    assert 100.0 < found.support.ess < 300.0
    assert abs((found.support.mean_weight or 0.0) - 1.0) < 0.2
    assert "may be believed" in found.support.verdict()
    assert "discount=1" in assess(replace(log, discount=1.0), recorded, settings).estimates["lstdq"].note
    for name in ("is", "wis", "wdr", "fqe"):
        assert found.estimates[name].value == pytest.approx(truth, abs=0.6)
    assert found.estimates["fqe"].intervals["percentile"].low is None
    low, high = found.estimates["wdr"].intervals["percentile"].low, found.estimates["wdr"].intervals["percentile"].high
    assert (low or 0.0) < truth < (high or 0.0)


def test_estimated_probabilities_are_nearly_the_recorded_ones(settings: Settings) -> None:
    log, recorded, _ = graph_log()
    known, guessed = assess(log, recorded, settings), assess(log, None, settings)
    assert guessed.estimated
    assert guessed.calibration < 0.05
    assert guessed.estimates["wdr"].value == pytest.approx(known.estimates["wdr"].value, abs=0.3)


@pytest.mark.parametrize("model", [TABULAR, LINEAR, AVERAGER], ids=lambda model: type(model).__name__)
def test_models_of_one_table_agree(model: Any) -> None:
    """With one-hot states all three are the maximum-likelihood model; V after a cross-fit is of the other part."""
    log, _, truth = graph_log(2000)
    q, v = model.values(log, 1, 0)
    reference = TABULAR.values(log, 1, 0)
    np.testing.assert_allclose(q, reference[0], atol=0.02)
    np.testing.assert_allclose(v, reference[1], atol=0.02)
    assert v[:, 0].mean() == pytest.approx(truth, rel=0.1)
    crossed = model.values(log, 2, 0)[1][:, 0]
    assert len(np.unique(crossed.round(9))) == 2


def test_finite_horizon_without_discount_is_valued() -> None:
    mdp = problems.model_win()
    b, p = (problems.everywhere(mdp, problems.softmax_pair(logit)) for logit in (0.5, -0.5))
    every = episodes(mdp, b, p, 4000)
    log, _ = every.log()
    assert TABULAR.values(log, 1, 0)[1][:, 0].mean() == pytest.approx(every.truth, rel=0.2)
    with pytest.raises(UserError, match="discount=1"):
        replace(TABULAR, stationary=True).values(log, 1, 0)


def test_stationary_is_the_limit_of_long_horizons() -> None:
    log, _, _ = graph_log()
    short, endless = (replace(log, discount=0.5, horizon=h) for h in (60, 60))
    for model in (TABULAR, LINEAR):
        finite = model.values(short, 1, 0)[1][:, 0]
        np.testing.assert_allclose(replace(model, stationary=True).values(endless, 1, 0)[1][:, 0], finite, atol=1e-6)


def test_hopeless_logs_say_so(settings: Settings) -> None:
    mdp = problems.graph(length=30)
    b, p = problems.everywhere(mdp, (0.1, 0.9)), problems.everywhere(mdp, (0.95, 0.05))
    log, recorded = episodes(mdp, b, p, 50).log()
    found: Assessment = assess(log, recorded, settings)
    assert found.support.hopeless
    assert "CANNOT ANSWER" in found.support.verdict()


def test_wrong_probabilities_are_told_by_the_mean_weight(settings: Settings) -> None:
    """A log's probabilities in other units, say, are too small by the same factor everywhere."""
    log, recorded, _ = graph_log(1000)
    found = assess(log, recorded - np.log(1.3), settings)
    assert (found.support.ess or 0.0) > 100.0
    assert "weights average" in found.support.verdict()
    assert "may be believed" not in found.support.verdict()
    assert found.doubtful(found.estimates["wis"])
    assert found.estimates["wis"].intervals["percentile"].low is None


def test_a_target_that_acts_outside_the_log_everywhere(settings: Settings) -> None:
    mdp = problems.graph(length=4)
    b, p = problems.everywhere(mdp, (1.0, 0.0)), problems.everywhere(mdp, (0.0, 1.0))
    log, recorded = episodes(mdp, b, p, 50).log()
    found = assess(log, recorded, settings)
    assert "never takes" in found.estimates["wis"].note
    assert found.support.outside > 0.9


@pytest.mark.parametrize(
    ("wrong", "message"), [(np.nan, "row 3"), (-np.inf, "probability 0"), (0.2, "at most 1")], ids=str
)
def test_probabilities_that_are_none(wrong: float, message: str) -> None:
    log_prob = np.full(6, -0.5)
    log_prob[3] = wrong
    with pytest.raises(UserError, match=message):
        check_probabilities(log_prob, discrete=True)


def test_refusals(settings: Settings) -> None:
    log, recorded, _ = graph_log(1)
    with pytest.raises(UserError, match="one episode"):
        assess(log, recorded, settings)
    log, recorded, _ = graph_log(20)
    with pytest.raises(UserError, match="propensities=recorded"):
        assess(log, None, replace(settings, propensities="recorded"))
    with pytest.raises(UserError, match="max_states"):
        replace(TABULAR, max_states=2).values(log, 1, 0)
    with pytest.raises(UserError, match="folds=30"):
        TABULAR.values(log, 30, 0)


def test_a_clip_says_what_it_touched() -> None:
    log, recorded, _ = graph_log(50, target=0.75)
    evidence, share = clip(log.evidence(recorded), 1.2)
    assert share == pytest.approx(float((np.exp(log.log_target - recorded) > 1.2).mean()))
    assert np.exp(evidence.log_ratio).max() == pytest.approx(1.2)


def test_selection() -> None:
    assert spearman([1.0, 2.0, 3.0], [10.0, 30.0, 20.0]) == pytest.approx(0.5)
    assert spearman([1.0, 1.0, 3.0], [1.0, 1.0, 9.0]) == pytest.approx(1.0)
    assert regret_at(1, [3.0, 2.0, 1.0], [1.0, 5.0, 4.0]) == 4.0
    assert regret_at(2, [3.0, 2.0, 1.0], [1.0, 5.0, 4.0]) == 0.0


@pytest.mark.parametrize("rows", [1, 7, 2**24 + 4])
def test_spaced_rows_are_rows(rows: int) -> None:
    found = spaced(rows, 5)
    assert (int(found[0]), int(found[-1])) == (0, rows - 1)
    assert len(found.unique()) == min(rows, 5)


def test_the_table_of_the_kit_reads_states() -> None:
    table = Table(torch.tensor([[0.2, 0.8], [0.5, 0.5]]))
    assert table.log_prob(torch.eye(2), torch.tensor([1, 0])).exp().tolist() == pytest.approx([0.8, 0.5])


def test_marginal_weights_do_not_grow_with_the_horizon() -> None:
    mdp = problems.graph(length=16)
    b, p = problems.everywhere(mdp, (0.3, 0.7)), problems.everywhere(mdp, (0.7, 0.3))
    estimator, squared = MarginalizedImportanceSampling(max_states=100), []
    for seed in range(15):
        every = episodes(mdp, b, p, 300, seed=seed)
        log, recorded = every.log()
        evidence = log.evidence(recorded)
        evidence = replace(evidence, marginal=marginal_weights(log, evidence, 100))
        values = [float(one(evidence, evidence.ones)[0]) for one in (estimator, PerDecision())]
        squared.append((np.array(values) - every.truth) ** 2)
    assert np.mean(squared, axis=0)[0] < 0.1 * np.mean(squared, axis=0)[1]
    log, _ = episodes(mdp, b, b, 40).log()
    same = log.evidence(None)
    marginal = replace(same, marginal=marginal_weights(log, same, 100))
    assert estimator(marginal, same.ones)[0] == pytest.approx(same.returns.mean())


class Silent(Table):
    """Acts by its table, but does not say how likely."""

    def log_prob(self, obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        raise UserError("Silent has no density")


def test_a_target_without_a_density_leaves_models(settings: Settings) -> None:
    log, recorded, truth = graph_log()
    log = replace(log, target=Silent(log.target.choices(torch.eye(9))))
    found = assess(log, recorded, settings)
    assert "no density" in found.support.verdict()
    assert "no density" in found.estimates["wis"].note
    assert found.estimates["fqe"].value == pytest.approx(truth, abs=0.6)
    weighed = {name: one for name, one in settings.estimators.items() if name in ("is", "wis")}
    with pytest.raises(UserError, match="is: Silent has no density"):
        assess(log, recorded, replace(settings, estimators=weighed))


def test_a_model_that_knows_its_episodes_by_heart_spoils_no_doubly_robust_estimate() -> None:
    """Every state is seen once, so a model of the same episodes leaves no error to correct; one of others knows
    nothing, and what remains is importance sampling."""
    generator = torch.Generator().manual_seed(0)
    count = 2000
    obs, action = torch.arange(count)[:, None].float(), torch.randint(2, (count,), generator=generator)
    columns = (obs, action, 1.0 + action.double(), torch.zeros(count), obs)

    def read(rows: torch.Tensor) -> Batch:
        return Batch(*(column[rows] for column in columns))

    @dataclass(frozen=True)
    class Second:
        def log_prob(self, obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
            return torch.where(action == 1, 0.9, 0.1).double().log()

        def choices(self, obs: torch.Tensor) -> torch.Tensor:
            return torch.tensor([0.1, 0.9]).expand(len(obs), 2)

    log = Log(read, Spec(ObsSpec((1,)), ActionSpec("discrete", (), (2,))), np.ones(count, np.int64), Second(), 1, 1.0)
    evidence = log.evidence(np.full(count, np.log(0.5)))
    estimator = DoublyRobust(model=replace(TABULAR, max_states=count))
    values = [
        float(estimator(known, known.ones)[0])
        for folds in (1, 2)
        for known in [evidence.with_values(*estimator.model.values(log, folds, 0))]
    ]
    assert values[0] == pytest.approx(0.95, abs=0.05)  # half of 1.9: of the two actions of a state one is known
    assert values[1] == pytest.approx(1.9, abs=0.1)


@pytest.mark.parametrize("model", [TABULAR, "linear"], ids=["tabular", "linear"])
def test_a_finite_horizon_without_discount_is_within_five_percent(model: Any, compose: Compose) -> None:
    """The gridworld: 100 steps, truth −6.5235; the models as shipped."""
    if model == "linear":
        model = build(compose("job=ope")["value_model"], "value_model")
    mdp = problems.gridworld()
    b, p = (problems.everywhere(mdp, chances) for chances in ((0.2, 0.3, 0.3, 0.2), (0.1, 0.4, 0.4, 0.1)))
    every = episodes(mdp, b, p, 128)
    log, _ = every.log()
    assert model.values(log, 1, 0)[1][:, 0].mean() == pytest.approx(every.truth, rel=0.05)


@pytest.mark.slow
def test_networks_as_shipped_are_within_five_percent(compose: Compose) -> None:
    model = build(compose("job=ope", "value_model=neural")["value_model"], "value_model")
    mdp = problems.gridworld()
    b, p = (problems.everywhere(mdp, chances) for chances in ((0.2, 0.3, 0.3, 0.2), (0.1, 0.4, 0.4, 0.1)))
    every = episodes(mdp, b, p, 512)
    assert model.values(every.log()[0], 1, 0)[1][:, 0].mean() == pytest.approx(every.truth, rel=0.05)
