"""Several sources as one, each with a fixed share of every batch."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from offrl.errors import UserError
from offrl.types import Batch, Source


class Mixture:
    """Batches with a fixed share from each source; a source that is still empty leaves its share to the
    others.

    Args:
        sources: all on one device, with the same columns.
        ratios: share of each source, in any unit.
    """

    def __init__(self, sources: Sequence[Source], ratios: Sequence[float]) -> None:
        if len(sources) != len(ratios) or min(ratios) < 0 or sum(ratios) <= 0:
            raise UserError(
                f"mixing ratios {list(ratios)} do not fit {len(sources)} sources: give each a share of at least 0"
            )
        self.sources = tuple(sources)
        self.ratios = tuple(ratios)

    def __len__(self) -> int:
        return sum(len(source) for source in self.sources)

    def __copy__(self) -> Mixture:
        """With copies of the sources, so that sampling from it leaves these where they are."""
        return Mixture([copy.copy(source) for source in self.sources], self.ratios)

    def sample(self, batch_size: int) -> Batch:
        """`batch_size` rows, those of one source together."""
        shares = self.shares(batch_size)
        return _joined([source.sample(count) for source, count in zip(self.sources, shares, strict=True) if count])

    def draw(self, batch_size: int) -> Batch:
        """`batch_size` rows by tensor code alone; every source with a share must hold rows by then."""
        shares = _split(batch_size, self.ratios)
        return _joined([source.draw(count) for source, count in zip(self.sources, shares, strict=True) if count])

    def shares(self, batch_size: int) -> list[int]:
        """Rows from each source; rounding goes to the sources that lost most by it."""
        weights = [ratio if len(source) else 0.0 for source, ratio in zip(self.sources, self.ratios, strict=True)]
        if sum(weights) == 0:
            raise UserError("nothing to sample from: every source with a share is empty")
        return _split(batch_size, weights)


def _joined(parts: Sequence[Batch]) -> Batch:
    """Batches one after the other."""
    return parts[0] if len(parts) == 1 else Batch(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _split(batch_size: int, weights: Sequence[float]) -> list[int]:
    """Whole numbers that add up to `batch_size`, in proportion to `weights` as nearly as can be."""
    exact = [batch_size * weight / sum(weights) for weight in weights]
    counts = [int(share) for share in exact]
    by_loss = sorted(range(len(exact)), key=lambda i: counts[i] - exact[i])
    for i in by_loss[: batch_size - sum(counts)]:
        counts[i] += 1
    return counts
