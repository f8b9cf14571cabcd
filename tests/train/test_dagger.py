"""Who acts, who is asked, what becomes data, and that the record of it is true."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from offrl.build import build
from offrl.data.aggregate import Aggregate
from offrl.data.files import FileData
from offrl.envs.actors import Scripted
from offrl.envs.controllers import Controller
from offrl.envs.make import Env
from offrl.errors import UserError
from offrl.log.metrics import read_metrics
from offrl.train.control import Blend, Control, Person, Rule, Situation, discrepancy
from offrl.train.experts import Expert, load_expert
from offrl.types import ActionSpec, ObsSpec, Spec
from tests.train.kit import RUNS, config, run

SPEC = Spec(ObsSpec((2,)), ActionSpec("continuous", (1,), low=(-2.0,), high=(4.0,)))
SMALL = ("evaluation=none", "trainer.iteration_steps=100", "trainer.updates_per_iteration=5")


def situation(learner: Tensor, acting: bool = False, held: int = 0, iteration: int = 0) -> Situation:
    """N learners beside experts who would do nothing."""
    n = len(learner)
    still = torch.zeros_like(learner)
    return Situation(
        torch.zeros(n, 2), learner, still, torch.full((n,), acting), torch.full((n,), held), iteration, None
    )


def test_blend_lets_the_expert_act_with_probability_decay_to_the_iteration() -> None:
    """beta_i = decay^i; with decay 0 in the first iteration alone."""
    torch.manual_seed(0)
    for decay, iteration, share in ((0.5, 0, 1.0), (0.5, 2, 0.25), (0.0, 0, 1.0), (0.0, 1, 0.0), (1.0, 9, 1.0)):
        acts = Blend(decay=decay).expert_acts(situation(torch.zeros(20_000, 1), iteration=iteration))
        assert acts.float().mean().item() == pytest.approx(share, abs=0.01)


def test_a_gate_takes_over_above_one_threshold_and_gives_back_below_another() -> None:
    """The learner is 0, 0.3 and 0.6 away from the expert."""
    away = torch.tensor([[0.0], [0.3], [0.6]])
    gate = Person(take=0.5, give_back=0.25, hold=3)
    assert gate.expert_acts(situation(away)).tolist() == [False, False, True]
    assert gate.expert_acts(situation(away, acting=True, held=3)).tolist() == [False, True, True]
    assert gate.expert_acts(situation(away, acting=True, held=2)).tolist() == [True, True, True]


def test_discrepancy() -> None:
    """Root mean square of continuous actions, share of differing discrete ones."""
    assert discrepancy(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.6, 0.8]])).item() == pytest.approx(0.5**0.5)
    assert discrepancy(torch.tensor([1, 2]), torch.tensor([1, 0])).tolist() == [0.0, 1.0]
    assert discrepancy(torch.tensor([[1, 2]]), torch.tensor([[1, 0]])).tolist() == [0.5]


def test_rules() -> None:
    """The rule's answer is the alarm; the rule decides too when control goes back."""
    rule = Rule(rule="offrl.envs.rules:pole_leans", take=0.5, give_back=0.5, hold=1)
    obs = torch.tensor([[0.0, 0, 0.2, 0], [0.0, 0, 0.05, 0], [2.0, 0, 0, 0]])
    now = situation(torch.zeros(3, 1))._replace(obs=obs)
    assert rule.expert_acts(now).tolist() == [True, False, True]
    assert rule.expert_acts(now._replace(acting=torch.ones(3).bool(), held=torch.ones(3))).tolist() == [
        True,
        False,
        True,
    ]


def filled(steps: int = 6, num_envs: int = 2) -> Aggregate:
    """The expert acts in every second step; labels are negative, what was done by the learner is positive."""
    data = Aggregate(SPEC, steps * num_envs, num_envs)
    for t in range(steps):
        obs = torch.tensor([[t, e] for e in range(num_envs)], dtype=torch.float32)
        label = -0.1 * torch.ones(num_envs, 1) * (t + 1)
        by_expert = torch.full((num_envs,), t % 2 == 0)
        taken = torch.where(by_expert[:, None], label, 0.5)
        over = torch.full((num_envs,), t == 3)
        data.add(obs, label, taken, by_expert, by_expert, (torch.ones(num_envs), over, ~over & False, obs + 1))
    return data


