"""What moves a network: gradients, Adam, lagged copies. Algorithms say which loss, never how.

No parameter of the library requires a gradient. `descend` differentiates a loss with respect to one network
alone, so every other network in that loss is a constant: there is nothing to detach, to freeze or to zero.

Where several runs compute as one (`offrl/nn/stack.py`) a loss still sees one run. What is done here to each element
alone (Adam, following behind) is done to all runs at once, on tensors whose first axis is the run.
"""

# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false
# Torch's multi-tensor operators have private names and no public equal.

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value
from torch.optim.adam import adam

from offrl.functional import run_axis
from offrl.nn.fused_adam import CONSTANTS, fused_adam_, in_a_graph
from offrl.types import Loss, Metrics

M = TypeVar("M", bound=nn.Module)


class Learner(nn.Module, Generic[M]):
    """A network and the Adam moments that move it (Kingma & Ba 2015, arXiv:1412.6980); `state_dict()` holds
    both."""

    lr: Tensor  # 0-d
    step: Tensor  # 0-d: how many steps it has taken

    def __init__(self, network: M, lr: float, *, eps: float = 1e-8, max_grad_norm: float | None = None) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.eps, self.max_grad_norm = eps, max_grad_norm
        self.runs: int | None = None  # how many are trained at once; None: one, without a run axis
        self.in_bfloat16 = False  # multiply matrices in bfloat16 within the loss
        self.average: Callable[[list[Tensor]], None] | None = None  # over devices that share a batch; None: one has all
        self.register_buffer("lr", torch.tensor(lr))
        self.register_buffer("step", torch.zeros((), dtype=torch.float32))  # exact up to 2^24: no matter from there on
        for i, parameter in enumerate(network.parameters()):
            self.register_buffer(f"first{i}", torch.zeros_like(parameter))
            self.register_buffer(f"second{i}", torch.zeros_like(parameter))
        self._list_state()

    def forward(self, *inputs: Any) -> Any:
        """The network itself, as a constant; gradients still pass through it to its inputs."""
        return self.network(*inputs)

    def descend(self, loss: Callable[..., Loss], *args: Any) -> Metrics:
        """One Adam step on the scalar of `loss(network, *args) -> (scalar, metrics)`; returns the metrics."""
        if self.in_bfloat16:
            loss = _in_bfloat16(loss, self.step.device.type)
        gradients, metrics = (self._traced if torch.compiler.is_compiling() else self._eager)(loss, *args)
        with self._whole():
            if self.average is not None:
                self.average(gradients)
            if self.max_grad_norm is not None:
                clip_(gradients, self.max_grad_norm, self.runs)
            self._adam(gradients)
        return metrics

    def _eager(self, loss: Callable[..., Loss], *args: Any) -> tuple[list[Tensor], Metrics]:
        with self._whole():
            for parameter in self._parameters_list:
                parameter.requires_grad_(True)
        try:
            with torch.enable_grad():
                value, metrics = loss(self.network, *args)
                if self.runs is not None:
                    value = run_axis.whole(value, self.runs)
            with self._whole():
                gradients = torch.autograd.grad(value if self.runs is None else value.sum(), self._parameters_list)
        finally:
            with self._whole():
                for parameter in self._parameters_list:
                    parameter.requires_grad_(False)
        gradients = [gradient.contiguous() for gradient in gradients]  # of its own memory: it may be clipped in place
        return gradients, {name: metric.detach() for name, metric in metrics.items()}

    def _traced(self, loss: Callable[..., Loss], *args: Any) -> tuple[list[Tensor], Metrics]:
        """The same through functional gradients, which `torch.compile` puts into one graph."""

        def objective(candidate: dict[str, Tensor]) -> Loss:
            def network(*inputs: Tensor) -> Any:
                return functional_call(self.network, candidate, inputs)

            return loss(network, *args)

        parameters: dict[str, Tensor] = dict(self.network.named_parameters())
        gradients, (_, metrics) = grad_and_value(objective, has_aux=True)(parameters)
        return list(gradients.values()), metrics

    @torch.no_grad()
    def _adam(self, gradients: list[Tensor]) -> None:
        """The fused step; while tracing for a GPU the public one, of which a compiler can see the inside."""
        parameters, first, second = self._parameters_list, self._first, self._second
        compiling = torch.compiler.is_compiling()
        if compiling and not self._step.is_cpu:
            steps = [self.step.to(each.dtype, copy=True) for each in parameters]  # it counts each one up
            how: dict[str, Any] = {"foreach": True, "capturable": True, "eps": self.eps, **CONSTANTS}
            adam(parameters, gradients, first, second, [], steps, lr=self.lr, **how)
            self.step.add_(1.0)
            return
        self._step.add_(1.0)
        if compiling:
            in_a_graph(parameters, gradients, first, second, self._step, self._lr, self.eps)
        elif run_axis.is_traced():
            self._adam_by_elements(gradients)
        elif self.runs is None or (_all_equal(self._lr) and _all_equal(self._step)):
            step, lr = self._step.view(-1)[0], self._lr.view(-1)[0]
            fused_adam_(parameters, gradients, first, second, step, lr, self.eps)
        else:
            for run in range(self.runs):
                lists: Any = ([each[run] for each in part] for part in (parameters, gradients, first, second))
                fused_adam_(*lists, self._step[run], self._lr[run], self.eps)  # pyright: ignore[reportCallIssue]

    def _adam_by_elements(self, gradients: list[Tensor]) -> None:
        """The same of many runs in operations that a compiler can see."""
        scale, step = run_axis.rate_for, self._step.to(self._lr.dtype)
        for parameter, gradient, first, second in zip(
            self._parameters_list, gradients, self._first, self._second, strict=True
        ):
            first.lerp_(gradient, 1.0 - 0.9)
            second.mul_(0.999).addcmul_(gradient, gradient, value=1.0 - 0.999)
            root = second.sqrt() / scale(second, (1.0 - 0.999**step).sqrt())
            parameter.sub_(scale(first, self._lr / (1.0 - 0.9**step)) * first / (root + self.eps))

    def _whole(self) -> contextlib.AbstractContextManager[object]:
        """Outside of the run axis, where there is one."""
        return contextlib.nullcontext() if self.runs is None else run_axis.suspended()

    def stack(self, whole: Callable[[Tensor], Tensor], runs: int) -> None:
        """From now on train `runs` runs at once: `whole` gives each of its tensors with its run axis, [runs, …]."""
        self.runs = runs
        for tensors in (self._parameters_list, self._first, self._second):
            tensors[:] = map(whole, tensors)
        self._lr, self._step = whole(self.lr), whole(self.step)

    def _list_state(self) -> None:
        """Lists for the fused step, made once: walking the module tree at each update would cost more than Adam."""
        self._parameters_list: list[Tensor] = list(self.network.parameters())
        count = len(self._parameters_list)
        self._first, self._second = (
            [self.get_buffer(f"{name}{i}") for i in range(count)] for name in ("first", "second")
        )
        self._lr, self._step = self.lr, self.step

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Learner[M]:
        super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]
        self._list_state()
        return self


