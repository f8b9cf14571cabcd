"""Films of episodes."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import gymnasium as gym

from offrl.errors import UserError


def film(env: gym.Env[Any, Any], folder: str, name: str, episodes: int) -> gym.Env[Any, Any]:
    """Write the first episodes to `folder` as MP4 files; a wrapper for `env.wrappers`.

    Raises:
        UserError: the package that encodes films is missing.
    """
    check_encoder()
    with warnings.catch_warnings():  # of any folder that is there, whatever is in it
        warnings.filterwarnings("ignore", ".*Overwriting existing videos", UserWarning)
        return gym.wrappers.RecordVideo(
            env, folder, episode_trigger=lambda episode: episode < episodes, name_prefix=name, disable_logger=True
        )


def check_encoder() -> None:
    """Raise `UserError` where the package that encodes films is missing."""
    try:
        importlib.import_module("moviepy")
    except ImportError as error:
        raise UserError(f"films need moviepy, which is not installed: pip install 'offrl[video]' ({error})") from error
