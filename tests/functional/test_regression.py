"""Losses element by element, against a loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from offrl.functional.regression import expectile_loss, huber_loss

ERRORS = np.concatenate([np.linspace(-3, 3, 61), [1e-9, -1e-9]])


@pytest.mark.parametrize("expectile", [0.1, 0.5, 0.7, 0.99])
def test_expectile_loss(expectile: float) -> None:
    expected = [(expectile if e >= 0 else 1 - expectile) * e**2 for e in ERRORS]
    np.testing.assert_allclose(expectile_loss(torch.from_numpy(ERRORS), expectile).numpy(), expected, rtol=1e-6)


def test_the_expectile_loss_is_least_at_the_expectile() -> None:
    """Of 0 and 1, equally likely, the tau-expectile is tau."""
    guess = torch.linspace(0, 1, 1001, dtype=torch.float64)
    loss = expectile_loss(0.0 - guess, 0.8) + expectile_loss(1.0 - guess, 0.8)
    assert guess[loss.argmin()].item() == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("threshold", [0.5, 1.0, 2.5, float("inf")])
def test_huber_loss(threshold: float) -> None:
    expected = [e**2 / 2 if abs(e) <= threshold else threshold * (abs(e) - threshold / 2) for e in ERRORS]
    np.testing.assert_allclose(huber_loss(torch.from_numpy(ERRORS), threshold).numpy(), expected, rtol=1e-12)


def test_huber_gradient_is_the_clipped_error() -> None:
    error = torch.tensor([-5.0, -0.5, 0.25, 7.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(huber_loss(error, 1.0).sum(), error)
    torch.testing.assert_close(gradient, torch.tensor([-1.0, -0.5, 0.25, 1.0]))
