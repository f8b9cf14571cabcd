"""Environments side by side, as tensors: what trainers, evaluators and collectors step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from offrl.envs.block import Ended, Frames
from offrl.envs.spaces import ActionCodec, Actions
from offrl.errors import UserError
from offrl.types import Episode, ObsSpec, Spec, State


class Transition(NamedTuple):
    """What one step of N environments gives; every row is a genuine transition."""

    obs: Tensor  # [N, *obs.shape] what the policy sees next: after an episode's end, the first of the new one
    reward: Tensor  # [N] float32
    terminated: Tensor  # [N] bool
    truncated: Tensor  # [N] bool: cut off, most often by a time limit; never together with `terminated`
    next_obs: Tensor  # [N, *obs.shape] the true successor, also at the end of an episode
    finished: list[Episode]


class Simulator(Protocol):
    """`Block` in this process or `Workers` in others."""

    def reset(self, seed: int, frames: Frames) -> None: ...
    def step(self, actions: Actions, frames: Frames) -> list[Ended]: ...
    def state(self) -> list[State]: ...
    def load(self, states: Sequence[State], frames: Frames) -> bool: ...
    def render(self) -> NDArray[np.uint8]: ...
    def close(self) -> None: ...


class VectorEnv:
    """N environments with autoreset, history windows and exact state. Call `reset` or `load` first.

    An episode that ends is followed at once by a new one, which costs no step. All tensors are fresh: a caller may
    keep them.
    """

    obs: Tensor  # [N, *obs.shape] what the policy sees now

    def __init__(self, simulator: Simulator, spec: Spec, actions: ActionCodec, num_envs: int, seed: int) -> None:
        self.spec = spec
        self.num_envs = num_envs
        self._seed = seed
        self._simulator = simulator
        self._decode = actions.decode
        self._frame_shape = (num_envs, *frame_shape(spec.obs))
        self._dtype = np.dtype(spec.obs.dtype)

    def reset(self, seed: int | None = None) -> Tensor:
        """Begin an episode everywhere; the sequence of episodes depends on `seed` (or the one of `make`) alone."""
        frames = self._fresh()
        self._simulator.reset(self._seed if seed is None else seed, frames)
        self.obs = self._filled(torch.from_numpy(frames.obs))
        return self.obs

    def step(self, action: Tensor) -> Transition:
        """Step with actions [N, *action.shape] in the algorithms' units.

        Continuous actions are clipped to [-1, 1], then scaled to the environment's bounds.
        """
        frames = self._fresh()
        ended = self._simulator.step(self._decode(action.numpy(force=True)), frames)
        obs = next_obs = torch.from_numpy(frames.obs)
        if ended:
            next_obs = obs.clone()
            for end in ended:
                next_obs[end.episode.env] = torch.from_numpy(end.last_obs)
        if self.spec.obs.history:
            obs, next_obs = self._windows(obs, next_obs, ended)
        self.obs = obs
        flags = torch.from_numpy(frames.terminated), torch.from_numpy(frames.truncated)
        return Transition(obs, torch.from_numpy(frames.reward), *flags, next_obs, [end.episode for end in ended])

    def state(self) -> State:
        """Where every environment is: `load` gives back exactly this, for simulators driven by their seed alone."""
        return {"envs": [_with(torch.from_numpy, state) for state in self._simulator.state()], "obs": self.obs.clone()}

    def load(self, state: State) -> bool:
        """Go back to a saved state by replaying its episodes; `obs` is then what the policy sees.

        Returns:
            False where an environment did not come out as it was: it is then at the start of a new episode.

        Raises:
            UserError: the state is one of another number of environments.
        """
        envs, obs = cast(list[State], state["envs"]), cast(Tensor, state["obs"])
        if len(envs) != self.num_envs:
            raise UserError(
                f"env.num_envs={self.num_envs}, but the saved run had {len(envs)} environments: keep that number"
            )
        frames = self._fresh()
        exact = self._simulator.load([_with(_to_numpy, env) for env in envs], frames)
        self.obs = obs.clone() if exact else self._filled(torch.from_numpy(frames.obs))
        return exact

    def render(self) -> NDArray[np.uint8]:
        """A picture [height, width, 3] of the first environment (made with `render_mode="rgb_array"`)."""
        return self._simulator.render()

    def close(self) -> None:
        """Close the environments and end their processes."""
        self._simulator.close()

    def _fresh(self) -> Frames:
        n = self.num_envs
        obs = np.empty(self._frame_shape, self._dtype)
        return Frames(obs, np.empty(n, np.float32), np.empty(n, np.bool_), np.empty(n, np.bool_))

    def _filled(self, frame: Tensor) -> Tensor:
        """The window at an episode's start: its first frame, repeated."""
        history = self.spec.obs.history
        return frame.unsqueeze(1).repeat(1, history, *(1,) * (frame.ndim - 1)) if history else frame

    def _windows(self, frame: Tensor, next_frame: Tensor, ended: list[Ended]) -> tuple[Tensor, Tensor]:
        next_obs = torch.cat([self.obs[:, 1:], next_frame.unsqueeze(1)], dim=1)
        if not ended:
            return next_obs, next_obs
        obs = next_obs.clone()
        rows = [end.episode.env for end in ended]
        obs[rows] = self._filled(frame[rows])
        return obs, next_obs


def frame_shape(spec: ObsSpec) -> tuple[int, ...]:
    """The shape of one observation without its history axis."""
    return spec.shape[1:] if spec.history else spec.shape


def _to_numpy(tensor: Tensor) -> NDArray[Any]:
    return tensor.numpy(force=True)


def _with(convert: Any, state: Mapping[str, object]) -> dict[str, object]:
    """The state with its arrays converted to tensors, or the other way round."""
    return {key: convert(value) if isinstance(value, np.ndarray | Tensor) else value for key, value in state.items()}
