"""The metrics file, the pictures and the loggers."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from offrl.errors import UserError
from offrl.log.files import replacing, write_json
from offrl.log.metrics import MetricsFile, read_metrics
from offrl.log.plots import plot_run


def row(step: int, **more: float) -> dict[str, float]:
    return {"step": step, "update": step, "env_step": 0, "seconds": 0.5 * step, **more}


def test_rows_of_different_columns(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.parquet")
    file.log(row(1, a=1.0))
    file.log(row(2, b=2.0))
    file.log(row(3, a=3.0, b=4.0))
    file.flush()
    columns = read_metrics(tmp_path)
    assert list(columns) == ["step", "update", "env_step", "seconds", "a", "b"]
    np.testing.assert_array_equal(columns["a"], [1.0, np.nan, 3.0])
    np.testing.assert_array_equal(columns["b"], [np.nan, 2.0, 4.0])
    assert pq.read_table(file.path)["a"].null_count == 1


def test_truncated_to_a_step(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.parquet")
    for step in range(1, 6):
        file.log(row(step, a=step) if step % 2 else row(step))
    file.flush()
    again = MetricsFile(file.path)
    again.truncate(3)
    again.log(row(10, late=1.0))
    again.flush()
    columns = read_metrics(file.path)
    assert columns["step"].tolist() == [1, 2, 3, 10]
    np.testing.assert_array_equal(columns["a"], [1.0, np.nan, 3.0, np.nan])
    np.testing.assert_array_equal(columns["late"], [np.nan, np.nan, np.nan, 1.0])


def test_writing_is_rare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, writes = MetricsFile(tmp_path / "metrics.parquet"), []
    monkeypatch.setattr(file, "flush", lambda: writes.append(1))
    for step in range(1000):
        file.log(row(step))
    assert not writes
    file._wait = 0.0
    file.log(row(1000))
    assert len(writes) == 1


def test_a_reader_is_told_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such metrics file"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.parquet").write_text("text")
    with pytest.raises(UserError, match="cannot be read"):
        read_metrics(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(error: Exception) -> None:
        with replacing(path) as aside:
            aside.write_text("half")
            raise error

    with pytest.raises(UserError, match="the disk is full"):
        fail(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError())
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_json_has_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": float("nan"), "y": [float("inf"), 1.5], 3: None})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": None, "y": [None, 1.5], "3": None}


def test_a_picture_of_everything(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.parquet")
    for step in range(0, 100_000, 1000):
        learnt = 1.0 - np.exp(-step / 3e4)
        more = {"train/return": 300 * learnt, "critic/loss": 5.0 - learnt, "actor/loss": -1.0, "critic/mean": learnt}
        if step % 5000 == 0:
            more |= {"evaluation/return": 400 * learnt, "evaluation/return_std": 30.0, "evaluation/score": 90 * learnt}
            more["evaluation/estimate"] = 380 * learnt
            more |= {"evaluation/success": learnt, "evaluation/believed": 90 * learnt, "evaluation/discounted": 60.0}
        file.log(row(step, **more, **{"rate/updates_per_second": 200.0, "rate/env_steps_per_second": 0.0}))
    file.flush()
    plot_run(file.path, tmp_path / "curves.png", "IQL · hopper · seed 0")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_no_picture_of_nothing(tmp_path: Path) -> None:
    plot_run(tmp_path / "metrics.parquet", tmp_path / "curves.png", "nothing")
    assert not (tmp_path / "curves.png").exists()
