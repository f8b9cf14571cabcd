"""Estimators of the policy gradient on a decision process of which every episode can be counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from offrl.algos.policy_gradient.state_corrected import state_ratio
from offrl.build import build
from offrl.data.dataset import Dataset
from offrl.errors import UserError
from offrl.functional.mdp import MDP, evaluate, expected_return, make_mdp, simulate
from offrl.functional.returns import generalized_advantage, n_step_advantage
from offrl.types import ActionSpec, Batch, ObsSpec, Rollout, Spec, Steps
from tests.algos.zoo import node
from tests.data.synthetic import DISCRETE, make_steps
from tests.reference.gradients import advantages

STATES, ACTIONS, HORIZON, BATCH, BATCHES = 3, 2, 4, 40, 400
SPEC = Spec(ObsSpec((STATES,)), ActionSpec("discrete", (), (ACTIONS,)))
Loss = Callable[[Batch], Tensor]

pytestmark = pytest.mark.usefixtures("double_precision")


def world(discount: float) -> MDP:
    """Three states, the last of which ends the episode; what is earned has a mean far from 0."""
    chances = [[[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]], [[0.5, 0.2, 0.3], [0.1, 0.6, 0.3]], [[1.0, 0.0, 0.0]] * 2]
    return make_mdp(
        chances, [[5.0, 6.0], [3.0, 7.0], [0.0, 0.0]], discount=discount, terminal=[0, 0, 1], horizon=HORIZON
    )


def algorithm(name: str, **knobs: object) -> Any:
    """With one linear layer over the state's one-hot vector, so that every policy can be expressed."""
    torch.manual_seed(1)
    config = node(name, "network.hidden=[]", "policy.output_gain=1.0")
    algo: Any = build(config | {"horizon": HORIZON} | knobs, "algo")
    algo.build(SPEC)
    return algo


def policy_of(algo: Any) -> Tensor:
    """[S, A] probabilities, differentiable."""
    return algo.actor.network(torch.eye(STATES)).log_probs[0].exp()


def gradient(algo: Any, value: Tensor) -> Tensor:
    """[P] of a number that depends on the policy."""
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, list(algo.actor.network.parameters()))])


def samples(algo: Any, mdp: MDP, behaviour: Tensor, loss: Loss) -> Tensor:
    """[BATCHES, P] minus the gradient of the loss of batches of episodes acted by `behaviour` [S, A]."""
    torch.manual_seed(2)
    raw = simulate(mdp, behaviour.detach(), HORIZON, BATCH * BATCHES)
    seen = Rollout(one_hot(raw.obs, STATES).double(), *raw[1:5], one_hot(raw.next_obs, STATES).double())
    rows = algo.prepare(seen)._replace(log_prob=behaviour.detach().log()[raw.obs, raw.action].T)
    parts = [Batch(*(c[i : i + BATCH] if c.numel() else c for c in rows)) for i in range(0, BATCH * BATCHES, BATCH)]
    return torch.stack([-gradient(algo, loss(algo.from_the_start(part))) for part in parts])


def reinforced(to_go: bool, baseline: str) -> Tensor:
    """[BATCHES, P] of REINFORCE, and the exact gradient as the last row."""
    algo, mdp = algorithm("reinforce_value", reward_to_go=to_go, baseline=baseline, discount=1.0), world(1.0)
    for parameter in algo.actor.network.parameters():
        parameter.requires_grad_(True)
    if baseline == "value":  # as if V were learned
        del algo.value
        algo.value = lambda obs: obs @ torch.tensor([14.0, 9.0, 0.0])
    exact = gradient(algo, expected_return(mdp, policy_of(algo)))
    drawn = samples(
        algo, mdp, policy_of(algo), lambda rows: algo.actor_loss(algo.actor.network, rows, algo.credit(rows))[0]
    )
    return torch.cat((drawn, exact[None]))


def assert_unbiased(drawn: Tensor, exact: Tensor) -> None:
    error = (drawn.mean(0) - exact).abs()
    assert (error <= 4.0 * drawn.std(0) / math.sqrt(len(drawn)) + 1e-9).all(), error
    assert exact.abs().max() > 0.1


def test_reinforce_is_unbiased_and_each_switch_cuts_variance() -> None:
    """C14: causality first, then a baseline; the mean stays the enumerated gradient."""
    spread = {}
    for switches in ((False, "none"), (True, "none"), (True, "average"), (True, "value")):
        both = reinforced(*switches)
        assert_unbiased(both[:-1], both[-1])
        spread[switches] = both[:-1].var(0).sum().item()
    assert spread[True, "none"] < 0.75 * spread[False, "none"]
    assert spread[True, "average"] < 0.5 * spread[True, "none"]
    assert spread[True, "value"] < 0.5 * spread[True, "none"]


