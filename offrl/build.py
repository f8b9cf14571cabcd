"""From a config node to the object that it describes.

A node is a mapping with a `_target_`: the dotted name of a class or function. The target's signature is the node's
schema, so an unknown key, a missing value or a wrong type is refused here, by its full key, wherever it was written.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from offrl.errors import UserError
from offrl.hints import Misfit, fit

Node = Mapping[str, Any]  # plain and resolved: dicts, lists, strings, numbers, booleans and None

TARGET = "_target_"
MISSING = "???"  # how a config says that its user has to give the value


def build(node: Node, at: str = "", /, **more: Any) -> Any:
    """Make the object that `node` describes.

    `at` is the node's full key, for messages (`build(config["algo"], "algo")`). `more` are arguments that no config can
    hold; they win over the node's own keys and are not checked. A field that is annotated as a mapping keeps its node
    as it is; every other nested node is built first. Integers are accepted for floats, whole floats for integers
    (`1e6`), lists for tuples.

    Raises `UserError` for an unknown key, a missing value, a wrong type, and whatever the target itself refuses.
    """
    target = locate(node, at)
    given = {key: value for key, value in node.items() if key != TARGET and key not in more}
    parameters, hints = schema(target)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    arguments: dict[str, Any] = {}
    for key, value in given.items():
        if key not in parameters and not open_ended:
            raise UserError(_unknown(join(at, key), key, parameters.keys() - more.keys(), node[TARGET]))
        if isinstance(value, str) and value == MISSING:
            raise UserError(_missing(join(at, key)))
        arguments[key] = convert(value, hints.get(key, Any), join(at, key))
    for key, parameter in parameters.items():
        required = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
        if required and key not in arguments and key not in more:
            raise UserError(_missing(join(at, key)))
    return target(**arguments, **more)


def locate(node: Node, at: str = "", /) -> Callable[..., Any]:
    """Import the class or function that `node` names.

    Raises `UserError` where there is no `_target_`, or nothing can be imported by that name.
    """
    name = node.get(TARGET)
    if not isinstance(name, str):
        raise UserError(f"{at or 'a config node'} has no {TARGET}, so nothing says what to build")
    module_name, _, attribute = name.rpartition(".")
    try:
        target = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        remedy = "is it installed, or beside your --config-dir?" if (error.name or "") in module_name else "install it"
        raise UserError(f"{join(at, TARGET)}={name}: there is no module {error.name!r}: {remedy}") from error
    except (AttributeError, ValueError) as error:
        raise UserError(f"{join(at, TARGET)}={name}: nothing of that name can be imported") from error
    if not callable(target):
        raise UserError(f"{join(at, TARGET)}={name} is neither a class nor a function")
    return target


def schema(target: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], dict[str, Any]]:
    """List the parameters that `target` takes by name, and their types with all names resolved."""
    signature = inspect.signature(target)
    positional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)
    parameters = {name: p for name, p in signature.parameters.items() if p.kind not in positional}
    written = target if dataclasses.is_dataclass(target) or not inspect.isclass(target) else target.__init__
    return parameters, typing.get_type_hints(written)


def convert(value: Any, hint: Any, at: str) -> Any:
    """`value` as the type `hint` asks for, with nested nodes built.

    Raises `UserError` if it does not fit.
    """
    try:
        return fit(_build_nested(value, hint, at), hint)
    except Misfit as misfit:
        raise UserError(f"{at}{misfit.inside}={misfit.value!r} should be {misfit.wanted}") from misfit


def join(at: str, key: object) -> str:
    """The full key of `key` under `at`."""
    return f"{at}.{key}" if at else str(key)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question with the nearest of the known words, or a list of them all; starts with a colon."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f": did you mean {near[0]!r}?"
    return f": known are {', '.join(known)}" if known else ""


def _build_nested(value: Any, hint: Any, at: str) -> Any:
    """Replace nodes inside `value` by what they describe, except where `hint` asks for mappings."""
    if _wants_mapping(hint):
        return value
    if isinstance(value, Mapping) and TARGET in value:
        return build(typing.cast(Node, value), at)
    if isinstance(value, list | tuple):
        inner = next(iter(typing.get_args(hint)), Any)
        items = typing.cast("list[Any]", value)
        return [_build_nested(item, inner, f"{at}[{i}]") for i, item in enumerate(items)]
    return value


def _wants_mapping(hint: Any) -> bool:
    origin = typing.get_origin(hint) or hint
    if origin in (typing.Union, types.UnionType):
        return any(_wants_mapping(member) for member in typing.get_args(hint))
    return inspect.isclass(origin) and issubclass(origin, Mapping)


def _unknown(full: str, key: str, known: Iterable[str], target: str) -> str:
    return f"{full} is no setting of {target}{did_you_mean(key, known)}"


def _missing(full: str) -> str:
    return f"{full} is missing: give it as {full}=VALUE"
