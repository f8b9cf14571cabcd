"""What the pages promise: links lead somewhere, and what they give to copy works."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any, cast

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from offrl import __version__
from offrl.algos.imitation.bc import BC
from offrl.build import build
from offrl.paths import config_dir

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_config_on_writing_an_algorithm_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the trainer that feeds it, and all that its class wants."""
    (tmp_path / "algo").mkdir()
    (tmp_path / "algo" / "mine.yaml").write_text(_indented("algorithms/writing.md", "# @package _global_"))
    (tmp_path / "my_algorithms.py").write_text("from offrl.algos.imitation.bc import BC\n\n\nclass Mine(BC): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    trainer, algo = _composed("trainer", "algo", words=(f"hydra.searchpath=[file://{tmp_path}]", "algo=mine"))
    assert trainer["_target_"] == "offrl.train.offline.Offline"
    assert isinstance(build(algo, "algo"), BC)
    sys.modules.pop("my_algorithms")


def test_every_environment_has_its_row() -> None:
    text = (ROOT / "docs" / "environments.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", text, re.MULTILINE))
    own = sorted(file.stem for file in (config_dir() / "env").glob("*.yaml") if file.stem != "gym")
    assert list(rows) == own
    for name in own:
        env = _environment(name)
        scores = [(env["reference"] or {}).get(key) for key in ("random", "expert")]
        shown = [f"`{env['id']}`", *("-" if score is None else f"{score:.1f}" for score in scores)]
        cells = rows[name].split(" | ")
        assert [cells[0], *cells[2:]] == shown


def test_what_is_cited_is_this_version() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == __version__


def test_every_lecture_has_its_row() -> None:
    rows = re.findall(
        r"^\| (C\d+) \| `(\w+)` \|", (ROOT / "docs" / "lectures.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    files = sorted((config_dir() / "experiment" / "lectures").glob("c*.yaml"))
    assert rows == [(yaml.safe_load(file.read_text(encoding="utf-8"))["lecture"]["claim"], file.stem) for file in files]


def _environment(name: str) -> dict[str, Any]:
    """The config of an environment with what it takes over from another one; faster than composing it."""
    node = yaml.safe_load((config_dir() / "env" / f"{name}.yaml").read_text(encoding="utf-8"))
    return node if name == "gym" else _environment(node["defaults"][0]) | node


def _indented(page: str, start: str) -> str:
    """The indented block of a page that begins with a line."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    block = re.search(rf"^    {re.escape(start)}\n(?:    .*\n|\n(?=    ))+", text, re.MULTILINE)
    assert block is not None, page
    return dedent(block[0])


def _composed(*groups: str, words: Sequence[str]) -> list[dict[str, Any]]:
    """The nodes of some groups, resolved."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("config", list(words))
    return [cast("dict[str, Any]", OmegaConf.to_container(config[group], resolve=True)) for group in groups]
