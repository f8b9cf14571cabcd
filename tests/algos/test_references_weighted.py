"""The weighted family and generative BCQ: ours and plain references move alike; closed forms hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from offrl.data.dataset import rescale_reward
from offrl.errors import UserError
from offrl.functional import noise, weights
from offrl.functional.divergence import decoupled_gaussian_kl
from offrl.functional.regression import gumbel_loss
from offrl.types import Batch, Steps
from tests.algos.test_references import (
    ACTIONS,
    CONTINUOUS,
    DISCRETE,
    OBS,
    ROWS,
    Make,
    batches,
    compare,
    dense,
    log_std,
    make,  # noqa: F401  # pyright: ignore[reportUnusedImport] - a fixture
    same,
)
from tests.reference import implicit, weighted
from tests.reference.plain import copy_of, step

pytestmark = pytest.mark.usefixtures("double_precision")
KINDS = pytest.mark.parametrize("discrete", [False, True])


def begin(make: Make, name: str, discrete: bool, *overrides: str) -> Any:  # noqa: F811
    return make(name, DISCRETE if discrete else CONTINUOUS, *overrides)


def cloner(kind: type[Any], ours: Any, lr: float) -> Any:
    value = copy_of(dense(ours.value)) if hasattr(ours, "value") and not hasattr(ours, "critic") else None
    return kind(copy_of(dense(ours.actor)), log_std(ours.actor), lr, value)


def settle(reference: Any, ours: Any) -> None:
    compare({"actor": (reference.actor, ours.actor)})
    same(reference.log_std, log_std(ours.actor))


@KINDS
@pytest.mark.parametrize("name", ["emrl", "rwr", "return_weighted"])
def test_reward_weighted(make: Make, name: str, discrete: bool) -> None:  # noqa: F811
    ours = begin(make, name, discrete)
    reference = cloner(weighted.Cloner, ours, ours.lr)
    for plain in batches(discrete):
        batch = plain._replace(reward=plain.reward.abs(), return_to_go=3.0 * torch.randn(ROWS))
        ours.update(batch)
        score = batch.return_to_go if name == "return_weighted" else batch.reward
        weight = score if name == "emrl" else torch.exp(score).clamp(max=100.0)
        reference.clone(batch.obs, batch.action, weight)
    settle(reference, ours)


@KINDS
@pytest.mark.parametrize("bootstrap", [0.0, 1.0, 0.3])
def test_marwil(make: Make, bootstrap: float, discrete: bool) -> None:  # noqa: F811
    ours = begin(make, "marwil", discrete, f"algo.bootstrap={bootstrap}", "algo.max_weight=3.0")
    reference, squares = cloner(weighted.MARWIL, ours, ours.lr), []
    for plain in batches(discrete):
        batch = plain._replace(return_to_go=torch.randn(ROWS))
        ours.update(batch)
        reference.update(batch, bootstrap, ours.temperature, ours.scale_rate, 3.0, squares)
    settle(reference, ours)
    compare({"value": (reference.value, ours.value)})


def windows(batch: Batch, length: int) -> Batch:
    """Of random ages, of which only the last step may end the episode."""
    parts = Batch(*(column.unflatten(0, (-1, length)) if len(column) else column for column in batch))
    parts.discount[:, :-1] = 0.99
    parts.next_obs[:, :-1] = parts.obs[:, 1:]
    age = torch.randint(1, length + 1, (len(parts.reward), 1))
    return parts._replace(mask=torch.arange(length, 0, -1) <= age)


@KINDS
def test_awr(make: Make, discrete: bool) -> None:  # noqa: F811
    ours = begin(make, "awr", discrete, "algo.segment=4", "algo.max_weight=3.0")
    reference = cloner(weighted.AWR, ours, ours.actor_lr)
    for plain in batches(discrete):
        batch = windows(plain, 4)
        ours.update(batch)
        reference.update(batch, ours.trace, ours.temperature, 3.0)
    settle(reference, ours)
    compare({"value": (reference.value, ours.value)})


@KINDS
@pytest.mark.parametrize("name", ["awac", "crr", "crr_indicator"])
def test_critic_regression(make: Make, name: str, discrete: bool) -> None:  # noqa: F811
    period = 1 if name == "awac" else 2
    ours = begin(make, name, discrete, f"algo.target_period={period}")
    reference = cloner(weighted.CriticRegression, ours, ours.lr)
    reference.critics(copy_of(dense(ours.critic)), ours.lr, ours.target_rate, period)
    for seed, batch in enumerate(batches(discrete)):
        torch.manual_seed(seed)
        draws = [torch.randn(ours.value_actions, ROWS, ACTIONS) for _ in range(2)]
        torch.manual_seed(seed)
        ours.update(batch)
        reference.update(batch, draws, getattr(ours, "temperature", None), getattr(ours, "max_weight", 0.0))
    settle(reference, ours)
    compare({"critics": (reference.q, ours.critic), "target critics": (reference.target_q, ours.target_critic)})


def test_critic_weighted_policy(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Of the actions drawn each is taken as often as exp Q says."""
    ours = begin(make, "crr", False, "algo.acting_actions=3")
    obs = torch.randn(1, OBS).expand(60_000, OBS)
    draws = torch.randn(3, 1, ACTIONS)

    def repeated(shape: tuple[int, ...], like: Tensor) -> Tensor:
        return draws.expand(shape)

    monkeypatch.setattr(noise, "normal", repeated)
    for parameter in ours.critic.network.parameters():
        parameter.mul_(80.0 if parameter.shape[-1] == 1 else 1.0)  # or all would be worth nearly the same
    candidates = ours.actor(obs).sample(3)[:, 0].clamp(-1.0, 1.0)  # [3, A]
    worth = torch.stack([ours.critic(obs[:1], action[None]).amin() for action in candidates])
    taken = ours.act(obs)
    share = torch.stack([(taken == action).all(-1).double().mean() for action in candidates])
    torch.testing.assert_close(share, worth.softmax(0), atol=0.01, rtol=0.0)
    assert worth.softmax(0).max() > 0.4


