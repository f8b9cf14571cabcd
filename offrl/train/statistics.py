"""Running statistics of what the environments return."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from offrl.types import State


class RunningMoments:
    """Mean and variance of all rows seen so far, merged batch by batch (Chan et al., 1979), in double precision.

    In NumPy, which does a step's handful of numbers in a quarter of the time that torch takes.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = 0
        self.mean = np.zeros(shape)
        self.squares = np.zeros(shape)  # sum of squared deviations from the mean

    def add(self, rows: Tensor | NDArray[np.float32]) -> None:
        """Count `rows` [B, *shape] in."""
        array = rows.detach().cpu().numpy() if isinstance(rows, Tensor) else rows
        values = array.astype(np.float64)
        size, mean = len(values), values.sum(0) / len(values)
        delta, total = mean - self.mean, self.count + size
        self.squares = self.squares + np.square(values - mean).sum(0) + delta * delta * (self.count * size / total)
        self.mean = self.mean + delta * (size / total)
        self.count = total

    @property
    def std(self) -> NDArray[np.float64]:
        """[*shape]"""
        return np.sqrt(self.squares / max(self.count, 1))

    def statistics(self) -> tuple[Tensor, Tensor]:
        """(mean, std), [*shape] float32 each."""
        return torch.as_tensor(self.mean).float(), torch.as_tensor(self.std).float()

    def state(self) -> State:
        """Everything seen so far."""
        return {"count": self.count, "mean": torch.as_tensor(self.mean), "squares": torch.as_tensor(self.squares)}

    def load(self, state: State) -> None:
        """Go on from `state`."""
        self.count = cast(int, state["count"])
        self.mean, self.squares = (cast(Tensor, state[name]).numpy().copy() for name in ("mean", "squares"))


class RewardScaler:
    """Divides rewards by the running standard deviation of the discounted return, as VecNormalize of SB3 does.

    The quotient is clipped to [-10, 10]. Only what the algorithm learns from is scaled, never what is reported.
    """

    def __init__(self, num_envs: int, discount: float) -> None:
        self.discount = np.float32(discount)
        self.returns = np.zeros(num_envs, dtype=np.float32)
        self.moments = RunningMoments(())

    def __call__(self, reward: Tensor, done: Tensor) -> Tensor:
        """[N] raw rewards of one step, [N] whether the episode ended with it -> [N] scaled rewards."""
        rewards = reward.numpy()
        self.returns = self.returns * self.discount + rewards
        self.moments.add(self.returns)
        self.returns[done.numpy()] = 0.0
        scaled = rewards / np.float32(self.moments.std + 1e-4)
        return torch.from_numpy(np.minimum(np.maximum(scaled, -10.0), 10.0))

    def state(self) -> State:
        """The returns under way and the moments."""
        return {"returns": torch.from_numpy(self.returns), "moments": self.moments.state()}

    def load(self, state: State) -> None:
        """Go on from `state`."""
        self.returns = cast(Tensor, state["returns"]).numpy().copy()
        self.moments.load(cast(State, state["moments"]))
