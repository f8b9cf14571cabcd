"""Dense stacks against products by hand, the ensemble against its members, the learner against torch.optim."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from offrl.nn.layers import MANY, Activation, Dense
from offrl.nn.learner import Learner, Target, use_bfloat16
from offrl.types import Loss, Network

pytestmark = pytest.mark.usefixtures("double_precision")


def by_hand(dense: Dense, x: Tensor) -> Tensor:
    """The stack by broadcast products, with nothing in place."""
    for i in range(dense.layers):
        x = (x.unsqueeze(-1) * dense.get_parameter(f"weight{i}").unsqueeze(-3)).sum(-2) + dense.get_parameter(
            f"bias{i}"
        )
        if i < dense.layers - 1:
            x = x.relu() if dense.activation == "relu" else x.tanh()
    return x


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("hidden", [(), (8,), (8, 6)])
def test_stack_is_what_it_says(activation: Activation, members: int | None, hidden: tuple[int, ...]) -> None:
    """Of every parameter and of the input."""
    dense = Dense(5, hidden, 2, members=members, activation=activation)
    parameters = list(dense.parameters())
    x = torch.randn(7, 5, requires_grad=True)
    stack = dense(x)
    plain = by_hand(dense, x)
    torch.testing.assert_close(stack, plain)
    seed = torch.randn_like(stack)
    for ours, theirs in zip(
        torch.autograd.grad(stack, [x, *parameters], seed),
        torch.autograd.grad(plain, [x, *parameters], seed),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("members", "outputs"), [(None, 3), (2, 1)])
def test_few_outputs_of_many_rows(members: int | None, outputs: int) -> None:
    """Computed in a way of their own, with the same values and slopes."""
    dense = Dense(5, (64,), outputs, members=members)
    rows = MANY // 64
    x = torch.randn(rows, 5, requires_grad=True)
    stack, plain = dense(x), by_hand(dense, x)
    seed = torch.randn_like(stack)
    inputs = [x, *dense.parameters()]
    for ours, theirs in zip(
        (stack, *torch.autograd.grad(stack, inputs, seed)),
        (plain, *torch.autograd.grad(plain, inputs, seed)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("members", [None, 2])
def test_second_derivatives(members: int | None) -> None:
    """A penalty on the slope has the gradients that plain operators give it."""
    dense = Dense(3, (6, 5), 1, members=members, activation="tanh")
    x = torch.randn(4, 3, requires_grad=True)
    results = []
    for output in (dense(x), by_hand(dense, x)):
        (slope,) = torch.autograd.grad(output.sum(), x, create_graph=True)
        results.append(torch.autograd.grad(slope.square().sum(), [x, *list(dense.parameters())[:-1]]))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_members_are_networks_of_their_own() -> None:
    """One batched product a layer gives what each member gives alone."""
    ensemble = Dense(5, (8,), 2, members=3, layer_norm=True)
    x = torch.randn(7, 5)
    together = ensemble(x)
    for i in range(3):
        alone = Dense(5, (8,), 2, layer_norm=True)
        alone.load_state_dict({name: value[i] for name, value in ensemble.state_dict().items()})
        torch.testing.assert_close(alone(x), together[i])
        torch.testing.assert_close(ensemble(x, i), together[i])


def test_orthogonal_weights_are_orthogonal() -> None:
    """With gain √2 inside and the given gain at the end."""
    dense = Dense(16, (16,), 16, initialisation="orthogonal", gain=0.01)
    inner, last = dense.get_parameter("weight0"), dense.get_parameter("weight1")
    torch.testing.assert_close(inner @ inner.mT, 2.0 * torch.eye(16))
    torch.testing.assert_close(last @ last.mT, 1e-4 * torch.eye(16))


@pytest.mark.parametrize("max_grad_norm", [None, 0.05])
def test_learner_is_adam(max_grad_norm: float | None) -> None:
    """Twenty steps with a custom epsilon equal torch.optim.Adam, with and without clipping."""
    ours = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    theirs = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    theirs.load_state_dict(ours.state_dict())
    learner = Learner(ours, 1e-2, eps=1e-5, max_grad_norm=max_grad_norm)
    optimizer = torch.optim.Adam(theirs.parameters(), 1e-2, eps=1e-5)

    def loss(network: Network, x: Tensor, y: Tensor) -> Loss:
        error = (network(x).squeeze(1) - y).square().mean()
        return error, {"fit/loss": error}

    for _ in range(20):
        x, y = torch.randn(16, 4), torch.randn(16)
        metrics = learner.descend(loss, x, y)
        optimizer.zero_grad()
        value, _ = loss(theirs, x, y)
        value.backward()
        if max_grad_norm is not None:
            nn.utils.clip_grad_norm_(theirs.parameters(), max_grad_norm)
        optimizer.step()
        torch.testing.assert_close(metrics["fit/loss"], value.detach())
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other.detach())
    assert learner.step == 20


def test_target_moves_by_its_rate_and_period() -> None:
    """θ̄ ← θ̄ + rate (θ − θ̄), at every third call."""
    learner = Learner(nn.Linear(2, 1), 1e-3)
    target = Target(learner, rate=0.25, period=3)
    start = [p.clone() for p in target.network.parameters()]
    for parameter in learner.network.parameters():
        parameter.add_(4.0)
    moved = []
    for _ in range(6):
        target.track(learner)
        moved.append(float((next(target.network.parameters()) - start[0]).mean()))
    assert moved == pytest.approx([0, 0, 1.0, 1.0, 1.0, 1.75])


def test_loading_state_keeps_the_step_going() -> None:
    """The lists that the fused step uses are the buffers that the state dictionary fills."""
    first, second = Learner(nn.Linear(2, 1), 1e-2), Learner(nn.Linear(2, 1), 1e-2)

    def loss(network: Network, x: Tensor) -> Loss:
        return network(x).square().mean(), {}

    x = torch.randn(5, 2)
    first.descend(loss, x)
    second.load_state_dict(first.state_dict())
    second.to(torch.float64)  # rebuilds the buffers, and must rebuild the lists with them
    first.descend(loss, x)
    second.descend(loss, x)
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("members", [None, 2])
def test_bfloat16_is_for_products_within_losses(members: int | None) -> None:
    """Hidden layers alone; outputs, parameters, moments and what is computed outside of a loss are float32."""
    dense = Dense(6, (64, 64), 2, members=members).float()
    learner = Learner(dense, 1e-3)
    x = torch.randn(16, 6, dtype=torch.float32)
    seen: list[torch.dtype] = []
    outputs: list[Tensor] = []

    def loss(network: Network) -> Loss:
        with DtypesOfProducts(seen):
            outputs.append(network(x))
        return outputs[-1].square().mean(), {}

    gradients: list[list[Tensor]] = []
    learner.average = lambda tensors: gradients.append([tensor.clone() for tensor in tensors])
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    for low in (False, True):
        learner.load_state_dict(before)
        if low:
            use_bfloat16(nn.ModuleList([learner]))
        learner.descend(loss)
    assert seen == [torch.float32] * 3 + [torch.bfloat16] * 2 + [torch.float32]
    assert all(value.dtype == torch.float32 for value in (*outputs, *gradients[1]))
    assert all(value.dtype == before[name].dtype for name, value in learner.state_dict().items())
    for ours, exact in zip(gradients[1], gradients[0], strict=True):
        assert 0.0 < (ours - exact).norm() < 0.1 * exact.norm()  # a unit near zero may switch, so not each by itself
    with DtypesOfProducts(seen):
        learner(x)
    assert seen[-3:] == [torch.float32] * 3


class DtypesOfProducts(TorchDispatchMode):
    """Notes in which type matrices are multiplied."""

    def __init__(self, seen: list[torch.dtype]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.addmm, torch.ops.aten.baddbmm):
            self.seen.append(args[1].dtype)
        return func(*args, **(kwargs or {}))
