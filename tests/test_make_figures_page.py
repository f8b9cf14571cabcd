"""The page of figures is what the records say now."""

from __future__ import annotations

from scripts import make_figures_page as script


def test_the_committed_page_is_up_to_date() -> None:
    assert script.page() == script.PAGE.read_text(encoding="utf-8"), "run: python -m scripts.make_figures_page"
