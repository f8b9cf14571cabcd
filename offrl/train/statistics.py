"""Running statistics of what the environments return."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from offrl.types import State


class RunningMoments:
    """Mean and variance of all rows seen so far, merged batch by batch (Chan et al., 1979), in double precision."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = 0
        self.mean = torch.zeros(shape, dtype=torch.float64)
        self.squares = torch.zeros(shape, dtype=torch.float64)  # sum of squared deviations from the mean

    def add(self, rows: Tensor) -> None:
        """Count `rows` [B, *shape] in."""
        rows = rows.detach().to("cpu", torch.float64)
        size, mean = rows.shape[0], rows.mean(0)
        delta, total = mean - self.mean, self.count + size
        self.squares = self.squares + (rows - mean).square().sum(0) + delta.square() * (self.count * size / total)
        self.mean = self.mean + delta * (size / total)
        self.count = total

    @property
    def std(self) -> Tensor:
        """[*shape] float32."""
        return (self.squares / max(self.count, 1)).sqrt().float()

    def statistics(self) -> tuple[Tensor, Tensor]:
        """(mean, std), [*shape] float32 each."""
        return self.mean.float(), self.std

    def state(self) -> State:
        """Everything seen so far."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def load(self, state: State) -> None:
        """Go on from `state`."""
        self.count = cast(int, state["count"])
        self.mean, self.squares = cast(Tensor, state["mean"]), cast(Tensor, state["squares"])


class RewardScaler:
    """Divides rewards by the running standard deviation of the discounted return, as VecNormalize of SB3 does.

    The quotient is clipped to [-10, 10]. Only what the algorithm learns from is scaled, never what is reported.
    """

    def __init__(self, num_envs: int, discount: float) -> None:
        self.discount = discount
        self.returns = torch.zeros(num_envs)
        self.moments = RunningMoments(())

    def __call__(self, reward: Tensor, done: Tensor) -> Tensor:
        """[N] raw rewards of one step, [N] whether the episode ended with it -> [N] scaled rewards."""
        self.returns = self.returns * self.discount + reward
        self.moments.add(self.returns)
        self.returns = torch.where(done, 0.0, self.returns)
        return (reward / (self.moments.std + 1e-4)).clamp(-10.0, 10.0)

    def state(self) -> State:
        """The returns under way and the moments."""
        return {"returns": self.returns, "moments": self.moments.state()}

    def load(self, state: State) -> None:
        """Go on from `state`."""
        self.returns = cast(Tensor, state["returns"])
        self.moments.load(cast(State, state["moments"]))
