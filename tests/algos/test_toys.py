"""Every algorithm solves a problem whose answer is known: a contextual bandit, and a chain of three states."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from offrl.algos.base import Algorithm, Discounted, OnPolicy, Solver
from offrl.types import ABSENT, ActionKind, Batch, Rollout
from scripts.make_zoo_table import primary, target
from tests.algos.zoo import ACTIONS, CHOICES, OBS, PAIRS, SPECS, actions, as_windows, made, node, with_needs

ROWS = 128
DISCOUNT = 0.9

COLD: dict[str, object] = {"initial_temperature": 0.001, "temperature_lr": 0.0}
FAST: dict[str, object] = {"lr": 3e-3, "target_rate": 0.05}
SOFT: dict[str, object] = FAST | COLD | {"actor_lr": 3e-3}
FREE: dict[str, object] = {"conservative_weight": 0.0, "penalty_actions": 1}
ON_POLICY: dict[str, object] = {"lr": 3e-3, "horizon": 256, "epochs": 4}
NATURAL: dict[str, object] = {"horizon": 256, "value_lr": 1e-2, "value_steps": 5}
PER_EPISODE: dict[str, object] = {"lr": 3e-3, "horizon": 256}
ONE_PASS: dict[str, object] = {"lr": 1e-3, "horizon": 256}

WAVES = node("lspi", "features.normalize_obs=false", "features.low=-1.0", "features.high=1.0")["features"]

# Knobs under which a few hundred updates are enough, and the data's own policy is no constraint.
WEIGHTED: dict[str, object] = {"lr": 3e-3, "temperature": 10.0, "max_weight": 100.0}
UNBOUND: dict[str, object] = {
    "initial_mean_multiplier": 1e-3,
    "initial_std_multiplier": 1e-3,
    "mean_bound": 1.0,
    "std_bound": 1.0,
}
CLONING: dict[str, object] = {"lr": 3e-3}
LAGGED: dict[str, object] = {"target_rate": 0.05, "target_period": 1}
QUICK: dict[str, Mapping[str, object]] = {
    "awac": WEIGHTED | LAGGED,
    "awr": {"actor_lr": 3e-3, "critic_lr": 3e-3, "segment": 4, "temperature": 4.0},
    "bcq": FAST | {"perturbation": 1.0},
    "crr": WEIGHTED | LAGGED | {"acting_actions": 0},  # the policy itself
    "crr_indicator": {"lr": 3e-3, "acting_actions": 0} | LAGGED,
    "decision_transformer": {
        "lr": 3e-3,
        "warmup_updates": 0,
        "target_return": 0.0,
        "return_scale": 1.0,
        "dropout": 0.0,
    },
    "emrl": {"lr": 3e-3},
    **dict.fromkeys(("marwil", "marwil_mc"), WEIGHTED | {"temperature": 4.0}),
    "mpo": {"lr": 3e-3, "initial_temperature": 0.1} | LAGGED | UNBOUND,
    **dict.fromkeys(("return_weighted", "rwr"), WEIGHTED),
    "xql": WEIGHTED | {"target_rate": 0.05, "value_scale": 0.1},
    **dict.fromkeys(("bc", "bc_best", "dagger", "hg_dagger"), CLONING),
    **dict.fromkeys(("bc_ensemble", "ensemble_dagger"), CLONING | {"members": 2}),
    "iql": {"lr": 3e-3, "target_rate": 0.05, "expectile": 0.9, "temperature": 10.0},
    "iql_maze": {"lr": 3e-3, "target_rate": 0.05},
    "td3_bc": {"lr": 3e-3, "target_rate": 0.05, "alpha": 100.0},
    "cql": {"lr": 3e-3, "actor_lr": 3e-3, "target_rate": 0.05, **COLD, **FREE},
    "bcq_discrete": {"lr": 3e-3, "target_rate": 0.05, "threshold": 0.0},
    "discrete_cql": {"lr": 3e-3, "target_rate": 0.05, "conservative_weight": 0.0},
    "td3": {"lr": 3e-3, "target_rate": 0.05},
    **dict.fromkeys(("cal_ql", "cql_squared"), SOFT | FREE),
    **dict.fromkeys(("ddpg", "ddpg_offline"), FAST),
    "discrete_cql_squared": FAST | {"conservative_weight": 0.0},
    "edac": SOFT | {"critics": 3, "diversity_weight": 0.01},
    **dict.fromkeys(("sac_discrete", "sac_fixed", "sac_no_entropy"), SOFT),
    "sac_n": SOFT | {"critics": 3},
    "rebrac": FAST | {"actor_cloning": 0.0, "critic_cloning": 0.0},
    **dict.fromkeys(("redq", "rlpd"), SOFT | {"policy_delay": 1, "critics": 3}),
    "sac": {"lr": 3e-3, "actor_lr": 3e-3, "target_rate": 0.05} | {"initial_temperature": 0.001, "temperature_lr": 0.0},
    "c51": {"lr": 3e-3, "target_rate": 0.05, "value_min": -2.0, "value_max": 2.0, "atoms": 21},
    "double_dqn": {"lr": 3e-3, "target_rate": 0.05},
    "double_q": {"lr": 3e-3, "target_rate": 0.05},
    "dqn": {"lr": 3e-3, "target_rate": 0.05},
    "dqn_boltzmann": {"lr": 3e-3, "target_rate": 0.05},
    "dueling_dqn": {"lr": 3e-3, "target_rate": 0.05},
    "fqi": {"lr": 3e-3, "target_period": 50},
    "naive_q": {"lr": 3e-3, "target_rate": 0.05},
    "qr_dqn": {"lr": 3e-3, "target_rate": 0.05, "quantiles": 8},
    "qt_opt": {"lr": 3e-3, "target_rate": 0.05, "lag": 10, "samples": 32},
    "lspi": {"features": WAVES},
    "lstdq": {"features": WAVES},
    "npg": NATURAL,
    "trpo": NATURAL,
    "reinforce": PER_EPISODE,
    "reinforce_plain": PER_EPISODE,
    "reinforce_value": PER_EPISODE | {"value_lr": 1e-2},
    **dict.fromkeys(
        ("importance_weighted", "importance_weighted_step", "importance_weighted_trajectory"),
        PER_EPISODE | {"epochs": 2},
    ),
    "state_corrected": {"lr": 3e-3, "value_lr": 1e-2},
    "ppo": ON_POLICY,
    **dict.fromkeys(("ppo_kl", "ppo_adaptive_kl", "ppo_clip_kl", "ppo_clip_kl_entropy"), ON_POLICY),
    **dict.fromkeys(("a2c", "a2c_td", "a2c_n_step", "a2c_mc", "a2c_gae", "value_pg"), ONE_PASS),
}


def best(obs: Tensor, kind: ActionKind) -> Tensor:
    """The bandit's best action."""
    if kind == "continuous":
        return 0.8 * obs[..., :ACTIONS]
    if kind == "discrete":
        return obs[..., :CHOICES].argmax(-1)
    return torch.stack([obs[..., :CHOICES].argmax(-1), (obs[..., 3] > 0).long()], -1)


