"""Gymnasium's spaces seen as the networks' specs: what an environment shows and takes, in the algorithms' form.

Observations become one float32 vector or one uint8 image with its channels first; continuous actions live in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from offrl.data.spaces import action_spec, default_keys, flatten_obs, obs_spec
from offrl.types import ActionSpec, ObsSpec

Actions = Sequence[Any] | NDArray[Any]  # one for each environment, as `env.step` takes them
Encode = Callable[[Any], Any]  # the environment's observation -> something that fits into an array of the spec's shape


@dataclass(frozen=True)
class ObsCodec:
    """How to write an environment's observation into an array of shape `spec.shape` and type `spec.dtype`."""

    spec: ObsSpec
    encode: Encode


def obs_codec(space: spaces.Space[Any], keys: Sequence[str] | None) -> ObsCodec:
    """The codec of an observation space, with the same form as `offrl.data.spaces` gives to logged observations.

    Raises:
        UserError: the space, or a part of it, has no such form, or `keys` names no part of it.
    """
    chosen = tuple(keys or default_keys(space))
    spec = obs_spec(space, chosen)
    if isinstance(space, spaces.Dict):
        return ObsCodec(
            spec, lambda obs: flatten_obs(space, chosen, {key: np.asarray(obs[key])[None] for key in chosen})[0]
        )
    if isinstance(space, spaces.Box) and space.shape == spec.shape:
        return ObsCodec(spec, _as_is)  # nothing but the type changes, which writing into the array does
    return ObsCodec(spec, lambda obs: flatten_obs(space, (), np.asarray(obs)[None])[0])


def _as_is(obs: Any) -> Any:
    return obs


@dataclass(frozen=True)
class ActionCodec:
    """Actions between the algorithms' units and the environment's.

    `decode` takes N actions, an array [N, *spec.shape], and gives N actions that `env.step` accepts.
    """

    spec: ActionSpec
    decode: Callable[[NDArray[Any]], Actions]


def action_codec(space: spaces.Space[Any]) -> ActionCodec:
    """The codec of an action space.

    Continuous actions are clipped to [-1, 1] and scaled to the bounds of a Box; a coordinate with an infinite bound
    is passed on as it is. MultiBinary is multi-discrete with two choices each.

    Raises:
        UserError: no algorithm acts in such a space.
    """
    spec = action_spec(space)
    match space:
        case spaces.Box():
            return ActionCodec(spec, _scaling(space))
        case spaces.Discrete() if space.start == 0:
            return ActionCodec(spec, lambda action: action.tolist())
        case spaces.Discrete():
            return ActionCodec(spec, lambda action: (action + space.start).tolist())
        case spaces.MultiDiscrete():
            return ActionCodec(spec, lambda action: action.reshape(-1, *space.shape) + space.start)
        case _:
            return ActionCodec(spec, lambda action: action.reshape(-1, *(space.shape or ())))


def _scaling(space: spaces.Box) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
    low, high = space.low.ravel().astype(np.float32), space.high.ravel().astype(np.float32)
    bounded = np.isfinite(low) & np.isfinite(high)
    limit = np.where(bounded, np.float32(1.0), np.float32(np.inf))
    bottom, top = np.where(bounded, low, np.float32(-1.0)), np.where(bounded, high, np.float32(1.0))
    center, half = (bottom + top) / 2, (top - bottom) / 2
    scales = bool(np.any(center != 0.0) or np.any(half != 1.0))
    plain = len(space.shape) == 1 and space.dtype == np.float32

    def decode(action: NDArray[np.float32]) -> NDArray[Any]:
        clipped = np.minimum(np.maximum(action, -limit), limit)  # np.clip costs four times as much on so few numbers
        if scales:
            # Rounding may carry the end of the range past the bound, which strict environments refuse.
            clipped = np.minimum(np.maximum(clipped * half + center, low), high)
        return clipped if plain else clipped.reshape(-1, *space.shape).astype(space.dtype)

    return decode