def test_only_what_is_labelled_is_sampled() -> None:
    """Both ways of sampling; actions are the expert's."""
    torch.manual_seed(0)
    data = filled()
    assert len(data) == 6
    for batch in (data.sample(500), data.draw(500)):
        assert set(batch.obs[:, 0].tolist()) == {0.0, 2.0, 4.0}
        torch.testing.assert_close(batch.action[:, 0], -0.1 * (batch.obs[:, 0] + 1))


def test_a_full_aggregate_says_so() -> None:
    data = filled()
    one = torch.zeros(2, 1)
    with pytest.raises(UserError, match="is full"):
        data.add(torch.zeros(2, 2), one, one, one[:, 0] > 0, one[:, 0] > 0, (one[:, 0], *[one[:, 0] > 0] * 2, one))


def test_the_record_is_a_dataset_and_says_who_acted(tmp_path: Path, compose: Any) -> None:
    """In the environment's units, one environment after the other; saved, loaded and written again it is the same."""
    again = Aggregate(SPEC, 12, 2)
    again.load(filled().state())
    path = tmp_path / "aggregate.npz"
    again.write(path)
    with np.load(path) as file:
        columns = {name: file[name] for name in file}
    assert columns["expert_acted"].tolist() == [True, False] * 6
    assert columns["labelled"].tolist() == [True, False] * 6
    assert columns["observations"][:, 1].tolist() == [0.0] * 6 + [1.0] * 6
    np.testing.assert_allclose(columns["actions"][:2, 0], [1.0 - 0.3, 1.0 + 1.5], rtol=1e-6)  # centre 1, half-width 3
    np.testing.assert_allclose(columns["expert_actions"][:2, 0], [0.7, 0.4], rtol=1e-6)
    assert columns["terminals"].nonzero()[0].tolist() == [3, 9]
    assert columns["timeouts"].nonzero()[0].tolist() == [5, 11]

    node = compose("dataset=file", f"dataset.path={path}", "dataset.action=[expert_actions]", "dataset.action_low=[-2]",
                   "dataset.action_high=[4]")["dataset"]  # fmt: skip
    steps = cast(FileData, build(node)).load().steps
    np.testing.assert_allclose(steps.action[:3, 0], [-0.1, -0.2, -0.3], atol=1e-6)
    torch.manual_seed(0)
    first = again.sample(8)
    torch.manual_seed(0)
    assert torch.equal(first.obs, filled().sample(8).obs)


def test_a_run_records_who_acted_and_reports_it(tmp_path: Path) -> None:
    """Interventions: as many labels as steps of the expert, who acts alone in the warm-up."""
    node = config("algo=hg_dagger", "env=cartpole", *SMALL, "trainer.steps=300", "trainer.warmup=100")
    run(tmp_path, node)
    with np.load(tmp_path / "aggregate.npz") as file:
        acted, labelled = file["expert_acted"], file["labelled"]
        differs = file["actions"] != file["expert_actions"]
    assert len(acted) == 300
    assert acted[:100].all()
    assert (~acted).any()
    np.testing.assert_array_equal(acted, labelled)
    assert not differs[acted].any()
    metrics = read_metrics(tmp_path)
    assert np.nansum(metrics["control/labels"]) == acted.sum()
    assert metrics["control/expert_share"][0] == 1.0
    assert metrics["update"][-1] == 15  # warm-up and two iterations
    assert {"control/switches", "control/discrepancy", "actor/loss"} <= metrics.keys()


def test_a_run_that_is_made_longer_trains_after_every_iteration(tmp_path: Path) -> None:
    """The last iteration of the shorter run was a short one, of 20 steps instead of 50."""
    run(tmp_path, config(*RUNS["blend"], "trainer.steps=120"))
    longer = run(tmp_path, config(*RUNS["blend"]), resume=True)
    assert longer.folder.facts["update"] == (3 + 2) * 10


