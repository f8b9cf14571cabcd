"""Fitting a plain config value to a type hint."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, cast


class Misfit(Exception):
    """A value that is not what its hint asks for; `inside` leads from the field to it, such as `[2]`."""

    def __init__(self, value: object, wanted: str, inside: str = "") -> None:
        super().__init__(wanted)
        self.value = value
        self.wanted = wanted
        self.inside = inside


def fit(value: Any, hint: Any) -> Any:
    """`value` as `hint` asks for: whole floats for integers, integers for floats, lists for tuples, text for paths.

    Raises `Misfit`.
    """
    origin = typing.get_origin(hint)
    if hint is Any or hint is object or isinstance(hint, typing.TypeVar):
        return value
    if origin is Literal:
        return _literal(value, typing.get_args(hint))
    if origin in (Union, types.UnionType):
        return _union(value, hint)
    if hint is None or hint is types.NoneType:
        return value if value is None else _refuse(value, hint)
    if hint in (bool, int, float, str, Path):
        return _scalar(value, hint)
    kind = origin or hint
    if not inspect.isclass(kind) or getattr(kind, "_is_protocol", False):
        return value  # a callable or a protocol: nothing that could be checked here
    if issubclass(kind, Mapping):
        return _mapping(value, hint)
    if issubclass(kind, Sequence | frozenset) and not isinstance(value, kind):
        value = value if isinstance(value, list) else _refuse(value, hint)
    if kind in (tuple, list, frozenset) or kind is Sequence:
        return _items(value, hint)
    return value if isinstance(value, kind) else _refuse(value, hint)


def describe(hint: Any) -> str:
    """A hint in the words of a person who edits YAML."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint is types.NoneType:
        return "null"
    if origin is Literal:
        return " or ".join(str(choice) for choice in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(member) for member in inner)
    if hint in _WORDS:
        return _WORDS[hint]
    kind = origin or hint
    if inspect.isclass(kind) and issubclass(kind, Mapping):
        return "a mapping"
    if inspect.isclass(kind) and issubclass(kind, Sequence | frozenset):
        return "a list" + (f" of {_several(inner[0])}" if len(set(inner) - {Ellipsis}) == 1 else "")
    return f"a {kind.__name__}" if inspect.isclass(kind) else str(hint)


_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    Any: "anything",
}


def _several(hint: Any) -> str:
    return {int: "whole numbers", float: "numbers", Path: "paths"}.get(hint) or describe(hint)


def _refuse(value: Any, hint: Any) -> Any:
    raise Misfit(value, describe(hint))


def _literal(value: Any, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if value == choice and type(value) is type(choice):  # True == 1, and yet they are not the same choice
            return choice
    raise Misfit(value, " or ".join(str(choice) for choice in choices))


def _union(value: Any, hint: Any) -> Any:
    members = typing.get_args(hint)
    if type(value) in members:  # what fits as it is needs no conversion: 2.0 stays a float in `int | float`
        return value
    failures: list[Misfit] = []
    for member in members:
        try:
            return fit(value, member)
        except Misfit as misfit:
            failures.append(misfit)
    deep = next((misfit for misfit in failures if misfit.inside), None)
    raise deep or Misfit(value, describe(hint))


def _scalar(value: Any, hint: type) -> Any:
    if hint is bool or isinstance(value, bool):
        return value if hint is bool and isinstance(value, bool) else _refuse(value, hint)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if hint is float and isinstance(value, int):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    return value if isinstance(value, hint) else _refuse(value, hint)


def _items(value: Iterable[Any], hint: Any) -> Any:
    values = list(value)
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind is tuple and inner and inner[-1] is not Ellipsis:
        if len(values) != len(inner):
            raise Misfit(values, f"a list of {len(inner)} values")
        hints = inner
    else:
        hints = (inner[0] if inner else Any,) * len(values)
    fitted = [_inside(f"[{i}]", item, each) for i, (item, each) in enumerate(zip(values, hints, strict=True))]
    return fitted if kind in (list, Sequence) else kind(fitted)


def _mapping(value: Any, hint: Any) -> Any:
    if not isinstance(value, Mapping):
        _refuse(value, hint)
    inner = typing.get_args(hint) or (Any, Any)
    entries = cast("Mapping[Any, Any]", value)
    return {_inside(f".{key}", key, inner[0]): _inside(f".{key}", item, inner[1]) for key, item in entries.items()}


def _inside(step: str, value: Any, hint: Any) -> Any:
    try:
        return fit(value, hint)
    except Misfit as misfit:
        raise Misfit(misfit.value, misfit.wanted, step + misfit.inside) from misfit
