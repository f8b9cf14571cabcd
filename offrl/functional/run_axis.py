"""The run axis: many runs computed as one, by code that is written for one.

Inside `entered(N)` a tensor [N, …] made by `per_run` behaves as the […] of one run, and whatever is computed with it is
computed for all N at once (torch's own `vmap`, level by level). `suspended` and `whole` give the tensors with their run
axis back, for steps that are the same for every element: the optimiser's, or a batched product.
"""

# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false
# `torch.vmap` wraps and unwraps on each call all that a function touches; a state that stays needs its parts.

from __future__ import annotations

import contextlib
from collections.abc import Generator

import torch
from torch import Tensor
from torch._C import _functorch as functorch  # pyright: ignore[reportAttributeAccessIssue]
from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack


@contextlib.contextmanager
def entered(runs: int) -> Generator[None]:
    """Compute for `runs` runs at once within the block. Random numbers come from `offrl.functional.noise` alone:
    torch's own functions raise `RuntimeError` here, since the runs would share what they draw.
    """
    functorch._vmap_increment_nesting(runs, "error")
    try:
        yield
    finally:
        functorch._vmap_decrement_nesting()


def per_run(tensor: Tensor) -> Tensor:
    """[N, …], as […] of one run; for use within `entered`, this time or later. Writing in place writes through."""
    return functorch._add_batch_dim(tensor, 0, 1)


def is_per_run(tensor: Tensor) -> bool:
    """Whether a tensor is one of many runs, and of nothing further in."""
    if torch.compiler.is_compiling():
        return False
    return functorch.is_batchedtensor(tensor) and functorch.maybe_get_level(tensor) == functorch.maybe_current_level()


def is_traced() -> bool:
    """Whether what is computed now is also written down as a graph (`make_fx`)."""
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY) is not None


def is_transformed() -> bool:
    """Whether what is computed now goes through a transform of `torch.func`, this axis among them."""
    return torch._C._are_functorch_transforms_active()


def whole(tensor: Tensor, runs: int) -> Tensor:
    """[N, …] of a tensor that is computed within `entered`; what does not depend on the run is repeated."""
    if not is_per_run(tensor):
        return tensor.expand(runs, *tensor.shape)
    axis = functorch.maybe_get_bdim(tensor)
    full = functorch.get_unwrapped(tensor)
    return full if axis == 0 else full.movedim(axis, 0)


def suspended() -> contextlib.AbstractContextManager[object]:
    """Outside of the run axis for a while: tensors from `whole` are ordinary tensors within the block."""
    return temporarily_pop_interpreter_stack()


def rate_for(tensor: Tensor, rate: Tensor) -> Tensor:
    """One number a run [N], shaped to be multiplied with [N, …]."""
    return rate.reshape(-1, *(1,) * (tensor.dim() - 1))


def as_tensor(values: list[float], like: Tensor) -> Tensor:
    """One number a run."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)
