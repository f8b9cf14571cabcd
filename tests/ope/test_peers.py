"""Our estimates of one log beside those of SCOPE-RL and OBP, as `benchmarks/estimates.py` recorded them."""

from __future__ import annotations

import json

import pytest

from benchmarks.estimates import RESULTS, ours


@pytest.mark.parametrize("library", ["scope-rl", "obp"])
def test_equal_to_a_millionth(library: str) -> None:
    assert ours()[library] == pytest.approx(json.loads(RESULTS.read_text())[library], abs=1e-6)
