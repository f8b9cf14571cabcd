"""Normalised observations: what is far off, what never varies, and that it is saved with the network."""

from __future__ import annotations

import torch

from offrl.nn.networks import FAR, Normalize


def test_statistics_and_bounds() -> None:
    normalize = Normalize((3,))
    normalize.set(torch.tensor([1.0, -2.0, 5.0]), torch.tensor([2.0, 0.5, 0.0]))
    obs = torch.tensor([[3.0, -2.0, 5.0], [1e6, -1e6, 5.5]])
    torch.testing.assert_close(normalize(obs), torch.tensor([[1.0, 0.0, 0.0], [FAR, -FAR, 0.5]]))


def test_saved_and_until_then_plain() -> None:
    fresh, other = Normalize((2,)), Normalize((2,))
    obs = torch.tensor([[0.3, -4.0]])
    assert torch.equal(fresh(obs), obs)
    other.set(torch.ones(2), torch.full((2,), 3.0))
    fresh.load_state_dict(other.state_dict())
    assert torch.equal(fresh(obs), other(obs))
    assert not torch.equal(fresh(obs), obs)
