"""Problems on which estimators of off-policy evaluation are tried, each with its exact solution in `env.mdp`.

P. Thomas and E. Brunskill, "Data-Efficient Off-Policy Policy Evaluation for Reinforcement Learning", ICML 2016,
arXiv:1604.00923 (ModelFail, ModelWin); P. Thomas, "Safe Reinforcement Learning", dissertation, University of
Massachusetts 2015, chapter 2 (gridworld); C. Voloshin, H. Le, N. Jiang and Y. Yue, "Empirical Study of Off-Policy
Policy Evaluation for Reinforcement Learning", arXiv:1911.06854, appendix (Graph, Graph-POMDP, toy mountain car).

Import this module, or use ids such as `offrl.envs.off_policy:offrl/ModelFail-v0`.
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from offrl.envs.tabular import Tabular
from offrl.functional.mdp import MDP, make_mdp


def softmax_pair(logit: float) -> tuple[float, float]:
    """Probabilities of two actions with logits (`logit`, −`logit`): 1 gives (0.88, 0.12)."""
    first = 1.0 / (1.0 + float(np.exp(-2.0 * logit)))
    return first, 1.0 - first


def everywhere(mdp: MDP, probabilities: tuple[float, ...]) -> Tensor:
    """The policy [S, A] that chooses alike in every state."""
    return torch.tensor(probabilities, dtype=torch.float64).expand(mdp.states, mdp.actions)


def model_fail() -> MDP:
    """States left, upper, lower, end. The first action decides the lane, the second ends it with +1 from the upper one
    and −1 from the lower one, whatever it is.

    With all states behind one observation no model of it can tell the actions apart: behind softmax(1) the policy
    softmax(−1) is worth −tanh(1), and importance sampling alone finds that.
    """
    transition, reward = _blank(4, 2)
    transition[0, 0, 1] = transition[0, 1, 2] = 1.0
    transition[1:, :, 3] = 1.0
    reward[1, :, 3], reward[2, :, 3] = 1.0, -1.0
    return make_mdp(transition, reward, discount=1.0, terminal=[False, False, False, True], horizon=2)


def model_win() -> MDP:
    """States s1, s2, s3, all seen, 20 steps: from s1 action 0 leads to s2 with probability 0.4, action 1 with 0.6, else
    to s3; from there back. Arriving in s2 earns 1, in s3 −1.

    Every second choice is without effect, yet makes the weights of importance sampling wilder.
    """
    transition, reward = _blank(3, 2)
    transition[0, 0, 1:] = torch.tensor([0.4, 0.6], dtype=torch.float64)
    transition[0, 1, 1:] = torch.tensor([0.6, 0.4], dtype=torch.float64)
    transition[1:, :, 0] = 1.0
    reward[0, :, 1], reward[0, :, 2] = 1.0, -1.0
    return make_mdp(transition, reward, discount=1.0, horizon=20)


def gridworld(horizon: int = 100) -> MDP:
    """4×4 cells, moves up, right, down, left that never fail, from (0, 0) to (3, 3), where it ends; a step into the
    wall stays. The step into (1, 1) earns −10, into (1, 3) +1, into (3, 3) +10, any other −1.

    A horizon shorter than a model believes makes the variant with a false horizon.
    """
    transition, reward = _blank(16, 4)
    earned = torch.full((16,), -1.0, dtype=torch.float64)
    earned[[5, 7, 15]] = torch.tensor([-10.0, 1.0, 10.0], dtype=torch.float64)
    for cell in range(16):
        row, column = divmod(cell, 4)
        for action, (down, right) in enumerate(((-1, 0), (0, 1), (1, 0), (0, -1))):
            there = 4 * min(max(row + down, 0), 3) + min(max(column + right, 0), 3)
            transition[cell, action, there] = 1.0
    reward += earned
    return make_mdp(transition, reward, discount=1.0, terminal=torch.arange(16) == 15, horizon=horizon)


def graph(length: int = 16, swap: float = 0.25, dense: bool = True) -> MDP:
    """`length` steps; each action chooses the lane of the next node (0: A, 1: B), which is the other one with
    probability `swap`. A node of lane A earns 1, of lane B −1; if not `dense`, only the last one does.

    Node t of lane A is state 2t − 1, of lane B state 2t; the start is state 0.
    """
    transition, reward = _blank(2 * length + 1, 2)
    for state in range(2 * length - 1):
        step = (state + 1) // 2  # nodes passed
        for action in range(2):
            transition[state, action, 2 * step + 1 + action] = 1.0 - swap
            transition[state, action, 2 * step + 2 - action] = swap
        if dense or step == length - 1:
            reward[state, :, 2 * step + 1], reward[state, :, 2 * step + 2] = 1.0, -1.0
    ends = torch.arange(2 * length + 1) >= 2 * length - 1
    transition[ends, :, ends.nonzero().squeeze(1)] = 1.0
    return make_mdp(transition, reward, discount=0.98, terminal=ends, horizon=length)


def toy_mountain_car(size: int = 10, horizon: int = 250) -> MDP:
    """A walk over −`size` … `size` from the middle, right (0) or left (1), −1 a step, until it steps off the right end;
    at the left end it stays."""
    places = 2 * size + 1
    transition, reward = _blank(places + 1, 2)
    place = torch.arange(places)
    transition[place, 0, place + 1] = 1.0
    transition[place, 1, (place - 1).clamp(min=0)] = 1.0
    transition[places, :, places] = 1.0
    reward[:places] = -1.0
    ends = torch.arange(places + 1) == places
    return make_mdp(transition, reward, discount=0.99, terminal=ends, start=size, horizon=horizon)


def _blank(states: int, actions: int) -> tuple[Tensor, Tensor]:
    """Transitions and rewards [S, A, S], to be filled in."""
    shape = (states, actions, states)
    return torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)


def blind(mdp: MDP) -> NDArray[np.float32]:
    """One observation for all states."""
    return np.zeros((mdp.states, 1), np.float32)


def laneless(mdp: MDP) -> NDArray[np.float32]:
    """What Graph-POMDP shows: how many nodes have been passed, one-hot, and not of which lane."""
    passed = (np.arange(mdp.states) + 1) // 2
    return np.eye(passed.max() + 1, dtype=np.float32)[passed]


class ModelFail(Tabular):
    """`model_fail` behind one observation."""

    def __init__(self) -> None:
        mdp = model_fail()
        super().__init__(mdp, blind(mdp))


class ModelWin(Tabular):
    """`model_win`, its states seen."""

    def __init__(self) -> None:
        super().__init__(model_win())


class OffPolicyGrid(Tabular):
    """`gridworld`, its cells seen."""

    def __init__(self, horizon: int = 100) -> None:
        super().__init__(gridworld(horizon))


class Graph(Tabular):
    """`graph`, its nodes seen, or with `hide_lane` their lane hidden (Graph-POMDP)."""

    def __init__(self, length: int = 16, swap: float = 0.25, dense: bool = True, hide_lane: bool = False) -> None:
        mdp = graph(length, swap, dense)
        super().__init__(mdp, laneless(mdp) if hide_lane else None)


class ToyMountainCar(Tabular):
    """`toy_mountain_car`, its places seen."""

    def __init__(self, size: int = 10, horizon: int = 250) -> None:
        super().__init__(toy_mountain_car(size, horizon))


for _name in ("ModelFail", "ModelWin", "OffPolicyGrid", "Graph", "ToyMountainCar"):
    gym.register(f"offrl/{_name}-v0", f"{__name__}:{_name}")