@pytest.mark.parametrize("weighting", ["trajectory", "per_decision"])
def test_importance_weights_are_unbiased_off_policy(weighting: str) -> None:
    """Episodes of another policy give the gradient of this one's discounted return."""
    algo, mdp = algorithm("importance_weighted", weighting=weighting, self_normalized=False, discount=0.9), world(0.9)
    for parameter in algo.actor.network.parameters():
        parameter.requires_grad_(True)
    exact = gradient(algo, expected_return(mdp, policy_of(algo)))
    behaviour = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.5, 0.5]])
    drawn = samples(algo, mdp, behaviour, lambda rows: algo.loss(algo.actor.network, rows)[0])
    assert_unbiased(drawn, exact)


@pytest.mark.parametrize("weighting", ["trajectory", "per_decision", "step"])
def test_an_action_that_was_all_but_impossible_makes_no_number_infinite(weighting: str) -> None:
    """In single precision, without a price on the divergence; of six steps in three episodes one has all weight."""
    torch.set_default_dtype(torch.float32)
    algo = algorithm("importance_weighted", weighting=weighting, horizon=STATES, kl_weight=0.0)
    for parameter in algo.actor.network.parameters():
        parameter.requires_grad_(True)
    obs, ones = torch.eye(STATES).expand(3, STATES, STATES), torch.ones(3, STATES)
    mask = torch.tensor([[True, True, False]] * 3)
    rows = Batch(obs, torch.zeros(3, STATES).long(), ones, ones, obs, return_to_go=ones, mask=mask)
    rows = rows._replace(log_prob=algo.log_probs(algo.actor.network, rows).detach())
    rows.log_prob[0, 0] -= 500.0
    loss, metrics = algo.loss(algo.actor.network, rows)
    assert gradient(algo, loss).isfinite().all()
    assert all(value.isfinite() for value in metrics.values())
    used = 1.0 / 6.0 if weighting == "step" else 1.0 / 3.0
    assert metrics["weight/effective"].item() == pytest.approx(used)


def test_a_value_that_ignores_the_action_moves_nothing_on_average() -> None:
    """E[V(s) grad log pi] = 0: why the value policy gradient weights by r + gamma V(s'), not by V(s) itself."""
    algo, mdp = algorithm("reinforce", discount=1.0), world(1.0)
    for parameter in algo.actor.network.parameters():
        parameter.requires_grad_(True)
    value = torch.tensor([14.0, 9.0, 0.0])
    loss: Loss = lambda rows: algo.actor_loss(algo.actor.network, rows, rows.obs @ value)[0]  # noqa: E731
    drawn = samples(algo, mdp, policy_of(algo), loss)
    assert (drawn.mean(0).abs() <= 4.0 * drawn.std(0) / math.sqrt(BATCHES)).all()


def test_bias_falls_and_variance_grows_with_the_reach_of_the_return() -> None:
    """C15: with a value that is wrong by 2 everywhere, TD, 2-step, lambda 0.9 and Monte Carlo at the first state."""
    torch.manual_seed(0)
    mdp = world(1.0)
    endless = make_mdp(mdp.transition, mdp.reward, discount=1.0, terminal=mdp.terminal)
    policy = torch.full((STATES, ACTIONS), 0.5)
    exact = evaluate(endless, policy)
    seen = simulate(endless, policy, 60, 20_000)
    wrong = exact + 2.0
    columns = seen.reward, wrong[seen.obs], wrong[seen.next_obs], seen.terminated, seen.truncated
    bias, spread = [], []
    for n_step, trace in ((1, 1.0), (2, 1.0), (0, 0.9), (0, 1.0)):
        if n_step:
            gain = n_step_advantage(*columns, discount=1.0, trace=trace, n_step=n_step)
        else:
            gain = generalized_advantage(*columns, discount=1.0, trace=trace)
        target = (gain + columns[1])[0]
        bias.append(abs(target.mean().item() - exact[0].item()))
        spread.append(target.var().item())
    assert bias[0] > bias[1] > bias[2] > bias[3]
    assert bias[3] < 4.0 * math.sqrt(spread[3] / 20_000)
    assert spread[0] < spread[1] < spread[2] < spread[3]


