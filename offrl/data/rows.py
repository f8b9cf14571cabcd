"""Transitions packed so that one gather serves all columns.

Every float column of a row lies side by side in one float32 tensor [rows, width]; integers below 2^24 are
exact in it. Pictures stay uint8, in tensors of their own, gathered by the same index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from offrl.errors import UserError
from offrl.types import Batch, Spec

EXACT = 1 << 24  # float32 holds every integer below


@dataclass(frozen=True)
class Layout:
    """Which columns a packed row has, and where."""

    spec: Spec
    optional: tuple[str, ...] = ()  # columns of `Batch` beyond the first five
    context: int = 0  # steps of one episode in each row of a batch; 0: rows are single transitions

    def __post_init__(self) -> None:
        if any(choices >= EXACT for choices in self.spec.action.choices):
            raise UserError(
                f"actions have {max(self.spec.action.choices):,} choices, and must have fewer than {EXACT:,}: renumber "
                "those that there are from 0 on, without gaps"
            )

    @cached_property
    def frame(self) -> tuple[int, ...]:
        """Shape of one observation without its history."""
        obs = self.spec.obs
        return obs.shape[1:] if obs.history else obs.shape

    @cached_property
    def widths(self) -> dict[str, int]:
        """Numbers in each column, in the order of the row. `ahead` is the offset of the last step of a row's window."""
        obs = 0 if self.spec.obs.is_image else self.frame[0]
        action = max(self.spec.action.size, 1)
        windows = ("timestep", "ahead") if self.spec.obs.history else ("timestep",) if self.context else ()
        names = dict.fromkeys((*self.optional, *windows))
        return {"obs": obs, "action": action, "reward": 1, "discount": 1, "next_obs": obs} | {
            name: action if name == "next_action" else 1 for name in names
        }

    @cached_property
    def width(self) -> int:
        """Numbers in one row."""
        return sum(self.widths.values())

    @cached_property
    def places(self) -> dict[str, slice]:
        """Where each column lies in a row."""
        places: dict[str, slice] = {}
        start = 0
        for name, width in self.widths.items():
            places[name] = slice(start, start + width)
            start += width
        return places


class Rows:
    """Packed transitions, on one device, or in a file with batches sent to a device.

    Args:
        floats: float32 [rows, layout.width].
        pictures: uint8 `(obs, next_obs)`, each [rows, *frame], where observations are pictures. The second
            costs the memory of the first once more, and in exchange the last observation of a truncated
            episode needs no special case.
        stride: distance between consecutive steps of one episode (history windows).
        device: where batches go; None: where the rows are.
    """

    def __init__(
        self,
        layout: Layout,
        floats: Tensor,
        pictures: tuple[Tensor, Tensor] | None = None,
        *,
        stride: int = 1,
        device: torch.device | None = None,
    ) -> None:
        self.layout = layout
        self.floats = floats
        self.pictures = pictures
        self.stride = stride
        self.device = device if device is not None and device != floats.device else None
        self._widths = tuple(layout.widths.values())
        self._names = tuple(layout.widths)
        self._wanted = frozenset(layout.optional)

    def __len__(self) -> int:
        return len(self.floats)

    def column(self, name: str) -> Tensor:
        """View of one column [rows, width]."""
        return self.floats[:, self.layout.places[name]]

    def gather(self, index: Tensor) -> Batch:
        """The rows at `index` [B] as a batch, or the windows that end there; tensor code only."""
        batch = self._contexts(index) if self.layout.context else self._rows(index)
        return batch if self.device is None else self._send(batch)

    @property
    def plain(self) -> bool:
        """Whether all of a row is in `floats`, and batches stay where they are."""
        layout = self.layout
        return self.pictures is None and not layout.spec.obs.history and not layout.context and self.device is None

    def _contexts(self, index: Tensor) -> Batch:
        """Windows [B, context, ...] of the steps up to each row; before an episode's first step, that step again."""
        timestep = self.column("timestep").index_select(0, index).long()  # [B, 1]
        back = torch.arange(self.layout.context - 1, -1, -1, device=index.device)
        steps = index[:, None] - self.stride * torch.minimum(back, timestep)
        rows = self._rows(steps.remainder(len(self)).flatten())  # a ring goes round
        windows = Batch(*(column.unflatten(0, steps.shape) if column.numel() else column for column in rows))
        return windows._replace(mask=back <= timestep)

    def _rows(self, index: Tensor) -> Batch:
        return self.unpacked(self.floats.index_select(0, index), index)

    def unpacked(self, floats: Tensor, index: Tensor) -> Batch:
        """Rows [B, width] that were gathered at `index` as a batch."""
        parts: Sequence[Tensor] = floats.split_with_sizes(self._widths, 1)
        obs, action, reward, discount, next_obs = parts[:5]
        if self.pictures is not None:
            obs, next_obs = self.pictures[0].index_select(0, index), self.pictures[1].index_select(0, index)
        extra = dict(zip(self._names[5:], parts[5:], strict=True)) if len(parts) > 5 else {}
        if self.layout.spec.obs.history:
            obs, next_obs = self._windows(index, obs, next_obs, extra)
        batch = Batch(obs, self._action(action), reward.squeeze(1), discount.squeeze(1), next_obs)
        if self._wanted:
            batch = batch._replace(**{name: self._finish(name, extra[name]) for name in self.layout.optional})
        return batch

    def _windows(self, index: Tensor, obs: Tensor, next_obs: Tensor, extra: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Put the observations before a row, and before the end of its window, in front of them."""
        history = self.layout.spec.obs.history
        timestep, ahead = extra["timestep"].long(), extra["ahead"].long()
        back = torch.arange(history - 1, -1, -1, device=index.device)
        recent = index[:, None] - self.stride * torch.minimum(back, timestep)
        last = index[:, None] + self.stride * ahead
        before = last - self.stride * torch.minimum(back[1:], timestep + ahead)
        frames = self.column("obs") if self.pictures is None else self.pictures[0]
        earlier = self._frames(frames, recent[:, :-1])
        return torch.cat((earlier, obs[:, None]), 1), torch.cat((self._frames(frames, before), next_obs[:, None]), 1)

    def _frames(self, frames: Tensor, index: Tensor) -> Tensor:
        index = index.remainder(len(self))  # a ring goes round
        return frames.index_select(0, index.flatten()).unflatten(0, index.shape)

    def _action(self, action: Tensor) -> Tensor:
        match self.layout.spec.action.kind:
            case "continuous":
                return action
            case "discrete":
                return action.squeeze(1).long()
            case "multi_discrete":
                return action.long()

    def _finish(self, name: str, value: Tensor) -> Tensor:
        if name == "next_action":
            return self._action(value)
        return value.squeeze(1).long() if name == "timestep" else value.squeeze(1)

    def _send(self, batch: Batch) -> Batch:
        return Batch(*(column.to(self.device, non_blocking=True) if column.numel() else column for column in batch))


def gather_each(rows: Sequence[Rows], index: Sequence[Tensor]) -> Batch | None:
    """What each of `rows`, all of one layout, has at its `index` [B]: [len(rows), B, …], unpacked at once.

    None where they are neither the same nor plain.
    """
    first = rows[0]
    if all(other is first for other in rows):
        batch = first.gather(torch.cat(list(index)))
    elif all(other.plain for other in rows):
        places = torch.cat(list(index))
        floats = torch.cat([each.floats.index_select(0, at) for each, at in zip(rows, index, strict=True)])
        batch = first.unpacked(floats, places)
    else:
        return None
    return Batch(*(column.unflatten(0, (len(rows), -1)) if column.numel() else column for column in batch))
