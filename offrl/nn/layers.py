"""Stacks of dense layers, single or as an ensemble whose members move through each layer as one batched product."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

from offrl.functional import run_axis
from offrl.nn import row_blocks
from offrl.nn.row_blocks import Activation

Initialisation = Literal["uniform", "orthogonal"]

NARROW = 12  # outputs of a layer that are few
MANY = 1 << 14  # inputs of a whole batch from which on that matters; an exported policy takes batches of any size


class Dense(nn.Module):
    """A stack of affine layers with an activation between them.

    Maps [B, inputs] to [B, outputs], or with `members` = E to [E, B, outputs], where the input is shared by
    the members or has an axis of its own for them, [E, B, inputs].

    `initialisation`: "uniform" draws weights and biases from U(−1/√inputs, 1/√inputs), PyTorch's own default;
    "orthogonal" draws orthogonal weights (gain √2, and `gain` for the last layer) and zero biases, as PPO
    implementations do.
    """

    def __init__(
        self,
        inputs: int,
        hidden: tuple[int, ...],
        outputs: int,
        *,
        members: int | None = None,
        activation: Activation = "relu",
        layer_norm: bool = False,
        initialisation: Initialisation = "uniform",
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.activation: Activation = activation
        self.members, self.layer_norm = members, layer_norm
        sizes = (inputs, *hidden, outputs)
        self.layers = len(sizes) - 1
        self.width = max(hidden, default=0)
        lead = () if members is None else (members,)
        for i, (rows, columns) in enumerate(pairwise(sizes)):
            last = i == self.layers - 1
            weight, bias = torch.empty(*lead, rows, columns), torch.zeros(*lead, 1, columns)
            _initialise(weight, bias, initialisation, gain if last else math.sqrt(2.0))
            self.register_parameter(f"weight{i}", nn.Parameter(weight))
            self.register_parameter(f"bias{i}", nn.Parameter(bias))
            if layer_norm and not last:
                self.register_parameter(f"scale{i}", nn.Parameter(torch.ones(*lead, 1, columns)))
                self.register_parameter(f"shift{i}", nn.Parameter(torch.zeros(*lead, 1, columns)))

    def forward(self, x: Tensor, member: int | None = None) -> Tensor:
        """[B, inputs] -> [B, outputs] or [E, B, outputs]; with `member` [B, outputs] of that one alone."""
        parameters = cast("dict[str, Tensor]", self._parameters)
        if member is not None:
            parameters = {name: parameter[member] for name, parameter in parameters.items()}
        elif self.members is not None and x.dim() == 2:
            x = x.expand(self.members, *x.shape)
        weight = parameters["weight0"]
        if not run_axis.is_per_run(weight):
            return self._stack(x, parameters)
        # Many runs at once: one batched product a layer serves them all, and their wrappers come off once.
        runs = len(run_axis.whole(weight, 0))
        x, parameters = (
            run_axis.whole(x, runs),
            {name: run_axis.whole(value, runs) for name, value in parameters.items()},
        )
        with run_axis.suspended():
            y = self._stack(x, parameters)
        return run_axis.per_run(y)

    def _stack(self, x: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        last = self.layers - 1
        if row_blocks.pays(x, self.width) and not self.layer_norm:
            weights, biases = ([parameters[f"{kind}{i}"] for i in range(self.layers)] for kind in ("weight", "bias"))
            return row_blocks.dense(x, weights, biases, self.activation)
        for i in range(last):
            x = _affine(x, parameters[f"weight{i}"], parameters[f"bias{i}"])
            if self.layer_norm:
                x = nn.functional.layer_norm(x, x.shape[-1:])
                x = x * parameters[f"scale{i}"] + parameters[f"shift{i}"]
            x = _activate(x, self.activation)
        weight, bias = parameters[f"weight{last}"], parameters[f"bias{last}"]
        if not torch.is_autocast_enabled(x.device.type):
            return _affine(x, weight, bias)
        with torch.autocast(x.device.type, enabled=False):  # values and logits need more than bfloat16's three digits
            return _affine(x.to(weight.dtype), weight, bias)


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x W + b. BLAS is up to ten times slower than it could be where many rows have few outputs: the one output of each
    member is a sum of products instead, and the few of a single network are (Wᵀxᵀ + bᵀ)ᵀ, whose long side is the batch.
    """
    outputs, many = weight.shape[-1], not torch.compiler.is_exporting() and x.shape[-2] * x.shape[-1] >= MANY
    if many and outputs == 1 and weight.dim() > 2:
        return (x * weight.mT).sum(-1, keepdim=True) + bias
    if many and 1 < outputs <= NARROW and weight.dim() == 2:
        return torch.addmm(bias.mT, weight.mT.contiguous(), x.mT).mT
    match weight.dim():
        case 2:
            return torch.addmm(bias, x, weight)
        case 3:
            return torch.baddbmm(bias, x, weight)
        case _:  # runs and members
            lead = weight.shape[:-2]
            product = torch.baddbmm(bias.flatten(0, -3), x.reshape(-1, *x.shape[-2:]), weight.flatten(0, -3))
            return product.unflatten(0, lead)


def _activate(x: Tensor, activation: Activation) -> Tensor:
    """In place: x is always the fresh result of an affine layer, which nobody else sees."""
    return x.relu_() if activation == "relu" else x.tanh_()


@torch.no_grad()
def _initialise(weight: Tensor, bias: Tensor, kind: Initialisation, gain: float) -> None:
    if kind == "uniform":
        bound = 1.0 / math.sqrt(weight.shape[-2])
        weight.uniform_(-bound, bound)
        bias.uniform_(-bound, bound)
        return
    for member in weight if weight.dim() == 3 else (weight,):
        nn.init.orthogonal_(member, gain)
