"""A fixed set of logged episodes as a source of batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from offrl.data import steps as episodes
from offrl.data.columns import Columns, columns
from offrl.data.rows import Layout, Rows
from offrl.data.store import aside, content_key, new_array, open_array
from offrl.errors import UserError
from offrl.functional import noise
from offrl.types import Batch, Spec, State, Steps

Memory = Literal["auto", "device", "mmap"]

BLOCK = 256  # batches whose indices are drawn at once
STD_FLOOR = 1e-3  # added to every standard deviation, as TD3+BC's reference code does


class Dataset:
    """Logged transitions; `sample` draws rows uniformly with replacement, on the training device.

    Args:
        steps: whole episodes, one frame an observation.
        spec: of one frame; `history` > 0 in it gives batches windows of that many frames.
        needs: optional columns of `Batch` to fill.
        discount: gamma of the n-step sums and returns-to-go.
        context: steps of one episode in each row of a batch (see `Batch`); 0: single transitions.
        memory: `device` keeps packed rows on `device`; `mmap` keeps them in a file in `cache` and sends
            batches to `device`; `auto` prefers `device` where they take less than half of its memory.
        returns: undiscounted return of each episode, where the rewards in `steps` have been rescaled since.
        reward_map: (scale, shift) by which that was done, reward * scale + shift.
    """

    def __init__(
        self,
        steps: Steps,
        spec: Spec,
        *,
        needs: Sequence[str] = (),
        discount: float = 1.0,
        n_step: int = 1,
        context: int = 0,
        device: torch.device | str = "cpu",
        memory: Memory = "device",
        cache: Path | None = None,
        returns: NDArray[np.float64] | None = None,
        reward_map: tuple[float, float] = (1.0, 0.0),
        fingerprint: str = "",
    ) -> None:
        if len(steps) == 0:
            raise UserError("the dataset has no transitions")
        self.steps = steps
        self.spec = spec
        self.returns = episodes.returns(steps) if returns is None else returns
        self.reward_map = reward_map
        self.fingerprint = fingerprint or episodes.fingerprint(steps)
        layout = Layout(spec, tuple(needs), context)
        made = (
            columns(steps, tuple(layout.widths)[5:], discount, n_step)
            if "ahead" not in layout.widths
            else _with_ahead(steps, layout, discount, n_step)
        )
        device = torch.device(device)
        where = _choose(memory, layout, len(steps), device)
        if where == "mmap":
            key = (
                self.fingerprint,
                layout.widths,
                discount,
                n_step,
                float(self.returns.sum()),
                float(np.sum(steps.reward)),
            )
            self.rows = _rows_in_file(steps, made, layout, _need(cache) / f"rows-{content_key([], *key)}", device)
        else:
            self.rows = _rows_on_device(steps, made, layout, device)
        usable = None if made.usable is None else torch.as_tensor(np.flatnonzero(made.usable))
        self._usable = usable if usable is None else usable.to(self.rows.floats.device)
        self._size = len(steps) if usable is None else len(usable)
        self._sorted = where == "mmap"  # rows in file order are read in one sweep
        self._block = torch.empty(0, 0, dtype=torch.int64, device=self.rows.floats.device)
        self._cursor = 0
        self._reader = ThreadPoolExecutor(1, "reader") if where == "mmap" else None
        self._ahead: tuple[Tensor, int, Future[Batch]] | None = None  # (block, place in it, the batch)

    def __len__(self) -> int:
        return self._size

    def only_ends(self) -> None:
        """Draw last steps of episodes alone from here on: windows of enough steps then hold whole episodes."""
        self._usable = torch.as_tensor(episodes.ends(self.steps)).to(self.rows.floats.device)
        self._size = len(self._usable)

    def sample(self, batch_size: int) -> Batch:
        """`batch_size` rows, by indices drawn many batches ahead; from a file they are read one batch ahead, so that
        an update need not wait for the disk.
        """
        index, ahead = self.next_index(batch_size), self._ahead
        if self._reader is None:
            return self.rows.gather(index)
        place = self._cursor - 1
        known = ahead is not None and ahead[0] is self._block and ahead[1] == place
        batch = ahead[2].result() if known and ahead is not None else self.rows.gather(index)
        if self._cursor < len(self._block):
            waiting = self._reader.submit(self.rows.gather, self._block[self._cursor])
            self._ahead = self._block, self._cursor, waiting
        return batch

    def next_index(self, batch_size: int) -> Tensor:
        """Which rows the next batch has, [batch_size]."""
        if self._cursor == len(self._block) or self._block.shape[1] != batch_size:
            self._block = self._index((BLOCK, batch_size))
            self._cursor = 0
        index = self._block[self._cursor]
        self._cursor += 1
        return index

    def draw(self, batch_size: int) -> Batch:
        """`batch_size` rows by tensor code alone, for use inside a compiled graph."""
        return self.rows.gather(self._index((batch_size,)))

    def passes(self, batch_size: int) -> Iterator[Batch]:
        """Every row once, in the order of the log."""
        rows = torch.arange(self._size, device=self.rows.floats.device) if self._usable is None else self._usable
        for index in rows.split(batch_size):
            yield self.rows.gather(index)

    def state(self) -> State:
        """What the next `sample` depends on besides the global generator."""
        return {"index": self._block[self._cursor :].clone()}

    def load(self, state: State) -> None:
        """Go on sampling where `state` was taken."""
        self._block = cast("Tensor", state["index"]).to(self.rows.floats.device)
        self._cursor = 0

    def obs_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean, and standard deviation plus `STD_FLOOR`, of every observation in the data: float32
        [*obs.shape], CPU.
        """
        mean, std = episodes.moments(self.steps.obs)
        shape = self.spec.obs.shape
        return _spread(mean, shape), _spread(std + STD_FLOOR, shape)

    def _index(self, shape: tuple[int, ...]) -> Tensor:
        index = noise.integers(self._size, shape, self.rows.floats)
        if self._usable is not None:
            index = self._usable[index]
        return index.sort(-1).values if self._sorted else index


