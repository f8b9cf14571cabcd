"""A ring of the most recent transitions of N environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from offrl.data.rows import Layout, Rows
from offrl.errors import UserError
from offrl.types import Batch, Spec, State, Steps


class Replay:
    """The last `capacity` transitions; `sample` draws uniformly with replacement, on `device`.

    Time runs along the first axis of the ring [slots, num_envs]. A row is a valid transition from the moment it is added; with
    `n_step` > 1 its window grows, in place, with each further step of its episode, up to n steps.

    Args:
        spec: as the policy sees it; of history windows only the newest frame is stored.
        needs: optional columns of `Batch`; a ring can fill `timestep` only.
    """

    def __init__(
        self,
        spec: Spec,
        capacity: int,
        num_envs: int = 1,
        *,
        discount: float = 1.0,
        n_step: int = 1,
        device: torch.device | str = "cpu",
        needs: Sequence[str] = (),
    ) -> None:
        self.slots = capacity // num_envs
        if self.slots < max(n_step, spec.obs.history) + 1:
            raise UserError(f"a replay buffer of {capacity} transitions is too small for {num_envs} environments: raise its capacity")
        if unable := sorted(set(needs) - {"timestep"}):
            raise UserError(f"a replay buffer cannot fill {', '.join(unable)}: this algorithm learns from datasets only")
        self.spec = spec
        self.num_envs = num_envs
        self.layout = Layout(spec, tuple(needs))
        rows, frame = self.slots * num_envs, self.layout.frame
        floats = torch.zeros(rows, self.layout.width, device=device)
        pictures = None
        if spec.obs.is_image:
            pictures = (torch.zeros(rows, *frame, dtype=torch.uint8, device=device), torch.zeros(rows, *frame, dtype=torch.uint8, device=device))
        self.rows = Rows(self.layout, floats, pictures, stride=num_envs)
        self._by_slot = floats.view(self.slots, num_envs, -1)
        self._gammas = [discount**k for k in range(n_step + 1)]
        self._recent = np.zeros((n_step, num_envs, self.layout.width), np.float32)  # slots whose windows still grow
        self._recent_rows = torch.from_numpy(self._recent)  # the same memory
        self._timestep = np.zeros(num_envs, np.int64)  # of the next transition, in its episode
        self._reward = np.zeros((self.slots, num_envs), np.float32)  # one-step, for `steps`
        self._ends = np.zeros((self.slots, num_envs), np.uint8)  # 1 terminated, 2 truncated
        self._added = 0  # slots ever written
        self._count = torch.zeros((), dtype=torch.int64, device=device)  # rows that may be sampled, for `draw`
        self._first = torch.zeros((), dtype=torch.int64, device=device)  # where they begin

    def __len__(self) -> int:
        return min(self._added, self.slots) * self.num_envs

    def add(self, obs: Tensor, action: Tensor, reward: Tensor, terminated: Tensor, truncated: Tensor, next_obs: Tensor) -> None:
        """Store one step of every environment: rows [N, ...] on any device; `next_obs` is the true successor."""
        if self.spec.obs.history:
            obs, next_obs = obs[:, -1], next_obs[:, -1]
        slot = self._added % self.slots
        rewards, over, cut = _array(reward), _array(terminated), _array(truncated)
        self._write(slot, obs, action, rewards, over, next_obs)
        if len(self._recent) > 1:
            self._grow(slot, rewards, over, next_obs)
        self._reward[slot] = rewards
        self._ends[slot] = over + 2 * cut
        self._timestep += 1
        self._timestep[over | cut] = 0
        self._added += 1
        self._mark()

    def cut(self) -> None:
        """Say that every environment starts a new episode next: the episodes in progress count as truncated."""
        if self._added:
            last = (self._added - 1) % self.slots
            self._ends[last] |= np.where(self._ends[last] == 0, 2, 0).astype(np.uint8)
        self._timestep[:] = 0

    def sample(self, batch_size: int) -> Batch:
        """`batch_size` rows."""
        first, count = self._range()
        if count == 0:
            raise UserError("the replay buffer is empty: gather experience before the first update")
        index = torch.randint(count, (batch_size,), device=self.rows.floats.device)
        return self.rows.gather((index + first) % len(self.rows) if first else index)

    def draw(self, batch_size: int) -> Batch:
        """`batch_size` rows by tensor code alone, for use inside a compiled graph, whatever the ring holds by then."""
        wide = torch.randint(1 << 62, (batch_size,), device=self.rows.floats.device)
        return self.rows.gather((wide % self._count + self._first) % len(self.rows))

    def steps(self) -> Steps:
        """The whole episodes still in the ring, one environment after the other, as they were recorded."""
        full = self._added > self.slots
        slots = np.arange(max(0, self._added - self.slots), self._added) % self.slots
        order = [_whole(slots, self._ends[slots, env], full) * self.num_envs + env for env in range(self.num_envs)]
        index = np.concatenate(order)
        ends = self._ends.reshape(-1)[index]
        obs, next_obs = self._observations(torch.from_numpy(index).to(self.rows.floats.device))
        if len(index):  # the stored successor may lie several steps on
            following = np.minimum(np.arange(len(index)) + 1, len(index) - 1)
            inside = (ends == 0).reshape(-1, *[1] * (obs.ndim - 1))
            next_obs = np.where(inside, obs[following], next_obs)
        action = self.rows.column("action")[torch.from_numpy(index).to(self.rows.floats.device)].cpu().numpy()
        if self.spec.action.kind != "continuous":
            action = action.reshape(len(index), *self.spec.action.shape).astype(np.int64)
        return Steps(obs, action, self._reward.reshape(-1)[index], (ends & 1) > 0, (ends & 2) > 0, next_obs)

    def state(self) -> State:
        """Everything, filled rows only."""
        size = len(self)
        pictures = () if self.rows.pictures is None else self.rows.pictures
        return {
            "floats": self.rows.floats[:size].clone(),
            "pictures": [picture[:size].clone() for picture in pictures],
            "recent": self._recent_rows.clone(),
            "timestep": torch.from_numpy(self._timestep).clone(),
            "reward": torch.from_numpy(self._reward[: size // self.num_envs]).clone(),
            "ends": torch.from_numpy(self._ends[: size // self.num_envs]).clone(),
            "added": self._added,
            "slots": self.slots,
        }

    def load(self, state: State) -> None:
        """Go on where `state` was taken.

        Raises:
            UserError: where it was taken with another capacity, number of environments, n-step or other columns.
        """
        saved = cast("dict[str, Any]", state)
        if saved["recent"].shape != self._recent_rows.shape or saved["slots"] != self.slots:
            raise UserError(
                f"the saved replay buffer has {saved['slots']} slots of shape {tuple(saved['recent'].shape)}, this run "
                f"{self.slots} of {self._recent.shape}: resume with the capacity, environments and n_step it was made with"
            )
        self._added = int(saved["added"])
        size = len(self)
        self.rows.floats[:size] = saved["floats"].to(self.rows.floats.device)
        for picture, old in zip(self.rows.pictures or (), saved["pictures"], strict=True):
            picture[:size] = old.to(picture.device)
        self._recent_rows.copy_(saved["recent"])
        self._timestep[:] = saved["timestep"].numpy()
        self._reward[: size // self.num_envs] = saved["reward"].numpy()
        self._ends[: size // self.num_envs] = saved["ends"].numpy()
        self._mark()

    def _write(self, slot: int, obs: Tensor, action: Tensor, reward: NDArray[Any], over: NDArray[Any], next_obs: Tensor) -> None:
        recent = self._added % len(self._recent)
        row, places = self._recent[recent], self.layout.places
        if self.rows.pictures is None:
            row[:, places["obs"]] = _array(obs)
            row[:, places["next_obs"]] = _array(next_obs)
        else:
            block = slice(slot * self.num_envs, (slot + 1) * self.num_envs)
            self.rows.pictures[0][block].copy_(obs)
            self.rows.pictures[1][block].copy_(next_obs)
        row[:, places["action"]] = _array(action).reshape(self.num_envs, -1)
        row[:, places["reward"].start] = reward
        row[:, places["discount"].start] = self._gammas[1] * ~over
        if "timestep" in places:
            row[:, places["timestep"].start] = self._timestep
        if "ahead" in places:
            row[:, places["ahead"].start] = 0
        self._by_slot[slot].copy_(self._recent_rows[recent])

    def _grow(self, slot: int, reward: NDArray[Any], over: NDArray[Any], next_obs: Tensor) -> None:
        """Extend the windows of the n-1 steps before this one, where their episode goes on."""
        places = self.layout.places
        for k in range(1, len(self._recent)):
            going = self._timestep >= k
            if not going.any():
                return
            recent, target = (self._added - k) % len(self._recent), (slot - k) % self.slots
            row = self._recent[recent]
            row[going, places["reward"].start] += self._gammas[k] * reward[going]
            row[going, places["discount"].start] = self._gammas[k + 1] * ~over[going]
            if "ahead" in places:
                row[going, places["ahead"].start] = k
            if self.rows.pictures is None:
                row[going, places["next_obs"]] = _array(next_obs)[going]
            else:
                envs = torch.from_numpy(np.flatnonzero(going))
                pictures = self.rows.pictures[1]
                pictures[(target * self.num_envs + envs).to(pictures.device)] = next_obs[envs.to(next_obs.device)].to(pictures.device)
            self._by_slot[target].copy_(self._recent_rows[recent])

    def _range(self) -> tuple[int, int]:
        """First row and number of the rows whose history is still in the ring."""
        lost = max(self.spec.obs.history - 1, 0) if self._added > self.slots else 0
        first = (self._added + lost) * self.num_envs if lost else 0
        return first % len(self.rows), len(self) - lost * self.num_envs

    def _mark(self) -> None:
        """Tell `draw` which rows there are."""
        if self._added <= self.slots or self.spec.obs.history > 1:
            first, count = self._range()
            self._count.fill_(count)
            self._first.fill_(first)

    def _observations(self, index: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
        if self.rows.pictures is None:
            pair = self.rows.column("obs"), self.rows.column("next_obs")
        else:
            pair = self.rows.pictures
        return pair[0][index].cpu().numpy(), pair[1][index].cpu().numpy()


def _array(tensor: Tensor) -> NDArray[Any]:
    return (tensor if tensor.device.type == "cpu" else tensor.cpu()).numpy()


def _whole(slots: NDArray[np.int64], ends: NDArray[np.uint8], full: bool) -> NDArray[np.int64]:
    """The slots, in time order, that belong to whole episodes: neither begun before the ring does, nor still going on."""
    over = np.flatnonzero(ends)
    if len(over) == 0:
        return slots[:0]
    return slots[(over[0] + 1 if full else 0) : over[-1] + 1]
