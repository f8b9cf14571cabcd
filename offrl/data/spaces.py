"""From Gymnasium spaces to the flat arrays that networks see, and back.

An observation becomes a float32 vector (Dict parts laid end to end, discrete parts one-hot) or one uint8
picture with its channels first. A continuous action becomes a vector in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from offrl.errors import UserError
from offrl.types import ActionSpec, ObsSpec

Array: TypeAlias = NDArray[Any]
Observations: TypeAlias = Array | Mapping[str, Array]  # [N, *space.shape], or one such array for each key of a Dict
Space: TypeAlias = spaces.Space[Any]

SMALLEST_GREY_PICTURE = 32  # pixels a side; a smaller table of bytes is taken for a vector


def obs_spec(space: Space, keys: Sequence[str] = (), history: int = 0) -> ObsSpec:
    """What the networks see of `space`. `keys` chooses the parts of a Dict, in order; none means
    `default_keys`.

    Raises:
        UserError: for a space that has no flat form (text, graphs, a picture beside other parts).
    """
    parts = _parts(space, keys)
    if any(_is_picture(part) for part in parts.values()):
        if len(parts) > 1:
            raise UserError(
                f"observation keys {list(parts)} mix a picture with other parts: choose one with "
                "env.obs_keys or dataset.obs_keys"
            )
        shape, dtype = _picture_shape(next(iter(parts.values()))), "uint8"
    else:
        shape, dtype = (sum(_width(part, key) for key, part in parts.items()),), "float32"
    return ObsSpec((history, *shape) if history else shape, dtype, history)


def default_keys(space: Space) -> tuple[str, ...]:
    """Keys used of a Dict when nobody chose: all but text, and but the achieved goal, which repeats the observation."""
    parts = subspaces(space)
    spare = {"", "achieved_goal"} if "desired_goal" in parts else {""}
    return tuple(key for key, part in parts.items() if key not in spare and not isinstance(part, spaces.Text))


def flatten_obs(space: Space, keys: Sequence[str], obs: Observations) -> NDArray[np.float32] | NDArray[np.uint8]:
    """[N, *space.shape] (an array for each key of a Dict) -> [N, *frame], where `frame` is `obs_spec(...)`
    without history.
    """
    parts = _parts(space, keys)
    arrays = {key: np.asarray(obs[key] if isinstance(obs, Mapping) else obs) for key in parts}
    flat = [_flatten(part, arrays[key]) for key, part in parts.items()]
    joined = flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1)
    return cast("NDArray[np.float32] | NDArray[np.uint8]", joined)


def layout(space: Space, keys: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What `flatten_obs` lays end to end: of each part its key (None where the space is no Dict), its shape in the
    space, how many numbers it becomes, and how."""
    return [
        {
            "key": key or None,
            "shape": list(cast("tuple[int, ...]", part.shape)),
            "numbers": int(np.prod(_picture_shape(part))) if _is_picture(part) else _width(part, key),
            "encoding": _encoding(part),
        }
        for key, part in _parts(space, keys).items()
    ]


def _encoding(space: Space) -> str:
    if _is_picture(space):
        return "a picture with its channels first"
    match space:
        case spaces.Discrete():
            return f"one-hot: {int(space.start)} is 1, 0, 0 …, the last is {int(space.start + space.n) - 1}"
        case spaces.MultiDiscrete():
            return f"each one-hot from {space.start.ravel().tolist()} on, side by side"
        case _:
            return "as it is, row by row"


def unflatten_obs(space: Space, keys: Sequence[str], flat: Array) -> Observations:
    """The inverse of `flatten_obs`; of a Dict only the parts that `keys` names come back."""
    parts = _parts(space, keys)
    if not isinstance(space, spaces.Dict):
        return _unflatten(space, flat)
    if len(parts) == 1:
        return {key: _unflatten(part, flat) for key, part in parts.items()}
    edges = np.cumsum([_width(part, key) for key, part in parts.items()])[:-1]
    return {
        key: _unflatten(part, piece)
        for (key, part), piece in zip(parts.items(), np.split(flat, edges, axis=1), strict=True)
    }