def _spread(frame: NDArray[np.float64], shape: tuple[int, ...]) -> Tensor:
    """Statistics of a frame, repeated for every frame of a history window."""
    return torch.as_tensor(frame.astype(np.float32)).expand(shape).clone()


def _with_ahead(steps: Steps, layout: Layout, discount: float, n_step: int) -> Columns:
    """Columns for history windows, which must know how far the window of the next observation reaches."""
    made = columns(steps, [name for name in tuple(layout.widths)[5:] if name != "ahead"], discount, n_step)
    return made._replace(extra={**made.extra, "ahead": made.last - np.arange(len(steps))})


def _choose(memory: Memory, layout: Layout, rows: int, device: torch.device) -> Literal["device", "mmap"]:
    if memory != "auto":
        return memory
    picture = 2 * int(np.prod(layout.frame)) if layout.spec.obs.is_image else 0
    needed = rows * (4 * layout.width + picture)
    if device.type == "cuda":
        room = torch.cuda.mem_get_info(device)[0]
    else:
        import os

        room = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return "device" if needed < room // 2 else "mmap"


def _need(cache: Path | None) -> Path:
    if cache is None:
        raise UserError(
            "dataset.memory=mmap needs a folder for its file, and these data have none: use dataset.memory=device"
        )
    return cache


def _rows_on_device(steps: Steps, made: Columns, layout: Layout, device: torch.device) -> Rows:
    floats = torch.empty(len(steps), layout.width)
    _pack(steps, made, layout, floats.numpy())
    pictures = None
    if layout.spec.obs.is_image:
        following = steps.next_obs if _one_step(made) else steps.next_obs[made.last]
        pictures = (torch.as_tensor(steps.obs).to(device), torch.as_tensor(following).to(device))
    return Rows(layout, floats.to(device), pictures)


def _rows_in_file(steps: Steps, made: Columns, layout: Layout, folder: Path, device: torch.device) -> Rows:
    """Packed rows in `folder`, written once, a chunk at a time; pictures stay where they are, if they are in a file."""
    in_place = isinstance(steps.obs, np.memmap) and _one_step(made)
    try:
        if not folder.exists():
            with aside(folder) as fresh:
                fresh.mkdir()
                _pack(steps, made, layout, new_array(fresh, "floats", (len(steps), layout.width), np.dtype(np.float32)))
                if layout.spec.obs.is_image and not in_place:
                    _write_pictures(fresh, "obs", steps.obs, np.arange(len(steps)))
                    _write_pictures(fresh, "next_obs", steps.next_obs, made.last)
    except OSError as error:
        raise UserError(
            f"dataset.memory=mmap cannot write its file {folder}: {error}; use dataset.memory=device, or make room"
        ) from error
    pictures = None
    if layout.spec.obs.is_image:
        arrays = steps.obs, steps.next_obs
        if not in_place:
            arrays = open_array(folder / "obs.npy"), open_array(folder / "next_obs.npy")
        pictures = (torch.as_tensor(arrays[0]), torch.as_tensor(arrays[1]))
    return Rows(layout, torch.as_tensor(open_array(folder / "floats.npy")), pictures, device=device)


def _one_step(made: Columns) -> bool:
    return bool((made.last == np.arange(len(made.last))).all())


def _write_pictures(folder: Path, name: str, pictures: NDArray[Any], rows: NDArray[np.int64]) -> None:
    target = new_array(folder, name, pictures.shape, np.dtype(np.uint8))
    for part in episodes.chunks(pictures):
        target[part] = pictures[rows[part]]


def _pack(steps: Steps, made: Columns, layout: Layout, out: NDArray[np.float32]) -> None:
    """Lay the columns side by side into `out` [rows, width]."""
    whole: dict[str, NDArray[Any]] = {
        "action": steps.action,
        "reward": made.reward,
        "discount": made.discount,
        **made.extra,
    }
    for part in episodes.chunks(steps.obs):
        for name, place in layout.places.items():
            if place.start == place.stop:
                continue
            match name:
                case "obs":
                    value = steps.obs[part]
                case "next_obs":
                    value = steps.next_obs[made.last[part]]
                case _:
                    value = whole[name][part]
            out[part, place] = value.reshape(len(value), -1)


def rescale_reward(steps: Steps, scale: float, shift: float) -> Steps:
    """reward -> reward * scale + shift."""
    if scale == 1.0 and shift == 0.0:
        return steps
    return replace(steps, reward=(np.asarray(steps.reward, np.float64) * scale + shift).astype(np.float32))
