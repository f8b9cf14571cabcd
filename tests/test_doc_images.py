"""The pictures of the docs: all there, all used, none heavy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import make_doc_images as script

DOCS = script.IMAGES.parent


def test_docs_show_the_pictures_that_there_are() -> None:
    shown = {
        (page.parent / picture).resolve()
        for page in (*DOCS.rglob("*.md"), DOCS.parent / "README.md")
        for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    }
    assert shown == {picture.resolve() for picture in script.IMAGES.iterdir()}
    assert all(picture.stat().st_size < 150_000 for picture in shown)


def test_the_report_is_photographed_only_where_there_is_a_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "IMAGES", tmp_path)
    monkeypatch.setattr(script, "BROWSERS", ("no-such-browser",))
    script.photograph(tmp_path / "report.html")
    assert "not photographed" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