def test_critic_weighted_policy_of_discrete_actions(make: Make) -> None:  # noqa: F811
    """The mode of the policy, tilted by exp Q; without it that of the policy."""
    obs = torch.randn(50, OBS)
    for count in (0, 4):
        ours = begin(make, "crr", True, f"algo.acting_actions={count}")
        tilted = ours.actor(obs).log_probs[0] + (ours.critic(obs).amin(0) if count else 0.0)
        assert torch.equal(ours.act(obs), tilted.argmax(-1))


class PlainXQL(implicit.IQL):
    """With a Gumbel regression for the value."""

    scale: float
    clip: float

    def update(self, batch: Batch) -> None:
        with torch.no_grad():
            q = torch.stack(self.q(self.target_critics, batch.obs, batch.action)).min(dim=0).values
        step(self.value_optimizer, weighted.gumbel(q - self.value[0](batch.obs).squeeze(1), self.scale, self.clip))
        kept = (self.value_optimizer, self.value)
        self.value_optimizer = torch.optim.SGD([torch.zeros((), requires_grad=True)])  # the rest is IQL's
        self.value_optimizer.add_param_group({"params": kept[1].parameters(), "lr": 0.0})
        super().update(batch)
        self.value_optimizer = kept[0]


@KINDS
@pytest.mark.parametrize("clip", [7.0, 0.02])  # the second cuts off some
def test_xql(make: Make, clip: float, discrete: bool) -> None:  # noqa: F811
    ours = begin(make, "xql", discrete, f"algo.error_clip={clip}")
    reference = PlainXQL(
        copy_of(dense(ours.value)),
        copy_of(dense(ours.actor)),
        copy_of(dense(ours.critic)),
        log_std(ours.actor),
        lr=ours.lr,
        rate=ours.target_rate,
        expectile=0.5,
        temperature=ours.temperature,
        max_weight=ours.max_weight,
    )
    reference.scale, reference.clip = ours.value_scale, clip
    for batch in batches(discrete):
        ours.update(batch)
        reference.update(batch)
    settle(reference, ours)
    compare({"value": (reference.value, ours.value), "critics": (reference.critics, ours.critic)})


