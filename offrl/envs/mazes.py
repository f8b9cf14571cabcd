"""Controllers for PointMaze that know the map: one that wanders, and one that goes to the goal.

Both follow the shortest path from cell to cell with a spring and a damper, as the planner did that recorded D4RL's
maze2d. They expect `obs_keys` to begin with `observation` (x, y and their velocities).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offrl.envs.controllers import Controller, Obs
from offrl.envs.make import Env
from offrl.errors import UserError

WALL = 1
SPRING, DAMPER = 10.0, 1.0  # D4RL's waypoint controller
ARRIVED = 0.5  # cells


class MazeMap:
    """Centres of the free cells and, for each pair, the next cell on a shortest path."""

    def __init__(self, env: Env) -> None:
        one = env.make_one()
        maze = getattr(one.unwrapped, "maze", None)
        if maze is None:
            raise UserError(f"actor=scripted: the controller of env.script walks mazes, and {env.id} is none")
        self._maze = maze
        rows = maze.maze_map
        self._cells = [(i, j) for i, row in enumerate(rows) for j, cell in enumerate(row) if cell != WALL]
        self._number = {cell: number for number, cell in enumerate(self._cells)}
        self._shape = (len(rows), len(rows[0]))
        self._table = np.full(self._shape, -1)
        for cell, number in self._number.items():
            self._table[cell] = number
        self.centers: NDArray[np.float64] = np.array([maze.cell_rowcol_to_xy(np.array(cell)) for cell in self._cells])
        self.goals: NDArray[np.float64] = np.array(maze.unique_goal_locations)  # [goals, 2]
        self.next_cell = np.stack([self._towards(target) for target in range(len(self._cells))])  # [target, cell]
        one.close()

    def cell(self, position: NDArray[Any]) -> NDArray[np.int64]:
        """[N, 2] -> the number of the free cell that is nearest [N]."""
        distance = np.abs(position[:, None] - self.centers).max(axis=2)
        return distance.argmin(axis=1)

    def _towards(self, target: int) -> NDArray[np.int64]:
        """For each cell, the one to enter next on the way to `target`."""
        after = np.arange(len(self._cells))
        seen, queue = {target}, deque([target])
        while queue:
            here = queue.popleft()
            row, column = self._cells[here]
            for cell in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                there = self._number.get(cell)
                if there is not None and there not in seen:
                    seen.add(there)
                    after[there] = here
                    queue.append(there)
        return after


class Wanderer(Controller):
    """Goes to a cell at random, then to another: its steps cross the whole maze but are about no goal in particular."""

    def __init__(self, env: Env, num_envs: int, generator: np.random.Generator) -> None:
        super().__init__(env, num_envs, generator)
        self._map = MazeMap(env)
        self._target = self._draw(num_envs)

    def __call__(self, obs: Obs) -> NDArray[np.float32]:
        """Forces [N, 2] towards the targets."""
        away = np.linalg.norm(self._map.centers[self._target] - obs[:, :2], axis=1)
        arrived = np.flatnonzero(away < ARRIVED)
        self._target[arrived] = self._draw(len(arrived))
        return _steer(self._map, obs, self._target, self._map.centers[self._target])

    def restart(self, envs: Sequence[int]) -> None:
        """Think of other targets."""
        self._target[list(envs)] = self._draw(len(envs))

    def _draw(self, count: int) -> NDArray[np.int64]:
        return self.generator.integers(len(self._map.centers), size=count)


class Solver(Controller):
    """Goes to the goal and stays: the `desired_goal` after `observation`, else that of the map."""

    def __init__(self, env: Env, num_envs: int, generator: np.random.Generator) -> None:
        super().__init__(env, num_envs, generator)
        self._map = MazeMap(env)
        self._sees_goal = bool(env.obs_keys and env.obs_keys[1:2] == ("desired_goal",))
        if not self._sees_goal and len(self._map.goals) != 1:
            raise UserError(
                "offrl.envs.mazes:Solver: this maze has several goals; set env.obs_keys=[observation,desired_goal]"
            )

    def __call__(self, obs: Obs) -> NDArray[np.float32]:
        """Forces [N, 2] towards the goal."""
        goal = obs[:, 4:6] if self._sees_goal else np.repeat(self._map.goals, len(obs), axis=0)
        return _steer(self._map, obs, self._map.cell(goal), goal)


def _steer(maze: MazeMap, obs: Obs, target: NDArray[np.int64], end: NDArray[Any]) -> NDArray[np.float32]:
    """A spring towards the next cell's centre, or `end` in the target's own cell, and a damper."""
    position, velocity = obs[:, :2], obs[:, 2:4]
    here = maze.cell(position)
    waypoint = np.where((here == target)[:, None], end, maze.centers[maze.next_cell[target, here]])
    force = SPRING * (waypoint - position) - DAMPER * velocity
    return np.clip(force, -1.0, 1.0).astype(np.float32)
