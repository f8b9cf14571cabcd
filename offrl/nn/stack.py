"""N algorithms of one shape, trained as one.

A stack holds each parameter, moment and buffer of its members along a first axis, the run. The members keep their own
modules, whose tensors become views of it: each can still be saved, loaded, evaluated and asked to act by itself. The
algorithm that computes for all of them is a copy of one of them, and was written for one run.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from offrl.functional import noise, run_axis
from offrl.nn.learner import Learner, Target
from offrl.types import Batch

M = TypeVar("M", bound=nn.Module)


class Stack:
    """Members along the run axis.

    Args:
        members: modules of one class and one shape, which may differ in what their tensors hold and in scalar settings:
            attributes that are floats, of any module in them.
        streams: the random numbers of each; see `offrl.functional.noise`.

    Raises:
        ValueError: they differ in something else.
    """

    def __init__(self, members: Sequence[nn.Module], streams: Sequence[torch.Generator]) -> None:
        self.runs, self.streams = len(members), streams
        self.one: Any = copy.deepcopy(members[0])  # what computes, seen as one run
        self._modules = list(self.one.modules())
        others = [list(member.modules()) for member in members]
        if any(list(map(type, modules)) != list(map(type, self._modules)) for modules in others):
            raise ValueError("members of a stack must be built alike")
        whole = self._join(others)
        self._tensors = list(whole.values())
        device = self._tensors[0].device
        self._beside = [  # what the algorithm keeps outside of tensors
            (module, [modules[number] for modules in others])
            for number, module in enumerate(self._modules)
            if type(module).get_extra_state is not nn.Module.get_extra_state
        ]
        for number, module in enumerate(self._modules):
            _join_settings(module, [modules[number] for modules in others], device)
            if isinstance(module, Learner | Target):
                cast("Learner[Any]", module).stack(lambda tensor: whole[id(tensor)], self.runs)
        for module in self._modules:
            for tensors in (module._parameters, module._buffers):  # pyright: ignore[reportPrivateUsage]
                for name, tensor in tensors.items():
                    if tensor is not None:
                        tensors[name] = cast(Any, run_axis.per_run(whole[id(tensor)]))

    def _join(self, others: Sequence[Sequence[nn.Module]]) -> dict[int, Tensor]:
        """Stack every tensor, and make the members' tensors views of it: id in `one` -> [runs, …]."""
        whole: dict[int, Tensor] = {}
        for number, module in enumerate(self._modules):
            for kind in ("_parameters", "_buffers"):
                for name, tensor in getattr(module, kind).items():
                    if tensor is None or id(tensor) in whole:
                        continue
                    own = [getattr(modules[number], kind)[name] for modules in others]
                    if any(other.shape != tensor.shape for other in own):
                        raise ValueError(f"members of a stack differ in the shape of {name}")
                    joined = torch.stack([other.data for other in own])
                    whole[id(tensor)] = joined
                    for run, other in enumerate(own):
                        other.data = joined[run]
        return whole

    def __call__(self, method: str, *args: Any) -> Any:
        """What `method` of the algorithm returns for `args`, which hold tensors [runs, …] and plain values.

        Tensors in the result (alone, or in a dict, a list or a tuple) have the run axis again.
        """
        inside = [_mapped(argument, run_axis.per_run) for argument in args]
        with run_axis.entered(self.runs), noise.stacked(self.streams):
            result = getattr(type(self.one), method)(self.one, *inside)
            return _mapped(result, lambda tensor: run_axis.whole(tensor, self.runs))

    def beside(self) -> list[object]:
        """What the algorithm keeps outside of tensors."""
        return [copy.deepcopy(module.get_extra_state()) for module, _ in self._beside]

    def set_beside(self, states: Sequence[object]) -> None:
        """Put it back."""
        for (module, _), state in zip(self._beside, states, strict=True):
            module.set_extra_state(state)

    @contextlib.contextmanager
    def untouched(self) -> Generator[None]:
        """Whatever is learnt or drawn inside, the stack goes on afterwards as if it had not been."""
        tensors, beside = [tensor.clone() for tensor in self._tensors], self.beside()
        streams = [stream.get_state() for stream in self.streams]
        try:
            with torch.random.fork_rng():
                yield
        finally:
            for tensor, before in zip(self._tensors, tensors, strict=True):
                tensor.copy_(before)
            for stream, state in zip(self.streams, streams, strict=True):
                stream.set_state(state)
            self.set_beside(beside)

    def settle(self) -> None:
        """Give the members what the algorithm keeps outside of tensors."""
        for module, own in self._beside:
            for other in own:
                other.set_extra_state(module.get_extra_state())


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches side by side, [runs, B, …]; columns that nobody asked for stay as they are."""
    columns = zip(*batches, strict=True)
    return Batch(*(torch.stack(column) if column[0].numel() else column[0] for column in columns))


def _join_settings(module: nn.Module, own: Sequence[nn.Module], device: torch.device) -> None:
    """Turn floats that differ among the members into one number a run, on the device of the parameters.

    Raises:
        ValueError: something else differs.
    """
    for name, value in vars(module).items():
        if name.startswith("_") or name == "training" or isinstance(value, Tensor | nn.Module):
            continue
        values = [vars(other)[name] for other in own]
        if all(other is value or other == value for other in values):
            continue
        outside = isinstance(module, Learner | Target)  # which work outside of the run axis
        object.__setattr__(module, name, _one_each(name, values, outside, device))


def _one_each(name: str, values: Sequence[Any], outside: bool, device: torch.device) -> Any:
    """One number a run for floats, also those in a tuple."""
    if all(isinstance(value, float) for value in values):
        numbers = torch.tensor(values, device=device)
        return numbers if outside else run_axis.per_run(numbers)
    if all(isinstance(value, tuple) and len(value) == len(values[0]) for value in values):
        return tuple(
            entries[0] if entries.count(entries[0]) == len(entries) else _one_each(name, entries, outside, device)
            for entries in zip(*values, strict=True)
        )
    raise ValueError(f"runs that train as one may not differ in {name}: {values}")


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`value` with every tensor in it changed; columns that nobody asked for stay as they are."""
    if isinstance(value, Tensor):
        return change(value) if value.dim() == 0 or value.shape[0] else value
    if isinstance(value, Mapping):
        return {key: _mapped(entry, change) for key, entry in cast("dict[str, Any]", value).items()}
    if isinstance(value, tuple | list):
        entries = [_mapped(entry, change) for entry in cast("list[Any]", value)]
        kind: Any = type(cast(Any, value))
        return kind(*entries) if hasattr(kind, "_fields") else kind(entries)
    return value
