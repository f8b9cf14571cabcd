"""Impossible pairings are refused in one sentence with a remedy."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from offrl.algos.base import Algorithm
from offrl.build import build, locate
from offrl.errors import UserError
from offrl.jobs.pairing import check_actions, check_env, check_experience, check_rollout, check_steps
from offrl.jobs.shorten import shorten
from offrl.types import ActionSpec, ObsSpec, Spec
from tests.conftest import Compose


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "no algo is chosen: offrl train algo=ppo env=cartpole"),
        ("algo=iql ~trainer", "no trainer is chosen"),
        (
            "algo=iql env=cartpole",
            "Offline needs a dataset, and none is chosen: .* or learn online with trainer=replay",
        ),
        ("algo=bc env=cartpole", "needs a dataset.* another algorithm, such as algo=dqn .discrete.* or algo=sac .cont"),
        ("algo=sac trainer=rollout env=pendulum", "SAC cannot learn from rollout.*try trainer=offline, replay"),
        ("algo=ppo trainer=offline_to_online env=pendulum", "PPO cannot learn from dataset or replay.*=rollout"),
        ("algo=lspi trainer=offline", "LSPI cannot learn from dataset.*try trainer=plan, solve"),
        ("algo=iql trainer=solve", "IQL cannot learn from passes.*try trainer=offline, replay"),
        ("algo=rwr trainer=dagger env=pendulum", "RWR cannot learn from expert.*try trainer=offline"),
        ("algo=lstd env=cartpole", "Solve needs a dataset, and none is chosen"),
        ("algo=value_iteration", "Plan solves the MDP of a tabular environment, .*: give env=gridworld"),
        ("algo=sac env=pendulum policy=diffusion", "SAC is made for one head, policy=tanh_gaussian, and policy=diff"),
        ("algo=mpo env=pendulum policy=flow", "MPO is made for one head, policy=gaussian, and policy=flow is chosen"),
    ],
)
def test_experience(compose: Compose, words: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_experience(compose(*words.split()))


@pytest.mark.parametrize(
    "words", ["algo=ppo env=cartpole", "algo=sac env=pendulum", "algo=td3 trainer=replay env=hopper"]
)
def test_good_pairs(compose: Compose, words: str) -> None:
    check_experience(compose(*words.split()))
    check_env(compose(*words.split()))


@pytest.mark.parametrize(
    "words",
    [
        "algo=ppo",
        "algo=dqn trainer=replay dataset=file dataset.path=log.csv",
        "algo=discrete_cql trainer=offline_to_online dataset=file dataset.path=log.csv",
    ],
)
def test_who_acts_needs_an_environment(compose: Compose, words: str) -> None:
    """Also where there is a log, which may name none, or one that cannot be made here."""
    with pytest.raises(UserError, match="acts in an environment, and none is chosen: give env=NAME"):
        check_env(compose(*words.split()))


def test_actions(compose: Compose) -> None:
    discrete = Spec(ObsSpec((4,)), ActionSpec("discrete", (), (2,)))
    with pytest.raises(UserError, match=r"SAC needs continuous actions, but cartpole has discrete ones: try algo=dqn"):
        check_actions(locate(compose("algo=sac")["algo"]), discrete, "cartpole")  # type: ignore[arg-type]
    check_actions(locate(compose("algo=dqn")["algo"]), discrete, "cartpole")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("algo=decision_transformer", "windows of consecutive steps.* with trainer.n_step=3: use trainer.n_step=1"),
        ("algo=state_corrected", "StateCorrected weighs each action by what that step alone says"),
        ("algo=rwr", "RWR weighs each action"),
        ("algo=emrl", "EMRL weighs each action"),
    ],
)
def test_sums_over_steps_are_refused_where_single_steps_are_weighed(compose: Compose, words: str, message: str) -> None:
    for n_step in (1, 3):
        config = compose(words, f"trainer.n_step={n_step}")
        algo: Algorithm = build(config["algo"], "algo")
        with pytest.raises(UserError, match=message) if n_step > 1 else nullcontext():
            check_steps(algo, config["trainer"])


@pytest.mark.parametrize("words", ["algo=return_weighted", "algo=iql", "algo=bc"])
def test_sums_over_steps_are_for_all_others(compose: Compose, words: str) -> None:
    config = compose(words, "trainer.n_step=3")
    check_steps(build(config["algo"], "algo"), config["trainer"])


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        ("algo=importance_weighted", True),
        ("algo=importance_weighted_trajectory", True),
        ("algo=importance_weighted env.num_envs=2", False),
        ("algo=importance_weighted algo.self_normalized=false", False),
        ("algo=importance_weighted_step", False),
        ("algo=reinforce", False),
    ],
)
def test_one_episode_has_nothing_to_be_compared_with(compose: Compose, words: str, refused: bool) -> None:
    config = compose(*words.split(), "trainer=rollout", "env=cartpole")
    parts: list[Any] = [build(config[part], part) for part in ("algo", "trainer", "env")]
    with pytest.raises(UserError, match=r"env\.num_envs=1: use env\.num_envs=16") if refused else nullcontext():
        check_rollout(*parts)


@pytest.mark.parametrize("algo", ["state_corrected", "importance_weighted"])
def test_one_row_has_nothing_to_be_compared_with(compose: Compose, algo: str) -> None:
    with pytest.raises(UserError, match=r"algo.batch_size=1: .* fewer than 2 rows"):
        build(compose(f"algo={algo}", "algo.batch_size=1")["algo"], "algo")


def test_limit_cuts_totals_and_warm_up_once(compose: Compose) -> None:
    config = compose("algo=sac", "limit=300")
    shorten(config)
    assert (config["trainer"]["steps"], config["trainer"]["warmup"], config["limit"]) == (300, 150, None)
    config = compose("algo=iql")
    before = dict(config["trainer"])
    shorten(config)
    assert config["trainer"] == before