class Target(nn.Module):
    """A lagged copy of a learner's network: after every `period` updates it moves a step `rate` towards
    it."""

    count: Tensor

    def __init__(self, learner: Learner[Any], rate: float, period: int = 1) -> None:
        super().__init__()
        self.network = copy.deepcopy(learner.network).requires_grad_(False)
        self.rate, self.period = rate, period
        self.runs: int | None = None
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self._list_state()

    def forward(self, *inputs: Tensor) -> Any:
        """The lagged network, as a constant."""
        return self.network(*inputs)

    @torch.no_grad()
    def track(self, learner: Learner[Any]) -> None:
        """target ← target + rate (network − target), or nothing between the periods."""
        rate: Any = self.rate
        with contextlib.nullcontext() if self.runs is None else run_axis.suspended():
            if self.period > 1:  # as a tensor, so that a captured graph needs no branch
                self._count += 1
                rate = rate * (self._count % self.period == 0)
            own, aims = self._parameters_list, learner._parameters_list
            if self.runs is None or isinstance(rate, float):
                torch._foreach_lerp_(own, aims, rate)
                return
            for tensor, aim in zip(own, aims, strict=True):
                tensor.lerp_(aim, run_axis.rate_for(tensor, rate))

    def stack(self, whole: Callable[[Tensor], Tensor], runs: int) -> None:
        """From now on follow `runs` learners at once: `whole` gives a tensor of its own with its run axis."""
        self.runs = runs
        self._parameters_list[:] = map(whole, self._parameters_list)
        self._count = whole(self.count)

    def _list_state(self) -> None:
        self._parameters_list: list[Tensor] = list(self.network.parameters())
        self._count = self.count

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Target:
        super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]
        self._list_state()
        return self


def clip_(gradients: list[Tensor], max_norm: float | Tensor, runs: int | None = None) -> None:
    """Scale gradients in place so that their joint Euclidean norm is at most `max_norm` (Pascanu et al. 2013); with
    `runs` that of each run, along the first axis."""
    if runs is None:
        # A compiler makes one kernel of sums of squares, but would call a norm of its own for each gradient.
        compiled = torch.compiler.is_compiling()
        norms = [g.square().sum().sqrt() for g in gradients] if compiled else torch._foreach_norm(gradients)
        norm = torch.linalg.vector_norm(torch.stack(norms))
        torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
        return
    norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()  # [runs]
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(run_axis.rate_for(gradient, scale))


def use_bfloat16(module: nn.Module) -> None:
    """From now on have every learner in `module` multiply matrices in bfloat16 within its loss. Parameters, moments,
    the last layer of dense stacks and everything outside of losses stay as they are."""
    for part in module.modules():
        if isinstance(part, Learner):
            part.in_bfloat16 = True


def _in_bfloat16(loss: Callable[..., Loss], device: str) -> Callable[..., Loss]:
    def narrowed(*args: Any) -> Loss:
        with torch.autocast(device, torch.bfloat16):
            return loss(*args)

    return narrowed


def _all_equal(values: Tensor) -> bool:
    """Whether it is the same in all runs; on a GPU the answer would have to be waited for, so it is no."""
    numbers = values.tolist() if values.is_cpu else []
    return bool(numbers) and numbers.count(numbers[0]) == len(numbers)