def test_a_run_folder_can_be_the_expert(tmp_path: Path) -> None:
    """Its policy labels every state; one of another environment is refused."""
    run(tmp_path / "expert", config("algo=dagger", "env=cartpole", *SMALL, "trainer.steps=100"))
    who = f"trainer.expert={tmp_path / 'expert'}"
    run(tmp_path / "pupil", config("algo=dagger", "env=cartpole", *SMALL, "trainer.steps=100", who))
    with pytest.raises(UserError, match="other observations or actions"):
        run(tmp_path / "other", config("algo=dagger", "env=pendulum", *SMALL, who))


def short(obs: NDArray[Any]) -> NDArray[Any]:
    """A controller of something with three actions."""
    return np.zeros((len(obs), 3), np.float32)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("algo=dagger", "env=acrobot"), "has no controller"),
        (("algo=dagger", "env=pendulum", "trainer.expert=nobody"), "neither scripted, nor module:name"),
        (("algo=dagger", "env=pendulum", "trainer.expert=no.such:thing"), "trainer.expert=no.such:thing: no such"),
        (("algo=dagger", "env=pendulum", f"trainer.expert={__name__}:short"), "gives actions of shape"),
        (("algo=dagger", "env=pendulum", "trainer.control.decay=1.5"), "control.decay=1.5"),
        (("algo=dagger", "env=pendulum", "trainer.capacity=10"), "raise trainer.capacity"),
        (("algo=hg_dagger", "env=pendulum", "trainer.warmup=0"), "trainer.warmup=0"),
        (("algo=hg_dagger", "env=pendulum", "trainer.control.give_back=0.6"), "give_back=0.6"),
        (("algo=bc", "trainer=dagger_ensemble", "env=pendulum"), "use algo=bc_ensemble"),
        (("algo=bc", "trainer=dagger_rule", "trainer.control.rule=offrl.envs.rules:no", "env=cartpole"), "no such"),
    ],
)
def test_what_cannot_work_is_refused_before_training(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        run(tmp_path, config(*words, "evaluation=none"))


def test_an_expert_is_clipped_where_there_are_bounds() -> None:
    """As its action would be in the environment: there its label is what was done."""
    spec = Spec(ObsSpec((2,)), ActionSpec("continuous", (2,), low=(-np.inf, -2.0), high=(np.inf, 2.0)))
    far = Scripted(lambda obs: np.full((len(obs), 2), 2.5, np.float32))
    assert Expert(far, None, spec).act(torch.zeros(1, 2)).tolist() == [[2.5, 1.0]]


class Forgetful(Controller):
    """Draws its actions, and counts its calls."""

    def __init__(self, env: Env, num_envs: int, generator: np.random.Generator) -> None:
        super().__init__(env, num_envs, generator)
        self.calls = np.zeros(num_envs, np.int64)

    def __call__(self, obs: NDArray[Any]) -> NDArray[Any]:
        self.calls += 1
        return self.generator.uniform(-1.0, 1.0, (len(obs), 1)).astype(np.float32) * (self.calls % 2)[:, None]


def test_an_expert_with_a_memory_goes_on_where_it_was() -> None:
    """Its arrays and its generator are part of the state."""
    env = cast(Env, build(config("algo=dagger", "env=pendulum")["env"]))
    obs = torch.zeros(2, 3)
    one, other = (load_expert(f"{__name__}:Forgetful", "last", env, env.spec(), 2, 0) for _ in range(2))
    one.act(obs)
    other.load(one.state())
    assert torch.equal(one.act(obs), other.act(obs))
    assert torch.equal(one.act(obs), other.act(obs))


def test_a_policy_that_remembers_is_no_expert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = cast(Env, build(config("algo=dagger", "env=pendulum")["env"]))
    remembering = type("DecisionTransformer", (), {"player": None})()
    monkeypatch.setattr("offrl.train.checkpoint.load_policy", lambda *_: (remembering, env.spec(), {}))
    with pytest.raises(UserError, match="is a DecisionTransformer, which acts by what it has done before"):
        load_expert(str(tmp_path), "last", env, env.spec(), 2, 0)


def test_the_controls_have_the_same_form() -> None:
    """Every trainer=dagger_* builds a rule of control."""
    for name in ("dagger", "dagger_person", "dagger_ensemble"):
        assert isinstance(build(config("algo=bc", f"trainer={name}")["trainer"]["control"]), Control)