@KINDS
def test_mpo(make: Make, discrete: bool) -> None:  # noqa: F811
    ours = begin(make, "mpo", discrete, "algo.actions=5", "algo.critics=2", "algo.initial_temperature=0.5")
    duals = ours.duals.network.log
    reference = weighted.MPO(
        copy_of(dense(ours.actor)), copy_of(dense(ours.critic)), duals, lr=ours.lr, dual_lr=ours.dual_lr
    )
    for seed, batch in enumerate(batches(discrete)):
        torch.manual_seed(seed)
        noise = None if discrete else [torch.randn(5, ROWS, ACTIONS) for _ in range(2)]
        torch.manual_seed(seed)
        ours.update(batch)
        reference.update(batch, noise, (ours.bound, ours.mean_bound, ours.std_bound))
    compare({"actor": (reference.actor, ours.actor), "critics": (reference.q, ours.critic)})
    same(reference.logs, duals)


def test_bcq(make: Make) -> None:  # noqa: F811
    ours = make("bcq", CONTINUOUS, "algo.target_actions=3")
    model = ours.generator.network
    reference = weighted.BCQ(
        *(copy_of(dense(part)) for part in (model.encoder, model.decoder, ours.actor, ours.critic))
    )
    for seed, batch in enumerate(batches()):
        torch.manual_seed(seed)
        shapes = ((ROWS,), (3 * ROWS,), (ROWS,))
        first, many, last = (torch.randn(*shape, ours.latent) for shape in shapes)
        torch.manual_seed(seed)
        ours.update(batch)
        noise = [first, many.view(3, ROWS, -1), last]
        reference.update(batch, noise, ours.perturbation, ours.minimum_weight, ours.target_rate)
    compare(
        {
            "encoder": (reference.encoder, model.encoder),
            "decoder": (reference.decoder, model.decoder),
            "actor": (reference.actor, ours.actor),
            "critics": (reference.q, ours.critic),
            "target critics": (reference.target_q, ours.target_critic),
        }
    )


def test_the_temperature_dual_is_least_where_a_minimiser_finds_it() -> None:
    """And there the weights are exactly as far from the old policy as the bound allows."""
    q, bound = torch.randn(20, 6), 0.1
    prior = torch.full_like(q, -np.log(20))

    def dual(eta: float) -> float:
        return float(weights.temperature_dual(q, prior, torch.tensor(eta), bound))

    low, high = 1e-2, 50.0
    while high - low > 1e-9:  # ternary search: the dual is convex
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if dual(left) < dual(right) else (left, high)
    best = low
    by_hand = [eta * bound + eta * float((q / eta).exp().mean(0).log().mean()) for eta in (0.5, 2.0)]
    assert [dual(0.5), dual(2.0)] == pytest.approx(by_hand)
    weight = weights.nonparametric(q, prior, torch.tensor(best))
    divergence = (weight * (weight.log() - prior)).sum(0).mean()
    assert float(divergence) == pytest.approx(bound, rel=1e-4)


def test_gumbel_regression_finds_the_soft_maximum() -> None:
    """beta log mean exp(x / beta), which lies between the mean and the maximum."""
    x, beta = torch.randn(50), 0.7
    v = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([v], max_iter=100, tolerance_grad=1e-12, tolerance_change=1e-14)

    def closure() -> Tensor:
        optimizer.zero_grad()
        z = (x - v) / beta
        top = z.detach().amax().clamp(min=-1.0)
        loss = gumbel_loss(x - v, beta, 1e9) * top.exp()  # the scale changes with v: undone, so that it is one function
        loss.backward()
        return loss

    optimizer.step(closure)
    expected = beta * (x / beta).exp().mean().log()
    assert float(v.detach()) == pytest.approx(float(expected), abs=1e-6)
    assert x.mean() < v < x.max()


