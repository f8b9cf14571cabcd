"""Data that costs nothing to make: speed does not depend on what the numbers mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

OBS, ACTION, EPISODE = 11, 3, 1_000  # Hopper's shapes; steps of one episode


class Log(NamedTuple):
    """Whole episodes laid end to end, first axis steps."""

    obs: NDArray[np.float32]  # [steps, OBS]
    action: NDArray[np.float32] | NDArray[np.int64]  # [steps, ACTION] in [-1, 1], or [steps] of some choices
    reward: NDArray[np.float32]  # [steps]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    next_obs: NDArray[np.float32]


def hopper_like(rows: int, choices: int = 0, seed: int = 0) -> Log:
    """`rows` noisy transitions in episodes of 1,000 steps; every second episode terminates, the others time out. With
    `choices` > 0 actions are that many discrete ones.
    """
    draw = np.random.default_rng(seed)
    obs = draw.standard_normal((rows, OBS), dtype=np.float32)
    discrete = draw.integers(0, max(choices, 1), rows)
    action = discrete if choices else draw.uniform(-1, 1, (rows, ACTION)).astype(np.float32)
    step = np.arange(1, rows + 1)
    last, odd = step % EPISODE == 0, step // EPISODE % 2 == 1
    return Log(
        obs=obs,
        action=action,
        reward=(1 + 0.1 * draw.standard_normal(rows)).astype(np.float32),
        terminated=last & odd,
        truncated=last & ~odd,
        next_obs=np.concatenate([obs[1:], obs[:1]]),
    )