def reward(obs: Tensor, action: Tensor, kind: ActionKind) -> Tensor:
    """0 for the best action; −1 for every wrong index, or minus the squared distance."""
    if kind == "continuous":
        return -(action - best(obs, kind)).square().sum(-1)
    wrong = (action != best(obs, kind)).float()
    return -wrong if kind == "discrete" else -wrong.sum(-1)


def bandit_log(algo: Algorithm, kind: ActionKind) -> Batch:
    """One-step episodes under uniform actions; for cloning, under the best ones."""
    rows = 100 * ROWS if isinstance(algo, Solver) else ROWS  # all there is, or one batch of many
    obs = torch.rand(rows, OBS) * 2.0 - 1.0
    action = best(obs, kind) if "expert" in algo.learns_from else actions(kind, rows)
    earned = reward(obs, action, kind)
    if type(algo).__name__ == "EMRL":
        earned = (10.0 * earned).exp()  # it takes none below 0
    batch = Batch(obs, action, earned, torch.zeros(rows), obs, return_to_go=earned)
    return as_windows(with_needs(batch, algo, kind), algo)


def bandit_rollout(algo: OnPolicy, kind: ActionKind) -> Rollout:
    """One-step episodes under the algorithm's own policy."""
    obs = torch.rand(algo.horizon, OBS) * 2.0 - 1.0
    action = algo.explore(obs, 0)
    value = reward(obs, action, kind)
    over = torch.ones(algo.horizon, dtype=torch.bool)
    time = 0 if algo.whole_episodes else 1  # one after the other, or each in an environment of its own
    return Rollout(*(x.unsqueeze(time) for x in (obs, action, value, over, ~over, obs)))


