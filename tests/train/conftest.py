"""Pictures take longer than the runs that the tests make; tests/log draws them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offrl.train.run.plot_run", lambda *_: None)
