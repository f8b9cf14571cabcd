"""Being asked to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from offrl.train import stopping


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Also where this process was started in the background, and so ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_signals_that_come_together_are_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a later one does what it did before the block."""
    clock = iter([0.0, 0.3, 5.0])
    monkeypatch.setattr(stopping.time, "monotonic", lambda: next(clock))
    before, heard = signal.getsignal(signal.SIGINT), list[int]()
    with stopping.asked_to_stop(heard.append):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert heard == [signal.SIGTERM, signal.SIGINT]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert len(heard) == 2
    assert signal.getsignal(signal.SIGINT) is before
