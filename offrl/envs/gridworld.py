"""A gridworld drawn as text, small enough to be solved exactly.

Import this module, or use the id `offrl.envs.gridworld:offrl/GridWorld-v0`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from offrl.errors import UserError

WALL, FLOOR, START, GOAL, PIT = "#", ".", "S", "G", "P"
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left: [row, column]
COLORS = {WALL: (60, 60, 60), FLOOR: (240, 240, 240), START: (205, 225, 245), GOAL: (90, 180, 90), PIT: (200, 80, 80)}
AGENT_COLOR = (50, 90, 200)
CELL_PIXELS = 32


class GridWorld(gym.Env[Any, Any]):
    """Walk from S to G around walls `#` and pits P; `.` is floor. Goals and pits end the episode.

    States number the cells that are no walls, row by row. Actions are up, right, down and left; a step into a wall
    stays where it is. With probability `slip` the step goes to one of the two sides instead. With several S, each
    episode starts at one of them, uniformly.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012 (as Gymnasium declares it)

    def __init__(
        self,
        layout: Sequence[str],
        slip: float = 0.0,
        goal_reward: float = 1.0,
        pit_reward: float = -1.0,
        step_reward: float = 0.0,
        render_mode: str | None = None,
    ) -> None:
        _check(layout, slip)
        self.render_mode = render_mode
        self._layout = [str(row) for row in layout]
        self.cells = [(r, c) for r, row in enumerate(self._layout) for c, cell in enumerate(row) if cell != WALL]
        self._number = {cell: state for state, cell in enumerate(self.cells)}
        kinds = np.array([self._layout[r][c] for r, c in self.cells])
        self.starts: NDArray[np.int64] = np.flatnonzero(kinds == START)
        self.terminal: NDArray[np.bool_] = (kinds == GOAL) | (kinds == PIT)  # [S]
        self._goal: NDArray[np.bool_] = kinds == GOAL
        # What entering each state earns, beside the cost of the step.
        self._entering = np.select([kinds == GOAL, kinds == PIT], [goal_reward, pit_reward], 0.0)
        self._step_reward = step_reward
        self._probabilities = self._tabulate(slip)
        self.observation_space = spaces.Discrete(len(self.cells))
        self.action_space = spaces.Discrete(len(MOVES))
        self.state = int(self.starts[0])

    def transition_probabilities(self) -> NDArray[np.float64]:
        """P(s' | s, a) as [S, A, S]; terminal states stay where they are."""
        return self._probabilities.copy()

    def expected_rewards(self) -> NDArray[np.float64]:
        """E[r | s, a] as [S, A]; zero in terminal states."""
        rewards = self._probabilities @ self._entering + self._step_reward
        return np.where(self.terminal[:, None], 0.0, rewards)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Start at one of the S."""
        super().reset(seed=seed, options=options)
        self.state = int(self.np_random.choice(self.starts))
        return self.state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Move; `info["success"]` says whether this is a goal."""
        self.state = int(self.np_random.choice(len(self.cells), p=self._probabilities[self.state, action]))
        reward = float(self._entering[self.state]) + self._step_reward
        return self.state, reward, bool(self.terminal[self.state]), False, {"success": bool(self._goal[self.state])}

    def render(self) -> NDArray[np.uint8]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A picture [height, width, 3]."""
        colors = np.array([[COLORS[cell] for cell in row] for row in self._layout], np.uint8)
        picture = colors.repeat(CELL_PIXELS, axis=0).repeat(CELL_PIXELS, axis=1)
        row, column = (CELL_PIXELS * position for position in self.cells[self.state])
        rim = CELL_PIXELS // 4
        picture[row + rim : row + CELL_PIXELS - rim, column + rim : column + CELL_PIXELS - rim] = AGENT_COLOR
        return picture

    def _tabulate(self, slip: float) -> NDArray[np.float64]:
        count = len(self.cells)
        table = np.zeros((count, len(MOVES), count))
        for state in range(count):
            for action in range(len(MOVES)):
                for turn, probability in ((0, 1.0 - slip), (1, slip / 2), (-1, slip / 2)):
                    table[state, action, self._after(state, (action + turn) % len(MOVES))] += probability
        return table

    def _after(self, state: int, direction: int) -> int:
        if self.terminal[state]:
            return state
        (row, column), (down, right) = self.cells[state], MOVES[direction]
        return self._number.get((row + down, column + right), state)


def _check(layout: Sequence[str], slip: float) -> None:
    cells = "".join(layout)
    unknown = sorted(set(cells) - set(COLORS))
    if unknown:
        raise UserError(f"env.kwargs.layout: unknown cells {unknown}; use {' '.join(COLORS)}")
    if len({len(row) for row in layout}) != 1:
        raise UserError("env.kwargs.layout: every row needs the same number of cells")
    if START not in cells:
        raise UserError(f"env.kwargs.layout: mark at least one start with {START}")
    if not 0.0 <= slip <= 1.0:
        raise UserError(f"env.kwargs.slip={slip} is not a probability")


gym.register("offrl/GridWorld-v0", f"{__name__}:GridWorld", max_episode_steps=100)