def action_spec(space: Space) -> ActionSpec:
    """What a policy may do in `space`.

    Raises:
        UserError: for a space that is not Box, Discrete, MultiDiscrete or MultiBinary.
    """
    match space:
        case spaces.Box():
            low, high = space.low.ravel().astype(np.float32), space.high.ravel().astype(np.float32)
            return ActionSpec("continuous", (low.size,), low=tuple(low.tolist()), high=tuple(high.tolist()))
        case spaces.Discrete():
            return ActionSpec("discrete", (), (int(space.n),))
        case spaces.MultiDiscrete():
            choices = tuple(int(n) for n in space.nvec.ravel())
            return ActionSpec("multi_discrete", (len(choices),), choices)
        case spaces.MultiBinary():
            size = int(np.prod(space.shape))
            return ActionSpec("multi_discrete", (size,), (2,) * size)
        case _:
            raise UserError(f"action space {space} is not supported: use Box, Discrete, MultiDiscrete or MultiBinary")


def scale_action(space: Space, raw: Array) -> NDArray[np.float32] | NDArray[np.int64]:
    """Environment's actions [N, ...] -> algorithms' units: float32 [N, A], [-1, 1] being the bounds, or int64
    from 0.

    A coordinate with an infinite bound is passed on as it is.
    """
    spec = action_spec(space)
    if spec.kind != "continuous":
        return (raw.reshape(len(raw), *spec.shape) - _start(space)).astype(np.int64)
    center, half = _center_and_half(spec)
    return ((raw.reshape(len(raw), -1).astype(np.float64) - center) / half).astype(np.float32)


def log_density_shift(space: Space) -> float:
    """What turns the log-density of an action in the units of `space` into that of the scaled one: the sum of
    log((high - low) / 2) over bounded coordinates (change of variables). 0 where actions are discrete.
    """
    spec = action_spec(space)
    return float(np.log(_center_and_half(spec)[1]).sum()) if spec.kind == "continuous" else 0.0


def unscale_action(space: Space, action: Array) -> Array:
    """The inverse of `scale_action`: [N, *space.shape] in the space's type, clipped to its bounds."""
    raw = logged_action(space, action).reshape(len(action), *cast("tuple[int, ...]", space.shape))
    if isinstance(space, spaces.Box):
        raw = np.clip(raw, space.low, space.high)
    return raw.astype(space.dtype)


def logged_action(space: Space, action: Array) -> Array:
    """Actions [N, ...] of the algorithms in the units of `space`, flat as they are; also those outside its bounds."""
    spec = action_spec(space)
    if spec.kind != "continuous":
        return action + _start(space)
    center, half = _center_and_half(spec)
    return action.astype(np.float64) * half + center