def train_on_rollouts(algo: OnPolicy, kind: ActionKind, rollouts: int) -> None:
    """As the trainer does, without its bookkeeping."""
    for _ in range(rollouts):
        rows = algo.prepare(bandit_rollout(algo, kind))
        for _ in range(algo.epochs):
            for index in torch.randperm(len(rows.obs)).split(64):
                algo.update(Batch(*(ABSENT if not len(column) else column[index] for column in rows)))


def acts_on_numbers(name: str) -> bool:
    """Whether it is a policy for contexts that are numbers: a table is held against exact solutions elsewhere."""
    return target(name).is_policy and "sweeps" not in {field.name for field in fields(target(name))}


def enough(kind: ActionKind) -> float:
    """A mean reward that only a solution earns: 0 is the best, uniform actions earn about −1.1 (continuous), −0.67
    (discrete) and −1.17 (multi-discrete).
    """
    return -0.1 if kind == "continuous" else -0.15


def bandit_reward(name: str, kind: ActionKind) -> float:
    """The mean reward after at most 600 updates. There is nothing to bootstrap on, so whoever is good enough stays it,
    and need not go on.
    """
    algo = made(name, kind, **QUICK.get(name, {}))
    obs = torch.rand(1000, OBS) * 2.0 - 1.0
    earned = -math.inf
    for _ in range(1 if isinstance(algo, Solver) else 10):
        if isinstance(algo, OnPolicy):
            train_on_rollouts(algo, kind, 4)
        else:
            for _ in range(1 if isinstance(algo, Solver) else 30 if algo.context else 60):
                algo.update(bandit_log(algo, kind))
        earned = reward(obs, algo.act(obs), kind).mean().item()
        if earned > enough(kind):
            break
    return earned


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kind in PAIRS if acts_on_numbers(name)])
def test_solves_the_bandit(name: str, kind: ActionKind) -> None:
    assert bandit_reward(name, kind) > enough(kind)


def chain() -> Batch:
    """s0 → s1 → s2 → end, reward 1 at the end, whatever is done."""
    state = torch.randint(3, (ROWS,))
    obs, next_obs = torch.eye(OBS)[state], torch.eye(OBS)[(state + 1) % OBS]
    last = state == 2
    to_go = DISCOUNT ** (2.0 - state)
    return Batch(obs, ABSENT, last.float(), DISCOUNT * (~last).float(), next_obs, return_to_go=to_go)


def bootstraps(name: str) -> bool:
    """Whether it values transitions, one batch like another; one parameter for all actions cannot."""
    algo, shared = target(name), name in {"proportional_q", "return_weighted"}
    return issubclass(algo, Discounted) and not issubclass(algo, OnPolicy) and not shared


def chain_values(algo: Any, kind: ActionKind) -> Tensor:
    """Mean value of each of the three states, by the algorithm's own critic (all three in PPO's case by V)."""
    obs = torch.eye(OBS)[:3]
    if hasattr(algo, "model"):
        return cast(Tensor, algo.model.network.value(obs))
    if hasattr(algo, "values"):
        return cast(Tensor, algo.values(obs)).mean(1)
    if not hasattr(algo, "critic"):
        return cast(Tensor, algo.value(obs))
    values = algo.critic(obs, actions(kind, 3)) if kind == "continuous" else algo.critic(obs)
    return values.mean(0) if kind == "continuous" else values.reshape(-1, 3, CHOICES).mean((0, 2))


BOOTSTRAPPING = [  # by day each class once: what its variants do otherwise is held against references
    pytest.param(name, kind, marks=() if name == primary(target(name)) else pytest.mark.slow)
    for name, kind in PAIRS
    if bootstraps(name)
]


@pytest.mark.parametrize(("name", "kind"), BOOTSTRAPPING)
def test_values_the_chain(name: str, kind: ActionKind) -> None:
    """Q is gamma², gamma, 1: the discount counts once a step, and not beyond the end."""
    algo = made(name, kind, **{**QUICK.get(name, {}), "discount": DISCOUNT})
    for _ in range(20 if isinstance(algo, Solver) else 500):
        algo.update(as_windows(with_needs(chain()._replace(action=actions(kind, ROWS)), algo, kind), algo))
    expected = torch.tensor([DISCOUNT**2, DISCOUNT, 1.0])
    torch.testing.assert_close(chain_values(algo, kind).float(), expected, atol=0.06, rtol=0)


def test_the_specs_are_those_of_the_bandit() -> None:
    """The best action is inside the bounds."""
    obs = torch.rand(100, OBS) * 2.0 - 1.0
    assert best(obs, "continuous").abs().max() <= SPECS["continuous"].action.high[0]