def test_decoupled_divergences_are_those_of_gaussians() -> None:
    mean, std = torch.randn(2, 7, 3), torch.rand(2, 7, 3) + 0.1
    by_mean, by_std = decoupled_gaussian_kl(mean[0], std[0].log(), mean[1], std[1].log())
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence
    torch.testing.assert_close(by_mean, kl(normal(mean[0], std[0]), normal(mean[1], std[0])).sum(-1))
    torch.testing.assert_close(by_std, kl(normal(mean[0], std[0]), normal(mean[0], std[1])).sum(-1))


def two_actions(ours: Any, good: float, bad: float, updates: int = 300) -> float:
    """The probability of the good of two actions that a log holds equally often, after cloning."""
    action = torch.arange(ROWS) % 2
    reward = torch.where(action == 0, good, bad)
    obs = torch.zeros(ROWS, OBS)
    batch = Batch(obs, action, reward, torch.zeros(ROWS), obs, return_to_go=reward)
    for _ in range(updates):
        ours.update(batch)
    with torch.no_grad():
        chance = ours.actor(obs[:1]).log_probs[0].exp()[0]
    return float(chance[0] / (chance[0] + chance[1]))


FAST = "algo.lr=0.01"


def test_reward_weighting_prefers_the_good_action(make: Make) -> None:  # noqa: F811
    """Lectures' C21: cloning picks at random; the odds are the rewards', or those of their exponentials."""
    assert two_actions(begin(make, "bc", True, FAST), 3.0, 1.0) == pytest.approx(0.5, abs=0.01)
    assert two_actions(begin(make, "emrl", True, FAST), 3.0, 1.0) == pytest.approx(0.75, abs=0.01)
    odds = np.exp(3.0) / (np.exp(3.0) + np.exp(1.0))
    assert two_actions(begin(make, "rwr", True, FAST), 3.0, 1.0) == pytest.approx(odds, abs=0.01)


def test_negative_rewards_break_emrl_and_not_rwr(make: Make) -> None:  # noqa: F811
    """C22: pushed away from all that it has seen, EMRL flees even the better action."""
    assert two_actions(begin(make, "rwr", True, FAST), -1.0, -3.0) > 0.85
    ours = begin(make, "emrl", True, FAST)
    two_actions(ours, -1.0, -3.0)
    seen = ours.actor(torch.zeros(1, OBS)).log_probs[0].exp()[0, :2]
    assert float(seen.sum()) < 0.05


@pytest.mark.parametrize(
    ("lowest", "advice"), [(-3.0, 3.01), (-16.2736, 16.3), (-1.23456e-5, 1.24e-5), (-123456.7, 124000)]
)
def test_emrl_names_a_shift_that_will_do(make: Make, lowest: float, advice: float) -> None:  # noqa: F811
    """On top of what was done to the rewards before."""
    ours = begin(make, "emrl", True)
    flags, obs = np.zeros(2, bool), np.zeros((2, OBS), np.float32)
    log = Steps(obs, np.zeros(2, np.int64), np.array([1, lowest], np.float32), flags, flags, obs)
    with pytest.raises(UserError, match=rf"raise dataset\.reward_shift by {advice:g},"):
        ours.check_data(log)
    ours.check_data(rescale_reward(log, 1.0, advice))


@pytest.mark.parametrize("level", [1000.0, -1000.0])
def test_exponential_returns_saturate_or_vanish_and_advantages_do_not(make: Make, level: float) -> None:  # noqa: F811
    """C23: at returns of ±1000 the plain weight is infinite or 0, so that capped it clones, or learns nothing."""
    plain = torch.exp(torch.tensor([level, level - 2.0], dtype=torch.float32))
    assert plain.isinf().all() or (plain == 0.0).all()
    assert two_actions(begin(make, "return_weighted", True, FAST), level, level - 2.0) == pytest.approx(0.5, abs=0.1)
    ours = begin(make, "marwil_mc", True, "algo.lr=0.01", "algo.scale_rate=0.1")
    last = list(ours.value.network.parameters())[-1]
    last.fill_(level - 1.0)  # the value of the data's policy is known
    assert two_actions(ours, level, level - 2.0) > 0.8
