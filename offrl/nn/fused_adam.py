"""The fused Adam step as one operator that a compiler calls as it is.

A compiler would write the step out itself, which on a CPU takes about twice as long as torch's own kernel.
"""

# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false
# Torch's multi-tensor operators have private names and no public equal.

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CONSTANTS: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "amsgrad": False, "maximize": False}


def fused_adam_(
    parameters: list[Tensor],
    gradients: list[Tensor],
    first: list[Tensor],
    second: list[Tensor],
    step: Tensor,
    lr: Tensor,
    eps: float,
) -> None:
    """One step (Kingma & Ba 2015, algorithm 1) of parameters and both their moments, in place.

    `step` counts it already; it and `lr` are 0-d.
    """
    gradients = [gradient.contiguous() for gradient in gradients]  # the kernel reads memory in order
    steps = [step] * len(parameters)
    torch._fused_adam_(parameters, gradients, first, second, [], steps, lr=lr, eps=eps, **CONSTANTS)


# `torch.library.custom_op` would wrap the call in Python that takes as long as the step of a small network.
_library = torch.library.Library("offrl", "DEF")
_library.define(
    "fused_adam_(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] first, Tensor(c!)[] second, "
    "Tensor step, Tensor lr, float eps) -> ()"
)
_library.impl("fused_adam_", fused_adam_, "CPU")
_library.impl("fused_adam_", lambda *_: None, "Meta")

in_a_graph: Any = torch.ops.offrl.fused_adam_
