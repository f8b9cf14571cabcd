"""Intervals for the mean of a few numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def bootstrap_mean(
    values: Sequence[float], level: float = 0.95, replicates: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval for the mean (Efron & Tibshirani 1993, chapter 13)."""
    data = np.asarray(values, np.float64)
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(len(data), np.full(len(data), 1.0 / len(data)), size=replicates)
    low, high = np.quantile(counts @ data / len(data), [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)
