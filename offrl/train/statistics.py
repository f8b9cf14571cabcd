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

    def add_in_turn(self, batches: NDArray[np.float32]) -> NDArray[np.float64]:
        """Count batch after batch of `batches` [T, B, *shape] in; the standard deviation after each, [T, *shape]."""
        values = batches.astype(np.float64)
        pivot = self.mean if self.count else values.mean((0, 1))  # close to all means, so that little cancels
        away = values - pivot
        ones = (1,) * self.mean.ndim
        count = self.count + values.shape[1] * np.arange(1, len(values) + 1).reshape(-1, *ones)
        shift = away.sum(1).cumsum(0) / count
        squares = self.squares + np.square(away).sum(1).cumsum(0) - count * np.square(shift)
        self.count, self.mean, self.squares = int(count.flat[-1]), pivot + shift[-1], np.maximum(squares[-1], 0.0)
        return np.sqrt(np.maximum(squares, 0.0) / count)

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

    def __call__(self, rewards: Tensor, dones: Tensor) -> Tensor:
        """[T, N] raw rewards of T steps, and whether an episode ended with them -> [T, N] scaled ones, each by the
        deviation of all returns up to its own step."""
        raw, goes_on = rewards.numpy(force=True), ~dones.numpy(force=True)
        returns = np.empty_like(raw)
        for t in range(len(raw)):
            np.add(self.returns * self.discount, raw[t], out=returns[t])
            self.returns = returns[t] * goes_on[t]
        std = self.moments.add_in_turn(returns).astype(np.float32)
        return torch.from_numpy(np.clip(raw / (std + np.float32(1e-4))[:, None], -10.0, 10.0)).to(rewards.device)

    def state(self) -> State:
        """The returns under way and the moments."""
        return {"returns": torch.from_numpy(self.returns), "moments": self.moments.state()}

    def load(self, state: State) -> None:
        """Go on from `state`."""
        self.returns = cast(Tensor, state["returns"]).numpy().copy()
        self.moments.load(cast(State, state["moments"]))
