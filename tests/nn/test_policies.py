"""Heads against torch.distributions and against numerical integrals."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import distributions as D

from offrl.build import build
from offrl.errors import UserError
from offrl.nn.networks import CNN, MLP, Critics, Normalize, Recurrent, Value
from offrl.nn.policies import Choices, Gaussian, Normal, Point, SquashedNormal
from offrl.types import ActionSpec, ObsSpec, Spec

BODY = {"hidden": (8,), "activation": "relu", "layer_norm": False, "initialisation": "uniform"}
PICTURES = {"channels": (4, 4), "kernels": (3, 2), "strides": (1, 1), "pixel_scale": 10.0}
CONTINUOUS = ActionSpec("continuous", (2,), low=(-1.0, -1.0), high=(1.0, 1.0))


pytestmark = pytest.mark.usefixtures("double_precision")


def test_normal() -> None:
    """Density and entropy are those of torch.distributions; samples have the mean and spread asked for."""
    mean, log_std = torch.randn(6, 3), torch.randn(3)
    ours, theirs = Normal(mean, log_std), D.Independent(D.Normal(mean, log_std.exp()), 1)
    action = torch.randn(6, 3)
    torch.testing.assert_close(ours.log_prob(action), theirs.log_prob(action))
    torch.testing.assert_close(ours.imitation_loss(action), -theirs.log_prob(action))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    many = Normal(torch.full((200_000, 1), 0.3), torch.tensor([-1.0])).sample()
    assert many.mean().item() == pytest.approx(0.3, abs=5e-3)
    assert many.std().item() == pytest.approx(float(torch.tensor(-1.0).exp()), abs=5e-3)


def test_squashed_normal() -> None:
    """Density is that of the transformed distribution; the sample's own density agrees with it."""
    mean, log_std = torch.randn(6, 3), torch.randn(6, 3) - 1.0
    ours = SquashedNormal(mean, log_std)
    base = D.Normal(mean, log_std.exp())
    theirs = D.Independent(D.TransformedDistribution(base, [D.TanhTransform(cache_size=1)]), 1)
    action = torch.rand(6, 3) * 1.8 - 0.9
    torch.testing.assert_close(ours.log_prob(action), theirs.log_prob(action))
    drawn, log_prob = ours.sample_and_log_prob(5)
    assert drawn.shape == (5, 6, 3)
    inside = drawn.abs().amax(-1) < 0.999  # nearer to the bounds the inverse tanh loses digits
    torch.testing.assert_close(log_prob[inside], ours.log_prob(drawn)[inside])
    assert ours.log_prob(torch.ones(6, 3)).isfinite().all()


def test_squashed_normal_integrates_to_one() -> None:
    """Over (-1, 1), by the midpoint rule."""
    points = (torch.arange(20_000) + 0.5) / 10_000 - 1.0
    density = SquashedNormal(torch.tensor([[0.4]]), torch.tensor([[-0.5]])).log_prob(points.unsqueeze(1)).exp()
    assert density.mean().item() * 2.0 == pytest.approx(1.0, abs=1e-3)


def test_choices() -> None:
    """One and several categorical actions."""
    logits = torch.randn(6, 5)
    several = Choices(logits, (3, 2), single=False)
    parts = [D.Categorical(logits=logits[:, :3]), D.Categorical(logits=logits[:, 3:])]
    action = torch.stack([torch.randint(3, (6,)), torch.randint(2, (6,))], 1)
    expected = parts[0].log_prob(action[:, 0]) + parts[1].log_prob(action[:, 1])
    torch.testing.assert_close(several.log_prob(action), expected)
    torch.testing.assert_close(several.entropy(), parts[0].entropy() + parts[1].entropy())
    assert several.sample().shape == several.mode().shape == (6, 2)
    single = Choices(logits, (5,), single=True)
    torch.testing.assert_close(single.log_prob(action[:, 0]), D.Categorical(logits=logits).log_prob(action[:, 0]))
    assert torch.equal(single.mode(), logits.argmax(1))


def test_choices_are_drawn_with_their_probabilities() -> None:
    """The Gumbel-max trick, counted."""
    probabilities = torch.tensor([0.1, 0.2, 0.7])
    drawn = Choices(probabilities.log().expand(100_000, 3), (3,), single=True).sample()
    shares = torch.bincount(drawn, minlength=3) / 100_000
    torch.testing.assert_close(shares, probabilities, atol=0.01, rtol=0)


