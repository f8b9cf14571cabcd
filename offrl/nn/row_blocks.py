"""A dense stack over more rows than a cache holds: forward and backward by hand, a block of rows at a time.

Layer after layer, the hidden layers of all rows go out to memory and come back with every operation. Block after block
they are still in the cache when the next operation wants them: what the backward needs is written once and read once.
With few rows there is nothing to gain, and torch's own operators do it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from offrl.functional import run_axis

Activation = Literal["relu", "tanh"]

BLOCK = 1 << 17  # numbers in a hidden layer of one block: half a megabyte in single precision
MANY = 4 * BLOCK  # numbers in a hidden layer from which on blocks pay

aten: Any = torch.ops.aten


def pays(x: Tensor, width: int) -> bool:
    """Whether a stack with hidden layers of `width` over the rows of `x` [..., B, inputs] is better done in blocks:
    they are many, and gradients may be asked for. What is compiled or transformed is left to torch, and so are GPUs.
    """
    return (
        not torch.compiler.is_compiling()
        and x.shape[-2] * width >= MANY
        and x.is_cpu
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not run_axis.is_traced()
        and not run_axis.is_transformed()
    )


def dense(x: Tensor, weights: list[Tensor], biases: list[Tensor], activation: Activation) -> Tensor:
    """[..., B, inputs] -> [..., B, outputs]: affine layers with weights [..., in, out] and biases [..., 1, out], the
    activation between them."""
    flat = [tensor.reshape(-1, *tensor.shape[-2:]) for tensor in (x, *weights, *biases)]
    y: Any = _Dense.apply(activation, *flat)
    return y.view(*weights[0].shape[:-2], *y.shape[-2:])


class _Dense(torch.autograd.Function):
    """Of x [N, B, inputs], and of weights and biases of N members."""

    @staticmethod
    def forward(ctx: Any, activation: Activation, x: Tensor, *parameters: Tensor) -> Tensor:
        weights, biases = _halves(parameters)
        layers = [x, *(x.new_empty(*x.shape[:2], weight.shape[-1]) for weight in weights)]
        for member, rows in _blocks(layers):
            for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
                out = layers[i + 1][member, rows]
                torch.addmm(bias[member], layers[i][member, rows], weight[member], out=out)
                if i < len(weights) - 1:
                    out.relu_() if activation == "relu" else out.tanh_()
        ctx.activation = activation
        ctx.save_for_backward(*layers[:-1], *parameters)
        return layers[-1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), wanted = gradients, ctx.needs_input_grad[1:]
        count = len(ctx.saved_tensors) // 3
        layers, parameters = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        if torch.is_grad_enabled():  # the gradient is itself to be differentiated
            return None, *_differentiable(ctx.activation, (layers[0], *parameters), gradient, wanted)
        weights, _ = _halves(parameters)
        into_x = torch.empty_like(layers[0]) if wanted[0] else None
        into = [torch.zeros_like(parameter) for parameter in parameters] if any(wanted[1:]) else []
        into_weights, into_biases = _halves(into)
        for member, rows in _blocks(layers):
            slope = gradient[member, rows]
            for i in reversed(range(count)):
                below = layers[i][member, rows]
                if into:
                    into_weights[i][member].addmm_(below.mT, slope)
                    into_biases[i][member].add_(slope.sum(0))
                if i > 0:
                    slope = slope @ weights[i][member].mT
                    _through(ctx.activation, slope, below)
                elif into_x is not None:
                    torch.mm(slope, weights[0][member].mT, out=into_x[member, rows])
        return None, into_x, *(into or [None] * len(parameters))


def _halves(parameters: Any) -> tuple[Any, Any]:
    """Weights and biases."""
    middle = len(parameters) // 2
    return parameters[:middle], parameters[middle:]


def _blocks(layers: Any) -> Iterator[tuple[int, slice]]:
    """(member, rows) of each block."""
    members, count = layers[0].shape[:2]
    size = max(1, BLOCK // max(layer.shape[-1] for layer in layers[1:]))
    for member in range(members):
        for start in range(0, count, size):
            yield member, slice(start, start + size)


def _through(activation: Activation, slope: Tensor, value: Tensor) -> None:
    """Turn the slope behind an activation, in place, into the one before it, by the activation's value."""
    if activation == "relu":
        aten.threshold_backward.grad_input(slope, value, 0.0, grad_input=slope)
    else:
        aten.tanh_backward.grad_input(slope, value, grad_input=slope)


def _differentiable(
    activation: Activation, inputs: tuple[Tensor, ...], gradient: Tensor, wanted: tuple[bool, ...]
) -> list[Tensor | None]:
    """The gradients with respect to the wanted among x and the parameters, by torch's own operators."""
    y, *parameters = inputs
    for i, (weight, bias) in enumerate(zip(*_halves(parameters), strict=True)):
        y = y if i == 0 else y.relu() if activation == "relu" else y.tanh()
        y = torch.baddbmm(bias, y, weight)
    chosen = [tensor for tensor, want in zip(inputs, wanted, strict=True) if want]
    found = iter(torch.autograd.grad(y, chosen, gradient, create_graph=True))
    return [next(found) if want else None for want in wanted]
