"""Updates of the policy-gradient family and of the plain versions beside it give the same parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from offrl.build import build
from offrl.nn.layers import Dense
from offrl.types import ActionSpec, Batch, ObsSpec, Rollout, Spec
from tests.reference import gradients
from tests.reference.plain import adam, assert_same, copy_of

OBS, ACTIONS, CHOICES, STEPS, ENVS = 5, 3, 4, 7, 6
TOLERANCE = 1e-9
CONTINUOUS = ActionSpec("continuous", (ACTIONS,), low=(-1.0,) * ACTIONS, high=(1.0,) * ACTIONS)
DISCRETE = ActionSpec("discrete", (), (CHOICES,))
Make = Callable[..., Any]
BOTH = pytest.mark.parametrize("discrete", [False, True])

pytestmark = pytest.mark.usefixtures("double_precision")


@pytest.fixture
def make(compose: Callable[..., dict[str, Any]]) -> Make:
    def made(name: str, discrete: bool, *overrides: str) -> Any:
        config = compose(f"algo={name}", "network.hidden=[8,6]", *overrides)
        algo: Any = build(config["algo"], "algo")
        algo.build(Spec(ObsSpec((OBS,)), DISCRETE if discrete else CONTINUOUS))
        return algo

    return made


def a_rollout(discrete: bool) -> Rollout:
    shape = (STEPS, ENVS)
    terminated, truncated = torch.rand(shape) < 0.2, torch.rand(shape) < 0.2
    action = torch.randint(CHOICES, shape) if discrete else torch.randn(*shape, ACTIONS)
    obs, next_obs = torch.randn(*shape, OBS), torch.randn(*shape, OBS)
    return Rollout(obs, action, torch.randn(shape), terminated, truncated & ~terminated, next_obs)


def dense(network: nn.Module) -> Dense:
    (found,) = (module for module in network.modules() if isinstance(module, Dense))
    return found


def spread(network: nn.Module) -> Tensor | None:
    return next((value for name, value in network.named_parameters() if name.endswith("log_std")), None)


def plain_actor(network: nn.Module) -> gradients.Actor:
    return gradients.Actor(copy_of(dense(network))[0], spread(network))


def same_actor(reference: gradients.Actor, ours: nn.Module, tolerance: float = TOLERANCE) -> None:
    assert_same("actor", nn.ModuleList([reference.body]), dense(ours), tolerance)
    if reference.log_std is not None:
        torch.testing.assert_close(spread(ours), reference.log_std.data, rtol=0, atol=tolerance)


@BOTH
@pytest.mark.parametrize("name", ["a2c", "a2c_td", "a2c_n_step", "a2c_mc", "a2c_gae", "value_pg"])
def test_a2c(make: Make, name: str, discrete: bool) -> None:
    ours = make(
        name, discrete, "algo.discount=0.9", "algo.lr=0.01", "algo.n_step=3" if name == "a2c_n_step" else "seed=0"
    )
    model = ours.model.network
    actor, value = plain_actor(model.actor), copy_of(dense(model.value))[0]
    optimizer = adam([*actor.parameters(), *value.parameters()], 0.01, eps=1e-5)
    for _ in range(3):
        rollout = a_rollout(discrete)
        ours.update(ours.prepare(rollout))
        with torch.no_grad():
            v, following = value(rollout.obs).squeeze(-1), value(rollout.next_obs).squeeze(-1)
        gain = gradients.advantages(rollout, v, following, 0.9, ours.trace, ours.n_step)
        credit = gain + v if name == "value_pg" else gain
        policy = actor(rollout.obs)
        entropy = policy.entropy() if discrete else policy.entropy().sum(-1)
        loss = -(gradients.log_prob(policy, rollout.action) * credit).mean() - ours.entropy_weight * entropy.mean()
        loss = loss + 0.5 * ((value(rollout.obs).squeeze(-1) - gain - v) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*actor.parameters(), *value.parameters()], ours.max_grad_norm)
        optimizer.step()
    same_actor(actor, model.actor)
    assert_same("value", nn.ModuleList([value]), dense(model.value), TOLERANCE)


@BOTH
@pytest.mark.parametrize("name", ["ppo_kl", "ppo_adaptive_kl", "ppo_clip_kl", "ppo_clip_kl_entropy"])
def test_ppo_with_penalty(make: Make, name: str, discrete: bool) -> None:
    """Two rollouts of three steps each: beta changes between them where it adapts."""
    ours = make(name, discrete, "algo.lr=0.02", "algo.batch_size=1000", "algo.max_grad_norm=1e9", "algo.value_weight=0")
    actor, beta, factor = plain_actor(ours.model.network.actor), ours.kl_weight, ours.kl_adaptation
    optimizer = adam(actor.parameters(), 0.02, eps=1e-5)
    divergence = ours.kl_target
    for _ in range(2):
        batch = ours.prepare(a_rollout(discrete))
        if divergence > 1.5 * ours.kl_target:
            beta *= factor
        elif divergence < ours.kl_target / 1.5:
            beta /= factor
        advantage = (batch.advantage - batch.advantage.mean()) / (batch.advantage.std() + 1e-8)
        for _ in range(3):
            ours.update(batch)
            policy = actor(batch.obs)
            ratio = (gradients.log_prob(policy, batch.action) - batch.log_prob).exp()
            kl = (ratio - 1 - ratio.log()).mean()
            bounded = ratio if name in ("ppo_kl", "ppo_adaptive_kl") else ratio.clamp(0.8, 1.2)
            entropy = policy.entropy() if discrete else policy.entropy().sum(-1)
            surrogate = torch.min(ratio * advantage, bounded * advantage).mean()
            gradients.descend(optimizer, beta * kl - surrogate - ours.entropy_weight * entropy.mean())
            divergence = kl.item()
    same_actor(actor, ours.model.network.actor)
    assert ours.beta.item() == pytest.approx(beta)
    assert (beta != ours.kl_weight) == (factor > 1.0)


@BOTH
@pytest.mark.parametrize("name", ["trpo", "npg"])
def test_natural_gradient(make: Make, name: str, discrete: bool) -> None:
    ours = make(name, discrete, "algo.radius=0.3", "algo.solver_steps=8", "algo.damping=0.05")
    actor = plain_actor(ours.actor)
    for _ in range(3):
        batch = ours.prepare(a_rollout(discrete))
        advantage = (batch.advantage - batch.advantage.mean()) / (batch.advantage.std() + 1e-8)
        tries = ours.backtracks
        gradients.natural_step(actor, batch, advantage, radius=0.3, damping=0.05, steps=8, tries=tries)
        metrics = ours.update(batch)
        if name == "trpo":
            assert metrics["actor/kl"] <= 0.3
    same_actor(actor, ours.actor, 1e-8)


@BOTH
@pytest.mark.parametrize("to_go", [True, False])
@pytest.mark.parametrize("baseline", ["none", "average", "value"])
def test_reinforce(make: Make, discrete: bool, to_go: bool, baseline: str) -> None:
    knobs = (f"algo.reward_to_go={to_go}", f"algo.baseline={baseline}", "algo.discount=0.9", f"algo.horizon={STEPS}")
    ours = make("reinforce_value", discrete, *knobs)
    actor, value = plain_actor(ours.actor), nn.Identity()
    if baseline == "value":
        value = copy_of(dense(ours.value))[0]
    optimizer = adam(actor.parameters(), ours.lr)
    rollout = a_rollout(discrete)
    for _ in range(3 if baseline != "value" else 1):  # V itself is compared where A2C's is
        ours.update(ours.prepare(rollout))
        gradients.descend(optimizer, gradients.reinforce_loss(actor, value, rollout, 0.9, to_go, baseline))
    same_actor(actor, ours.actor)


@BOTH
@pytest.mark.parametrize("weighting", ["trajectory", "per_decision", "step"])
@pytest.mark.parametrize(("normalized", "cap"), [(True, float("inf")), (False, 1.1)])
def test_importance_weighted(make: Make, discrete: bool, weighting: str, normalized: bool, cap: float) -> None:
    """Also from windows that end with an episode's last step, as logs give them."""
    knobs = (f"algo.weighting={weighting}", f"algo.self_normalized={normalized}", f"algo.max_weight={cap}")
    ours = make("importance_weighted", discrete, *knobs, "algo.kl_weight=0.1", "algo.discount=0.9", "algo.lr=0.02")
    actor, rollout = plain_actor(ours.actor), a_rollout(discrete)
    optimizer = adam(actor.parameters(), 0.02)
    batch = ours.prepare(rollout)
    old = batch.log_prob.T.clone()
    for late in (False, True, False):
        ours.update(ended_late(batch) if late else batch)
        loss = gradients.weighted_loss(actor, rollout, old, 0.9, weighting, normalized, cap, 0.1)
        gradients.descend(optimizer, loss)
    same_actor(actor, ours.actor)


