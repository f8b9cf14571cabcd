"""Scores to normalise returns by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReferenceScores:
    """Undiscounted returns that stand for 0 and 100 on the normalised scale."""

    random: float
    expert: float
    source: str  # where the two numbers come from

    def normalize(self, value: float) -> float:
        """100 · (return − random) / (expert − random), as D4RL does."""
        return 100.0 * (value - self.random) / (self.expert - self.random)