@pytest.mark.parametrize("n_step", [1, 2, 5, 100])
@pytest.mark.parametrize("trace", [1.0, 0.7])
def test_n_step_advantage_is_its_sum(n_step: int, trace: float) -> None:
    shape = (9, 3)
    terminated, truncated = torch.rand(shape) < 0.2, torch.rand(shape) < 0.2
    rows = Rollout(
        torch.randn(shape), torch.randn(shape), torch.randn(shape), terminated, truncated, torch.randn(shape)
    )
    value, following = torch.randn(shape), torch.randn(shape)
    columns = rows.reward, value, following, terminated, truncated
    ours = n_step_advantage(*columns, discount=0.9, trace=trace, n_step=n_step)
    torch.testing.assert_close(ours, advantages(rows, value, following, 0.9, trace, n_step))


def test_logs_give_whole_episodes() -> None:
    """A batch of a dataset that draws only ends: every row one episode, from its first step to its last."""
    steps = make_steps([3, 5, 1, 4], [True, False, True, True], DISCRETE)
    data = Dataset(steps, DISCRETE, needs=("log_prob", "return_to_go"), discount=0.9, context=5)
    data.only_ends()
    torch.manual_seed(0)
    algo = algorithm("importance_weighted", horizon=5)
    rows = algo.from_the_start(data.sample(50))
    first, lengths = rows.obs[:, 0], rows.mask.sum(1)
    assert (first[:, 1] == 0).all()  # the time within the episode
    assert (lengths == torch.tensor([3, 5, 1, 4])[first[:, 0].long()]).all()
    assert set(first[:, 0].tolist()) == {0, 1, 2, 3}


def test_an_episode_longer_than_the_horizon_is_refused() -> None:
    steps: Steps = make_steps([3, 9], [True, True], DISCRETE)
    with pytest.raises(UserError, match=r"algo\.horizon=9"):
        algorithm("importance_weighted", horizon=5).check_data(steps)


def test_state_ratio_is_that_of_the_discounted_distributions() -> None:
    """w(s) = d_π(s) / d_b(s), by solving for both; with squares of single rows in its loss it would be half that."""
    discount, generator = 0.9, torch.Generator().manual_seed(1)
    chances = [[[0.8, 0.2, 0.0, 0.0], [0.1, 0.8, 0.1, 0.0]], [[0.7, 0.2, 0.1, 0.0], [0.0, 0.3, 0.7, 0.0]],
               [[0.5, 0.3, 0.2, 0.0], [0.1, 0.1, 0.5, 0.3]], [[0.0, 0.0, 0.0, 1.0]] * 2]  # fmt: skip
    mdp = make_mdp(chances, [[0.0, 0.0]] * 4, discount=discount, terminal=[0, 0, 0, 1], horizon=60)
    behaviour = torch.tensor([[0.8, 0.2], [0.8, 0.2], [0.7, 0.3], [0.5, 0.5]])
    target = torch.tensor([[0.3, 0.7], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])

    def visits(policy: Tensor) -> Tensor:
        onward = (policy[:, :, None] * torch.tensor(chances)).sum(1)[:3, :3]
        return torch.linalg.solve(torch.eye(3) - discount * onward.T, torch.eye(3)[0])

    raw = simulate(mdp, behaviour, 60, 400)
    over = raw.terminated | raw.truncated
    mask = (over.cumsum(0) - over.long()) == 0
    state, action, following, ended = (c[mask] for c in (raw.obs, raw.action, raw.next_obs, raw.terminated))
    time = torch.arange(60)[:, None].expand_as(raw.obs)[mask]
    rho = (target / behaviour)[state, action]
    knobs = node("state_corrected", "network.hidden=[]")
    algo: Any = build(knobs | {"discount": discount, "ratio_lr": 0.03}, "algo")
    algo.build(Spec(ObsSpec((4,)), ActionSpec("discrete", (), (2,))))
    for update in range(1800):
        rows = torch.randint(len(state), (64,), generator=generator)
        obs, next_obs = (one_hot(states[rows], 4).double() for states in (state, following))
        batch = Batch(obs, action[rows], obs[:, 0], discount * (~ended[rows]).double(), next_obs, timestep=time[rows])
        algo.ratio.descend(algo.ratio_loss, batch, rho[rows])
        if update in (800, 1400):
            algo.ratio.lr.mul_(0.2)
    found = state_ratio(algo.ratio, torch.eye(4))[:3]
    torch.testing.assert_close(found, visits(target) / visits(behaviour), rtol=0.2, atol=0.0)
