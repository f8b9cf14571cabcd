"""One run on several devices: as many processes, the ranks, each of which learns from its part of every batch.

Gradients are averaged over the ranks right before Adam (`Learner.average`), so that all of them take the same step; so
are metrics when they are read, so that all of them decide alike. Rank 0 leads: it alone evaluates, prints and writes.

This is torch's own engine (`torch.distributed`), used bare: what wrappers add hangs on `loss.backward()` and on
optimiser objects, neither of which exists here (`offrl/nn/learner.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from offrl.algos.base import Algorithm
from offrl.errors import UserError
from offrl.nn.learner import Learner


class Ranks:
    """The process group of this run, as one of its processes sees it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.number, self.count = dist.get_rank(), dist.get_world_size()

    @property
    def leads(self) -> bool:
        """Whether this is the rank that evaluates and writes."""
        return self.number == 0

    def share(self, algo: Algorithm, seed: int) -> None:
        """Have a built algorithm learn together with its copies in the other ranks: the same parameters, a part of the
        batch, random numbers of its own.

        Raises `UserError` where the batch has no equal parts.
        """
        if algo.batch_size % self.count:
            raise UserError(
                f"algo.batch_size={algo.batch_size} cannot be shared equally among hardware.devices={self.count}"
            )
        algo.batch_size //= self.count
        for value in algo.state_dict().values():
            dist.broadcast(value, src=0)
        for module in algo.modules():
            if isinstance(module, Learner):
                module.average = self.average_
        if not self.leads:
            torch.manual_seed(seed + (self.number << 32))

    def average_(self, tensors: list[Tensor]) -> None:
        """Put the mean over the ranks into each of these tensors; one message for all of them."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        means = flat.div_(self.count).split([tensor.numel() for tensor in tensors])
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean.view_as(tensor))

    def largest(self, number: int) -> int:
        """Of what the ranks say."""
        value = torch.tensor(number, device=self.device)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def gathered(self, state: object) -> list[Any]:
        """What each rank says, in order; for the leader alone, the others get nothing."""
        states: list[Any] | None = [None] * self.count if self.leads else None
        dist.gather_object(state, states)
        return states or []

    @contextlib.contextmanager
    def leader_first(self) -> Generator[None]:
        """The leader goes through the block before the others: it makes the caches that they read."""
        if not self.leads:
            dist.barrier()
        yield
        if self.leads:
            dist.barrier()


def here(device: torch.device) -> Ranks | None:
    """The ranks of this process; None where a run has one device."""
    return Ranks(device) if dist.is_available() and dist.is_initialized() else None
