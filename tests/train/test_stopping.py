"""Being asked to stop."""

from __future__ import annotations

import signal

import pytest

from offrl.train import stopping


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
