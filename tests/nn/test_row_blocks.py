"""Dense stacks done in blocks of rows, against the same stacks by torch's own operators."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad

from offrl.nn import row_blocks
from offrl.nn.layers import Activation, Dense

pytestmark = pytest.mark.usefixtures("double_precision")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of three rows of the stacks below, worth it from nine rows on."""
    monkeypatch.setattr(row_blocks, "BLOCK", 3 * 8)
    monkeypatch.setattr(row_blocks, "MANY", 9 * 8)


def plain(x: Tensor, parameters: Sequence[Tensor], activation: Activation) -> Tensor:
    """The stack by torch's own operators."""
    weights, biases = parameters[::2], parameters[1::2]
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = x if i == 0 else x.relu() if activation == "relu" else x.tanh()
        x = x @ weight + bias
    return x


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What goes through blocks from now on."""
    seen: list[Tensor] = []
    dense = row_blocks.dense

    def noted(x: Tensor, *more: object) -> Tensor:
        seen.append(x)
        return dense(x, *more)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(row_blocks, "dense", noted)
    return seen


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("wanted", ["all", "input", "parameters"])
def test_values_and_slopes(
    activation: Activation, members: int | None, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ten rows, which is three blocks and a row."""
    seen = counted(monkeypatch)
    dense = Dense(5, (8, 6), 2, members=members, activation=activation)
    parameters = list(dense.parameters())
    x = torch.randn(10, 5, requires_grad=wanted != "parameters")
    for parameter in parameters:
        parameter.requires_grad_(wanted != "input")
    inputs = [tensor for tensor in (x, *parameters) if tensor.requires_grad]
    ours, theirs = dense(x), plain(x, parameters, activation)
    torch.testing.assert_close(ours, theirs)
    assert len(seen) == 1
    weights = torch.randn_like(ours)
    for one, other in zip(
        torch.autograd.grad(ours, inputs, weights), torch.autograd.grad(theirs, inputs, weights), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_members_with_rows_of_their_own() -> None:
    """As runs that compute as one have them: [runs, members, B, inputs]."""
    shapes = [(2, 3, 5, 8), (2, 3, 1, 8), (2, 3, 8, 1), (2, 3, 1, 1)]
    parameters = [torch.randn(shape, requires_grad=True) for shape in shapes]
    x = torch.randn(2, 3, 10, 5, requires_grad=True)
    ours, theirs = row_blocks.dense(x, parameters[::2], parameters[1::2], "relu"), plain(x, parameters, "relu")
    torch.testing.assert_close(ours, theirs)
    inputs = [x, *parameters]
    for one, other in zip(
        torch.autograd.grad(ours.sum(), inputs), torch.autograd.grad(theirs.sum(), inputs), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_second_derivatives(activation: Activation) -> None:
    """A penalty on the slope has the gradients that plain operators give it."""
    dense = Dense(3, (8, 5), 1, members=2, activation=activation)
    parameters, x = list(dense.parameters()), torch.randn(12, 3, requires_grad=True)
    found: list[tuple[Tensor, ...]] = []
    for output in (dense(x), plain(x, parameters, activation)):
        (slope,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), [x, *parameters]))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows, no gradients, functional transforms, half precision and compilers."""
    seen = counted(monkeypatch)
    dense = Dense(5, (8,), 2)
    many = torch.randn(20, 5)
    dense(many[:8])
    with torch.no_grad():
        dense(many)
    weights = {name: parameter.detach() for name, parameter in dense.named_parameters()}
    grad(lambda weights: functional_call(dense, weights, (many,)).sum())(weights)  # pyright: ignore[reportUnknownLambdaType]
    torch.compile(dense, backend="eager", fullgraph=True)(many)
    single = Dense(5, (8,), 2).float()
    with torch.autocast("cpu", torch.bfloat16):
        single(many.float())
    assert not seen
    dense(many)
    assert len(seen) == 1
