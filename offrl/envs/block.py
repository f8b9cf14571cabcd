"""Environments stepped one after the other in this process, each of which can be brought back to where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from offrl.envs.spaces import Actions, Encode, ObsCodec
from offrl.types import Episode, State

MAX_SEED = 2**31  # seeds below this are taken by every simulator


class Frames(NamedTuple):
    """What one step of N environments writes, after autoreset."""

    obs: NDArray[Any]  # [N, *shape]
    reward: NDArray[np.float32]  # [N]
    terminated: NDArray[np.bool_]  # [N]
    truncated: NDArray[np.bool_]  # [N] never together with `terminated`


class Ended(NamedTuple):
    """An episode that ended, and the observation that it ended with."""

    episode: Episode
    last_obs: NDArray[Any]  # [*shape]


class Seat:
    """One environment whose episodes begin with seeds of their own, drawn from a generator.

    So (generator, seed of this episode, actions since) is its exact state wherever the simulator has no randomness but
    from its seed.
    """

    def __init__(self, env: gym.Env[Any, Any], codec: ObsCodec, number: int) -> None:
        self.env = env
        self.number = number  # among all environments of the vector
        self._codec = codec
        self._generator = np.random.default_rng()

    def seed(self, seed: int) -> None:
        """Restart the generator of episode seeds; takes effect with the next episode."""
        self._generator = np.random.default_rng([seed, self.number])

    def begin(self) -> Any:
        """Start a new episode; its first observation, as the environment gives it."""
        return self._begin(int(self._generator.integers(MAX_SEED)))

    def _begin(self, seed: int) -> Any:
        self._episode_seed = seed
        self._actions: list[Any] = []
        self._total = 0.0
        self._success: bool | None = None
        self._obs, _ = self.env.reset(seed=seed)
        return self._obs

    def step(self, action: Any) -> tuple[Any, Any, Any, Any]:
        """One step: observation, reward, terminated, truncated."""
        self._obs, reward, terminated, truncated, info = self.env.step(action)
        self._actions.append(action)
        self._total += float(reward)
        if info:
            self._note_success(info)
        return self._obs, reward, terminated, truncated

    def _note_success(self, info: Mapping[str, Any]) -> None:
        success = info.get("success", info.get("is_success"))
        if success is not None:
            self._success = bool(success) or bool(self._success)

    def episode(self) -> Episode:
        """The episode so far."""
        return Episode(self.number, self._total, len(self._actions), self._success)

    def encoded(self) -> NDArray[Any]:
        """A copy of the present observation [*shape] in the spec's form."""
        row = np.empty(self._codec.spec.shape, self._codec.spec.dtype)
        row[...] = self._codec.encode(self._obs)
        return row

    def state(self) -> State:
        """Where this environment is: numbers, strings and arrays."""
        return {
            "generator": json.dumps(self._generator.bit_generator.state),  # holds integers of 128 bits
            "episode_seed": self._episode_seed,
            "actions": np.array(self._actions),
            "obs": self.encoded(),
        }

    def load(self, state: State) -> bool:
        """Replay the episode up to the saved step; False, in a new episode, where it came out differently."""
        self._generator.bit_generator.state = json.loads(cast(str, state["generator"]))
        self._begin(cast(int, state["episode_seed"]))
        actions = cast(NDArray[Any], state["actions"])
        for action in actions.tolist() if actions.ndim == 1 else actions:
            _, _, terminated, truncated = self.step(action)
            if terminated or truncated:
                break
        same_length = len(self._actions) == len(actions)
        if same_length and np.array_equal(self.encoded(), cast(NDArray[Any], state["obs"])):
            return True
        self.begin()
        return False


class Block:
    """N environments stepped in turn."""

    def __init__(self, seats: Sequence[Seat], encode: Encode) -> None:
        self._seats = list(seats)
        self._encode = encode

    def reset(self, seed: int, frames: Frames) -> None:
        """Reseed every environment, begin an episode in each, and write the observations."""
        for seat in self._seats:
            seat.seed(seed)
            seat.begin()
        self.write_obs(frames)

    def write_obs(self, frames: Frames) -> None:
        """Write the present observations."""
        for row, seat in enumerate(self._seats):
            frames.obs[row] = seat.encoded()

    def step(self, actions: Actions, frames: Frames) -> list[Ended]:
        """Step every environment and write what came of it; an episode that ends is followed by a new one at once."""
        ended: list[Ended] = []
        encode = self._encode
        rows, rewards, terminateds, truncateds = frames
        for row, seat in enumerate(self._seats):
            obs, reward, terminated, truncated = seat.step(actions[row])
            rewards[row] = reward
            terminateds[row] = terminated
            truncateds[row] = truncated and not terminated
            if terminated or truncated:
                ended.append(Ended(seat.episode(), seat.encoded()))
                obs = seat.begin()
            rows[row] = encode(obs)
        return ended

    def state(self) -> list[State]:
        """The state of each environment."""
        return [seat.state() for seat in self._seats]

    def load(self, states: Sequence[State], frames: Frames) -> bool:
        """Bring every environment back and write the observations; False where one of them had to start anew."""
        exact = [seat.load(state) for seat, state in zip(self._seats, states, strict=True)]
        self.write_obs(frames)
        return all(exact)

    def render(self) -> Any:
        """A picture [height, width, 3] of the first environment."""
        return self._seats[0].env.render()

    def close(self) -> None:
        """Close every environment."""
        for seat in self._seats:
            seat.env.close()