def test_point() -> None:
    """Squared error, summed over dimensions."""
    point = Point(torch.tensor([[0.5, -0.5]]))
    assert point.imitation_loss(torch.zeros(1, 2)).item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("recipe", "obs"),
    [
        (MLP(**BODY, normalize_obs=True), ObsSpec((3,))),  # type: ignore[arg-type]
        (MLP(**BODY, normalize_obs=False), ObsSpec((4, 3), history=4)),  # type: ignore[arg-type]
        (Recurrent(**BODY, normalize_obs=True, recurrent_size=5), ObsSpec((4, 3), history=4)),  # type: ignore[arg-type]
        (CNN(**BODY, normalize_obs=False, **PICTURES), ObsSpec((3, 7, 7), "uint8")),  # type: ignore[arg-type]
        (CNN(**BODY, normalize_obs=False, **PICTURES), ObsSpec((2, 3, 7, 7), "uint8", history=2)),  # type: ignore[arg-type]
    ],
)
def test_every_network_reads_its_observations(recipe: MLP, obs: ObsSpec) -> None:
    """As policy, value and critics; gradients reach every parameter."""
    spec = Spec(obs, CONTINUOUS)
    rows = torch.randint(10, (6, *obs.shape), dtype=torch.uint8) if obs.dtype == "uint8" else torch.randn(6, *obs.shape)
    action = torch.rand(6, 2)
    gaussian = Gaussian(
        output_gain=1.0,
        tanh_mean=True,
        state_dependent_std=True,
        initial_log_std=0.0,
        min_log_std=-5.0,
        max_log_std=2.0,
    )
    policy, value, critics = gaussian.build(spec, recipe), Value(spec, recipe), Critics(spec, recipe, 3)
    assert policy(rows).sample().shape == (6, 2)
    assert value(rows).shape == (6,)
    assert critics(rows, action).shape == (3, 6)
    gradients = torch.autograd.grad(critics(rows, action).square().sum(), list(critics.parameters()))
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_history_matters_to_the_recurrent_network() -> None:
    """A change in the oldest observation reaches the output."""
    recipe = build({"_target_": "offrl.nn.networks.Recurrent", **BODY, "normalize_obs": False, "recurrent_size": 5})
    value = Value(Spec(ObsSpec((4, 3), history=4), CONTINUOUS), recipe)
    window = torch.randn(1, 4, 3)
    changed = window.clone()
    changed[0, 0] += 1.0
    assert value(window).item() != value(changed).item()


def test_discrete_critics_value_actions_by_index() -> None:
    """Asked for an action or for all of them, the same numbers."""
    spec = Spec(ObsSpec((3,)), ActionSpec("discrete", (), (4,)))
    critics = Critics(spec, MLP(**BODY, normalize_obs=False), 2)  # type: ignore[arg-type]
    obs, action = torch.randn(6, 3), torch.randint(4, (6,))
    torch.testing.assert_close(critics(obs, action), critics(obs)[:, torch.arange(6), action])


def test_normalisation_is_part_of_the_network() -> None:
    """Statistics are in the state dictionary and change what the network sees."""
    value = Value(Spec(ObsSpec((3,)), CONTINUOUS), MLP(**BODY, normalize_obs=True))  # type: ignore[arg-type]
    plain = value(torch.ones(1, 3))
    cast(Normalize, value.get_submodule("network.encoder.normalize")).set(torch.full((3,), 2.0), torch.full((3,), 0.5))
    torch.testing.assert_close(value(torch.tensor([[2.5, 2.5, 2.5]])), plain)
    assert "network.encoder.normalize.mean" in value.state_dict()


@pytest.mark.parametrize(
    ("recipe", "obs", "words"),
    [
        (MLP(**BODY, normalize_obs=False), ObsSpec((3, 7, 7), "uint8"), "network=cnn"),  # type: ignore[arg-type]
        (CNN(**BODY, normalize_obs=False, **PICTURES), ObsSpec((3,)), "network=mlp"),  # type: ignore[arg-type]
        (CNN(**BODY, normalize_obs=False, **PICTURES), ObsSpec((3, 2, 2), "uint8"), "cnn_small"),  # type: ignore[arg-type]
        (Recurrent(**BODY, normalize_obs=False, recurrent_size=5), ObsSpec((3,)), "env.history"),  # type: ignore[arg-type]
    ],
)
def test_a_network_that_cannot_read_says_which_can(recipe: MLP, obs: ObsSpec, words: str) -> None:
    """The remedy is in the message."""
    with pytest.raises(UserError, match=words):
        recipe.build(obs, 1)
