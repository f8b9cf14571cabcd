"""First states that everyone's evaluation has in common: on small tasks they differ by more than the learners do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym


class Starts(gym.Wrapper[Any, Any, Any, Any]):
    """Begins its episodes with the given seeds in turn, after `rewind` with the first again; with none as it likes."""

    def __init__(self, env: gym.Env[Any, Any], seeds: Sequence[int]) -> None:
        super().__init__(env)
        self.seeds, self.next = list(seeds), 0

    def rewind(self, otherwise: int) -> None:
        """Begin from the first seed again; where there are none, reseed with `otherwise`."""
        self.next = 0
        if not self.seeds:
            self.env.reset(seed=otherwise)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The next episode."""
        if self.seeds:
            seed = self.seeds[self.next % len(self.seeds)]
            self.next += 1
        return self.env.reset(seed=seed, options=options)