def ended_late(batch: Batch) -> Batch:
    """The same episodes, their padding in front."""
    length = batch.mask.sum(1)
    order = (torch.arange(STEPS) + length[:, None]) % STEPS
    rows = torch.arange(len(length))[:, None]
    return Batch(*(column[rows, order] if column.numel() else column for column in batch))


@BOTH
def test_state_corrected(make: Make, discrete: bool) -> None:
    ours = make("state_corrected", discrete, "algo.discount=0.9", "algo.max_weight=1.5")
    actor = plain_actor(ours.actor)
    value, ratio = copy_of(dense(ours.value))[0], copy_of(dense(ours.ratio))[0]
    reference = gradients.StateCorrected(actor, value, ratio, (ours.lr, ours.value_lr, ours.ratio_lr))
    for _ in range(3):
        rows = Rollout(*(column.flatten(0, 1)[:12] for column in a_rollout(discrete)))
        discount = 0.9 * (~rows.terminated).double()
        batch = Batch(rows.obs, rows.action, rows.reward, discount, rows.next_obs)
        batch = batch._replace(timestep=torch.arange(12) % 3, log_prob=-2 * torch.rand(12))
        assert discrete or (rows.action.abs() > 1.0).any()  # some stand for all that is clipped
        ours.update(batch)
        reference.update(batch, 0.9, ours.bandwidth, 1.5)
    same_actor(actor, ours.actor)
    assert_same("value", nn.ModuleList([value]), dense(ours.value), TOLERANCE)
    assert_same("ratio", nn.ModuleList([ratio]), dense(ours.ratio), TOLERANCE)
