"""Nodes become objects, and every mistake in a node is said by its full key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from offrl.build import build
from offrl.errors import UserError

HERE = __name__


@dataclass(frozen=True, kw_only=True)
class Part:
    size: int


@dataclass(frozen=True, kw_only=True)
class Base:
    rate: float


@dataclass(frozen=True, kw_only=True)
class Whole(Base):
    mode: Literal["slow", "fast"]
    hidden: tuple[int, ...]
    part: Part | None
    parts: tuple[Part, ...] = ()
    raw: Mapping[str, Any] | None = None
    flag: bool = False


def double(value: int) -> int:
    return 2 * value


NODE: dict[str, Any] = {
    "_target_": f"{HERE}.Whole",
    "rate": 1,
    "mode": "fast",
    "hidden": [256, 256],
    "part": {"_target_": f"{HERE}.Part", "size": 1e6},
}


def test_builds_nested_nodes_and_converts() -> None:
    whole = build(NODE | {"parts": [NODE["part"]]}, "whole")
    million = Part(size=1_000_000)
    assert whole == Whole(rate=1.0, mode="fast", hidden=(256, 256), part=million, parts=(million,))
    assert isinstance(whole.rate, float)
    assert isinstance(whole.part.size, int)


def test_mapping_fields_keep_their_node() -> None:
    assert build(NODE | {"raw": NODE["part"]}).raw == NODE["part"]


def test_more_wins_and_functions_are_called() -> None:
    assert build(NODE, part=None, flag=True).flag
    assert build({"_target_": f"{HERE}.double", "value": 4}) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hiden": [1]}, r"whole\.hiden is no setting of .*Whole: did you mean 'hidden'\?"),
        ({"rate": "high"}, r"whole\.rate='high' should be a number"),
        ({"rate": True}, r"whole\.rate=True should be a number"),
        ({"rate": "???"}, r"whole\.rate is missing: give it as whole\.rate=VALUE"),
        ({"mode": "medium"}, r"whole\.mode='medium' should be slow or fast"),
        ({"hidden": [256, 2.5]}, r"whole\.hidden\[1\]=2\.5 should be a whole number"),
        ({"hidden": 256}, r"whole\.hidden=256 should be a list of whole numbers"),
        ({"part": 3}, r"whole\.part=3 should be a Part or null"),
        ({"part": {"_target_": f"{HERE}.Part"}}, r"whole\.part\.size is missing"),
        ({"part": {"_target_": f"{HERE}.Part", "size": None}}, r"whole\.part\.size=None should be a whole number"),
        ({"part": {"_target_": f"{HERE}.Base", "rate": 1}}, r"whole\.part=.*should be a Part or null"),
        ({"flag": 1}, r"whole\.flag=1 should be true or false"),
        ({"_target_": "offrl.nothing.Here"}, r"whole\._target_=offrl\.nothing\.Here: there is no module"),
        ({"_target_": f"{HERE}.Nothing"}, r"whole\._target_=.*nothing of that name"),
        ({"_target_": None}, r"whole has no _target_"),
    ],
)
def test_mistakes_name_the_full_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(NODE | change, "whole")


def test_missing_key_without_default() -> None:
    with pytest.raises(UserError, match=r"whole\.mode is missing"):
        build({key: value for key, value in NODE.items() if key != "mode"}, "whole")
