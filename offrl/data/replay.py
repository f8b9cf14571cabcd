"""A ring of the most recent transitions of N environments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from offrl.data.columns import return_to_go
from offrl.data.rows import Layout, Rows
from offrl.errors import UserError
from offrl.functional import noise
from offrl.types import Batch, Spec, State, Steps


class Replay:
    """The last `capacity` transitions; `sample` draws uniformly with replacement, on `device`.

    Time runs along the first axis of the ring [slots, num_envs]. A row is a valid transition from the moment
    it is added; with `n_step` > 1 its window grows, in place, with each further step of its episode, up to n
    steps.

    Args:
        spec: as the policy sees it; of history windows only the newest frame is stored.
        needs: optional columns of `Batch`; a ring can fill `timestep` and `return_to_go`, which is −∞ (not known) until
            the episode is over.
        context: steps of one episode in each row of a batch (see `Batch`); 0: single transitions.
        reward_map: (scale, shift) of the rewards in batches, reward * scale + shift; `steps` gives them as they came.
    """

    def __init__(
        self,
        spec: Spec,
        capacity: int,
        num_envs: int = 1,
        discount: float = 1.0,
        n_step: int = 1,
        device: torch.device | str = "cpu",
        needs: Sequence[str] = (),
        context: int = 0,
        reward_map: tuple[float, float] = (1.0, 0.0),
    ) -> None:
        self.slots = capacity // num_envs
        if self.slots < max(n_step, spec.obs.history, context) + 1:
            raise UserError(
                f"a replay buffer of {capacity} transitions is too small for {num_envs} environments: "
                "raise its capacity"
            )
        if unable := sorted(set(needs) - {"timestep", "return_to_go"}):
            raise UserError(
                f"a replay buffer cannot fill {', '.join(unable)}: this algorithm learns from datasets only"
            )
        self.spec = spec
        self.num_envs = num_envs
        self.layout = Layout(spec, tuple(needs), context)
        rows, frame = self.slots * num_envs, self.layout.frame
        floats = _room(rows, (self.layout.width,), torch.float32, device)
        pictures = None
        if spec.obs.is_image:
            pictures = (_room(rows, frame, torch.uint8, device), _room(rows, frame, torch.uint8, device))
        self.rows = Rows(self.layout, floats, pictures, stride=num_envs)
        # On the CPU rows are written in place; elsewhere into a host copy of the slots whose windows still grow.
        self._by_slot = floats.view(self.slots, num_envs, -1)
        self._host = self._by_slot if floats.is_cpu else torch.zeros(n_step, num_envs, self.layout.width)
        written: NDArray[np.float32] = self._host.numpy()
        self._columns = {name: written[:, :, place] for name, place in self.layout.places.items()}
        self._n_step, self._reward_map = n_step, reward_map
        self._gammas = [discount**k for k in range(n_step + 1)]
        self._timed = n_step > 1 or not {"timestep", "return_to_go"}.isdisjoint(self._columns)
        self._timestep = np.zeros(num_envs, np.int64)  # of the next transition, in its episode
        self._reward = np.zeros((self.slots, num_envs), np.float32)  # one-step, for `steps`
        self._terminated = np.zeros((self.slots, num_envs), np.bool_)
        self._truncated = np.zeros((self.slots, num_envs), np.bool_)
        self._added = 0  # slots ever written
        self._count = torch.zeros((), dtype=torch.int64, device=device)  # rows that may be sampled, for `draw`
        self._first = torch.zeros((), dtype=torch.int64, device=device)  # where they begin

    def __len__(self) -> int:
        return min(self._added, self.slots) * self.num_envs

    def add(
        self,
        obs: Tensor,
        action: Tensor,
        reward: Tensor,
        terminated: Tensor,
        truncated: Tensor,
        next_obs: Tensor,
    ) -> None:
        """Store one step of every environment: rows [N, ...] on any device; `next_obs` is the true successor."""
        if self.spec.obs.history:
            obs, next_obs = obs[:, -1], next_obs[:, -1]
        slot = self._added % self.slots
        rewards, over, cut = _array(reward), _array(terminated), _array(truncated)
        learnt = self._learnt(rewards)
        self._write(slot, obs, action, learnt, over, next_obs)
        if self._n_step > 1:
            self._grow(slot, learnt, over, next_obs)
        self._reward[slot] = rewards
        self._terminated[slot] = over
        self._truncated[slot] = cut
        self._added += 1
        if self._timed:
            self._timestep += 1
            self._look_back(over | cut)
            self._timestep[over | cut] = 0
        if self._added <= self.slots or self.spec.obs.history or self.layout.context:  # else all rows, as before
            self._mark()

    def cut(self) -> None:
        """Say that every environment starts a new episode next: the episodes in progress count as truncated."""
        if self._added:
            last = (self._added - 1) % self.slots
            self._truncated[last] |= ~self._terminated[last]
            self._look_back(self._timestep > 0)
        self._timestep[:] = 0

    def sample(self, batch_size: int) -> Batch:
        """`batch_size` rows."""
        return self.rows.gather(self.next_index(batch_size))

    def next_index(self, batch_size: int) -> Tensor:
        """Which rows the next batch has, [batch_size]."""
        first, count = self._range()
        if count == 0:
            raise UserError("the replay buffer is empty: gather experience before the first update")
        index = noise.integers(count, (batch_size,), self.rows.floats)
        return (index + first) % len(self.rows) if first else index

    def draw(self, batch_size: int) -> Batch:
        """`batch_size` rows by tensor code alone, for use inside a compiled graph, whatever the ring holds by then."""
        wide = noise.integers(1 << 62, (batch_size,), self.rows.floats)
        return self.rows.gather((wide % self._count + self._first) % len(self.rows))

    def steps(self) -> Steps:
        """The whole episodes still in the ring, one environment after the other, as they were recorded."""
        full = self._added > self.slots
        slots = np.arange(max(0, self._added - self.slots), self._added) % self.slots
        done = self._terminated | self._truncated
        order = [_whole(slots, done[slots, env], full) * self.num_envs + env for env in range(self.num_envs)]
        index = np.concatenate(order)
        inside = ~done.reshape(-1)[index]
        found = self.at(index)
        found.next_obs[inside] = found.obs[np.flatnonzero(inside) + 1]  # what is stored may lie several steps on
        return found

    def at(self, index: NDArray[np.int64]) -> Steps:
        """These rows, with the next observations at the end of their windows."""
        rows = torch.as_tensor(index).to(self.rows.floats.device)
        obs, next_obs = self._observations(rows)
        action = self.rows.column("action")[rows].cpu().numpy()
        if self.spec.action.kind != "continuous":
            action = action.reshape(len(index), *self.spec.action.shape).astype(np.int64)
        flags = self._terminated.reshape(-1)[index], self._truncated.reshape(-1)[index]
        return Steps(obs, action, self._reward.reshape(-1)[index], *flags, next_obs)

    def state(self) -> State:
        """Everything, filled rows only. Those of a full ring are no copy: write them before the next `add`."""
        size, slots = len(self), len(self) // self.num_envs
        pictures = () if self.rows.pictures is None else self.rows.pictures
        return {
            "floats": _first_rows(self.rows.floats, size),
            "pictures": [_first_rows(picture, size) for picture in pictures],
            "timestep": torch.as_tensor(self._timestep).clone(),
            "reward": torch.as_tensor(self._reward[:slots]).clone(),
            "terminated": torch.as_tensor(self._terminated[:slots]).clone(),
            "truncated": torch.as_tensor(self._truncated[:slots]).clone(),
            "added": self._added,
            "shape": [self.slots, self.num_envs, self.layout.width, self._n_step],
        }

    def load(self, state: State) -> None:
        """Go on where `state` was taken.

        Raises:
            UserError: where it was taken with another capacity, number of environments, n-step or other
                columns.
        """
        saved = cast("dict[str, Any]", state)
        shape = [self.slots, self.num_envs, self.layout.width, self._n_step]
        if list(saved["shape"]) != shape:
            raise UserError(
                f"the saved replay buffer has [slots, environments, width, n_step] {list(saved['shape'])}, this run "
                f"{shape}: resume with the capacity, the environments and the n_step that it was made with"
            )
        self._added = int(saved["added"])
        size, slots = len(self), len(self) // self.num_envs
        self.rows.floats[:size] = saved["floats"].to(self.rows.floats.device)
        for picture, old in zip(self.rows.pictures or (), saved["pictures"], strict=True):
            picture[:size] = old.to(picture.device)
        for k in range(min(len(self._host), self._added, self._n_step)):
            at = self._added - 1 - k
            self._host[at % len(self._host)].copy_(self._by_slot[at % self.slots])
        for name in ("timestep", "reward", "terminated", "truncated"):
            getattr(self, f"_{name}")[: None if name == "timestep" else slots] = saved[name].numpy()
        self._mark()

    def _learnt(self, reward: NDArray[Any]) -> NDArray[Any]:
        scale, shift = self._reward_map
        return reward if (scale, shift) == (1.0, 0.0) else reward * scale + shift

    def _write(
        self,
        slot: int,
        obs: Tensor,
        action: Tensor,
        reward: NDArray[Any],
        over: NDArray[Any],
        next_obs: Tensor,
    ) -> None:
        columns, at = self._columns, self._added % len(self._host)
        if self.rows.pictures is None:
            columns["obs"][at] = _array(obs)
            columns["next_obs"][at] = _array(next_obs)
        else:
            block = slice(slot * self.num_envs, (slot + 1) * self.num_envs)
            self.rows.pictures[0][block].copy_(obs)
            self.rows.pictures[1][block].copy_(next_obs)
        columns["action"][at] = _array(action).reshape(self.num_envs, -1)
        columns["reward"][at, :, 0] = reward
        columns["discount"][at, :, 0] = self._gammas[1] * ~over
        if "timestep" in columns:
            columns["timestep"][at, :, 0] = self._timestep
        if "ahead" in columns:
            columns["ahead"][at] = 0
        if "return_to_go" in columns:
            columns["return_to_go"][at] = -np.inf
        if self._host is not self._by_slot:
            self._by_slot[slot].copy_(self._host[at])

    def _grow(self, slot: int, reward: NDArray[Any], over: NDArray[Any], next_obs: Tensor) -> None:
        """Extend the windows of the n-1 steps before this one, where their episode goes on."""
        columns = self._columns
        for k in range(1, self._n_step):
            going = np.flatnonzero(self._timestep >= k)
            if len(going) == 0:
                return
            at, target = (self._added - k) % len(self._host), (slot - k) % self.slots
            columns["reward"][at, going, 0] += self._gammas[k] * reward[going]
            columns["discount"][at, going, 0] = self._gammas[k + 1] * ~over[going]
            if "ahead" in columns:
                columns["ahead"][at, going, 0] = k
            if self.rows.pictures is None:
                columns["next_obs"][at, going] = _array(next_obs)[going]
            else:
                pictures, envs = self.rows.pictures[1], torch.as_tensor(going)
                rows = (target * self.num_envs + envs).to(pictures.device)
                pictures[rows] = next_obs[envs.to(next_obs.device)].to(pictures.device)
            if self._host is not self._by_slot:
                self._by_slot[target].copy_(self._host[at])

    def _look_back(self, over: NDArray[np.bool_]) -> None:
        """Tell the steps of the episodes that have just ended what came after them, if anybody asks."""
        if "return_to_go" not in self._columns:
            return
        place = self.layout.places["return_to_go"].start
        for env in np.flatnonzero(over):
            length = min(int(self._timestep[env]), self.slots)
            steps = np.arange(self._added - length, self._added)
            reward = self._learnt(self._reward[steps % self.slots, env])
            value = torch.as_tensor(return_to_go(reward, np.full(length, length), self._gammas[1]))
            self._by_slot[torch.as_tensor(steps % self.slots), env, place] = value.to(self._by_slot.device)
            if self._host is not self._by_slot:  # its rows are copied again while their windows grow
                recent = steps[-len(self._host) :]
                self._host[torch.as_tensor(recent % len(self._host)), env, place] = value[-len(recent) :]

    def _range(self) -> tuple[int, int]:
        """First row and number of the rows whose history and context are still in the ring."""
        reach = max(self.spec.obs.history, 1) + max(self.layout.context, 1) - 2  # steps before a row
        lost = reach if self._added > self.slots else 0
        first = (self._added + lost) * self.num_envs if lost else 0
        return first % len(self.rows), len(self) - lost * self.num_envs

    def _mark(self) -> None:
        """Tell `draw` which rows there are."""
        first, count = self._range()
        self._first.fill_(first)
        self._count.fill_(count)

    def _observations(self, index: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
        pair = self.rows.pictures or (self.rows.column("obs"), self.rows.column("next_obs"))
        return pair[0][index].cpu().numpy(), pair[1][index].cpu().numpy()


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.numpy() if tensor.is_cpu else tensor.cpu().numpy()


def _first_rows(rows: Tensor, size: int) -> Tensor:
    """`rows[:size]`. A part is copied, or all would be saved with it; the whole is not, for a copy may not fit."""
    return rows if size == len(rows) else rows[:size].clone()


def _whole(slots: NDArray[np.int64], done: NDArray[np.bool_], full: bool) -> NDArray[np.int64]:
    """The slots, in time order, that belong to whole episodes: neither begun before the ring does, nor still
    going on.
    """
    over = np.flatnonzero(done)
    if len(over) == 0:
        return slots[:0]
    return slots[(over[0] + 1 if full else 0) : over[-1] + 1]


def _room(rows: int, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device | str) -> Tensor:
    """Zeros [rows, *shape]. The host's memory is taken only as rows are written: few runs fill their buffer.

    Raises `UserError` where there is not so much.
    """
    try:
        if torch.device(device).type == "cpu":
            return torch.from_numpy(np.zeros((rows, *shape), np.uint8 if dtype == torch.uint8 else np.float32))
        return torch.zeros(rows, *shape, dtype=dtype, device=device)
    except (MemoryError, torch.OutOfMemoryError) as error:
        gigabytes = rows * math.prod(shape) * dtype.itemsize / 1e9
        raise UserError(
            f"{rows:,} transitions of a replay buffer want {gigabytes:.1f} GB of memory at once, which is not there: "
            "lower trainer.capacity"
        ) from error