def _center_and_half(spec: ActionSpec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = np.asarray(spec.low, np.float64), np.asarray(spec.high, np.float64)
    bounded = np.isfinite(low) & np.isfinite(high) & (low < high)
    low, high = np.where(bounded, low, -1.0), np.where(bounded, high, 1.0)
    return (low + high) / 2, (high - low) / 2


def _start(space: Space) -> NDArray[np.int64]:
    match space:
        case spaces.Discrete():
            return np.asarray(int(space.start))
        case spaces.MultiDiscrete():
            return space.start.ravel().astype(np.int64)
        case _:
            return np.asarray(0)


def subspaces(space: Space) -> dict[str, Space]:
    """Parts of a Dict by key; any other space is its own single part, of key ""."""
    if isinstance(space, spaces.Dict):
        return dict(cast("spaces.Dict[Any]", space).spaces)
    return {"": space}


def box_space(low: Array, high: Array) -> Space:
    """Vectors between these bounds, float32."""
    return spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def choice_space(choices: Sequence[int], single: bool) -> Space:
    """One discrete action, or several at once."""
    return spaces.Discrete(choices[0]) if single else spaces.MultiDiscrete(list(choices))


def dict_space(parts: Mapping[str, Space]) -> Space:
    """A Dict of these."""
    return spaces.Dict(dict(parts))


def observed_space(parts: Mapping[str, Array]) -> Space:
    """The space that these observations [N, ...] may be of: a Dict, unless the only part has the key ""."""
    boxes: dict[str, Space] = {
        key: spaces.Box(0, 255, value.shape[1:], np.uint8)
        if value.dtype == np.uint8
        else spaces.Box(-np.inf, np.inf, value.shape[1:], np.float32)
        for key, value in parts.items()
    }
    return boxes.get("") or spaces.Dict(boxes)


def _parts(space: Space, keys: Sequence[str]) -> dict[str, Space]:
    parts = subspaces(space)
    if "" in parts:
        if keys:
            raise UserError(
                f"obs_keys={list(keys)}: this observation space is {space}, without keys: leave obs_keys empty"
            )
        return parts
    chosen = tuple(keys) or default_keys(space)
    unknown = [key for key in chosen if key not in parts]
    if unknown or not chosen:
        raise UserError(f"obs_keys={list(keys)}: unknown {unknown}; this observation space has {list(parts)}")
    return {key: parts[key] for key in chosen}


def _is_picture(space: Space) -> bool:
    if not (isinstance(space, spaces.Box) and space.dtype == np.uint8):
        return False
    return len(space.shape) == 3 or (len(space.shape) == 2 and min(space.shape) >= SMALLEST_GREY_PICTURE)


def _channels_last(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[-1] < shape[0]  # pictures have more rows than channels


def _picture_shape(space: Space) -> tuple[int, ...]:
    shape = cast("tuple[int, ...]", space.shape)
    if len(shape) == 2:
        return (1, *shape)
    return (shape[2], shape[0], shape[1]) if _channels_last(shape) else shape


def _width(space: Space, key: str) -> int:
    match space:
        case spaces.Box() | spaces.MultiBinary():
            return int(np.prod(space.shape, dtype=int))
        case spaces.Discrete():
            return int(space.n)
        case spaces.MultiDiscrete():
            return int(space.nvec.sum())
        case _:
            name = f"observation key {key!r}" if key else "the observation"
            raise UserError(
                f"{name} is {space}, which has no flat form: leave it out with obs_keys, or wrap the environment"
            )


def _flatten(space: Space, obs: Array) -> Array:
    if _is_picture(space):
        pictures = obs.reshape(len(obs), *cast("tuple[int, ...]", space.shape)).astype(np.uint8, copy=False)
        if pictures.ndim == 3:
            return pictures[:, None]
        return np.ascontiguousarray(np.moveaxis(pictures, -1, 1)) if _channels_last(pictures.shape[1:]) else pictures
    match space:
        case spaces.Discrete():
            return np.eye(int(space.n), dtype=np.float32)[obs.reshape(-1).astype(np.int64) - int(space.start)]
        case spaces.MultiDiscrete():
            choices = obs.reshape(len(obs), -1).astype(np.int64) - space.start.ravel()
            return np.concatenate(
                [np.eye(int(n), dtype=np.float32)[choices[:, i]] for i, n in enumerate(space.nvec.ravel())],
                axis=1,
            )
        case _:
            return obs.reshape(len(obs), -1).astype(np.float32, copy=False)


def _unflatten(space: Space, flat: Array) -> Array:
    shape = cast("tuple[int, ...]", space.shape)
    if _is_picture(space):
        pictures = np.moveaxis(flat, 1, -1) if _channels_last(shape) else flat
        return np.ascontiguousarray(pictures).reshape(len(flat), *shape)
    match space:
        case spaces.Discrete():
            return flat.argmax(axis=1) + int(space.start)
        case spaces.MultiDiscrete():
            edges = np.cumsum(space.nvec.ravel())[:-1]
            choices = [piece.argmax(axis=1) for piece in np.split(flat, edges, axis=1)]
            return np.stack(choices, axis=1).reshape(len(flat), *shape) + space.start
        case _:
            return flat.reshape(len(flat), *shape).astype(cast(np.dtype[Any], space.dtype))
