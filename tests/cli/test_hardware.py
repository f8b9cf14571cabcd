"""Every knob of the hardware group reaches the process, and the seed every generator."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from offrl.build import build
from offrl.cli.hardware import PATIENCE, Hardware, patience, seed_everything
from offrl.errors import UserError
from offrl.paths import cache_dir
from tests.conftest import Compose

PROBE = """
import json, os, sys
from offrl.build import build
node = json.loads(sys.argv[1])
device = build(node, "hardware").apply()
import torch
print(json.dumps({
    "device": device,
    "threads": torch.get_num_threads(),
    "compile_threads": os.environ["TORCHINDUCTOR_COMPILE_THREADS"],
    "cache": os.environ["TORCHINDUCTOR_CACHE_DIR"],
    "deterministic": torch.are_deterministic_algorithms_enabled(),
    "detect_anomaly": torch.is_anomaly_enabled(),
    "flush_denormals": (torch.tensor(1e-30) * 1e-10).item() == 0.0,
    "spin": os.environ.get("GOMP_SPINCOUNT"),
}))
"""


def probe(node: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROBE, json.dumps(node)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={name: value for name, value in os.environ.items() if not name.startswith("TORCHINDUCTOR")},
    )
    return json.loads(done.stdout)


def test_every_knob_is_live(compose: Compose) -> None:
    node = compose()["hardware"]
    seen = probe(node)
    cache = str(cache_dir() / "compiled")
    own = {"spin": None, "compile_threads": "1", "cache": cache}
    assert {name: node[name] for name in seen.keys() - own.keys()} | own == seen
    changed = {
        "threads": 2,
        "deterministic": True,
        "detect_anomaly": True,
        "flush_denormals": False,
    }
    seen = probe(node | changed)
    assert seen.pop("spin") in ("0", str(PATIENCE))
    assert seen == {"device": "cpu", "cache": cache, "compile_threads": "2"} | changed


@pytest.mark.parametrize(("load", "turns"), [(0.2, PATIENCE), (1.5, 0), (9.0, 0)])
def test_threads_wait_awake_only_where_cores_are_free(load: float, turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (load, load, load))
    assert patience(2) == str(turns)


def test_a_machine_that_does_not_say_how_busy_it_is_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.delattr("os.getloadavg")
    assert patience(2) == str(PATIENCE)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what is asked for")
def test_no_gpu_is_said(compose: Compose) -> None:
    with pytest.raises(UserError, match=r"hardware.device=cuda, but .*: use hardware=cpu"):
        build(compose("hardware=gpu")["hardware"]).apply()


def test_a_cpu_has_no_tf32(compose: Compose) -> None:
    with pytest.raises(UserError, match=r"hardware.precision=tf32 .*: use float32, or bf16"):
        build(compose()["hardware"] | {"precision": "tf32"}).apply()


@pytest.mark.parametrize(("generation", "allowed"), [((7, 5), False), ((8, 0), True)])
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_an_old_gpu_has_neither(
    compose: Compose, monkeypatch: pytest.MonkeyPatch, generation: tuple[int, int], allowed: bool, precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: generation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Old One")
    hardware: Hardware = build(compose("hardware=gpu")["hardware"] | {"precision": precision})
    with contextlib.nullcontext() if allowed else pytest.raises(UserError, match=f"{precision} needs .* Old One"):
        hardware._check_precision("cuda")


@pytest.mark.parametrize("name", ["threads", "compile_from", "updates_per_call"])
def test_counts_are_positive(compose: Compose, name: str) -> None:
    hardware: Hardware = build(compose()["hardware"] | {name: 0})
    with pytest.raises(UserError, match=f"hardware.{name}=0"):
        hardware.apply()


def test_one_seed_governs_all() -> None:
    def draw() -> tuple[float, float, float]:
        seed_everything(3)
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    assert draw() == draw()
    for wrong in (-1, 2**32, True, "1", None):
        with pytest.raises(UserError, match="seed="):
            seed_everything(wrong)
