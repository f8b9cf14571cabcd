"""Files survive what happens to them."""

from __future__ import annotations

import errno
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from offrl.errors import UserError
from offrl.train import checkpoint
from offrl.train.checkpoint import load, load_policy, numbered, save, save_numbered
from tests.train.kit import RUNS, config, run, same


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save(path, {"x": torch.arange(3), "n": 2, "s": "text", "l": [1.5, None], "d": {"y": torch.ones(2)}})
    state = load(path)
    assert torch.equal(state["x"], torch.arange(3))
    assert (state["n"], state["s"], state["l"]) == (2, "text", [1.5, None])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.pt", "a.pt.sha256"]


def test_only_the_last_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15, 200000):
        save_numbered(tmp_path, step, {"step": step}, keep=2)
    assert [load(path)["step"] for path in numbered(tmp_path)] == [15, 200000]
    assert len(list(tmp_path.iterdir())) == 4


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".step-000000000005.pt.123.tmp").touch()
    (tmp_path / ".step-000000000005.pt.sha256.123.tmp").touch()
    path = save_numbered(tmp_path, 10, {"step": 10}, keep=2)
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, path.name + ".sha256"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "unsigned"])
def test_damage_is_seen_and_an_older_file_is_named(damage: str, tmp_path: Path) -> None:
    for step in (1, 2):
        save_numbered(tmp_path, step, {"x": torch.ones(1000)}, keep=5)
    older, newer = numbered(tmp_path)
    content = bytearray(newer.read_bytes())
    if damage == "truncated":
        newer.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        newer.write_bytes(content)
    else:
        newer.with_name(newer.name + ".sha256").unlink()
    with pytest.raises(UserError, match=f"{newer.name}.*{older.name if damage != 'unsigned' else ''}"):
        load(newer)
    load(older)


@pytest.mark.parametrize("name", ["policy.pt", "checkpoints/best.pt"])
def test_beside_a_damaged_policy_the_last_checkpoint_is_named(name: str, tmp_path: Path) -> None:
    for step in (1, 2):
        save_numbered(tmp_path / "checkpoints", step, {"step": step}, keep=5)
    save(tmp_path / name, {"step": 1})
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"checkpoint=step-000000000002 "):
        load(tmp_path / name)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "executed"),)

    path = tmp_path / "evil.pt"
    save(path, {"x": 1})
    torch.save({"format": 1, "x": Evil()}, path)
    path.with_name("evil.pt.sha256").write_text(f"{checkpoint._digest(path)}\n")
    with pytest.raises(UserError, match="damaged"):
        load(path)
    assert not (tmp_path / "executed").exists()
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError):
        load(path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("moment", ["write", "rename"])
def test_full_disk_leaves_the_old_file(moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "best.pt"
    save(path, {"x": 1})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if moment == "write":
        monkeypatch.setattr(torch, "save", full)
    else:
        replace = Path.replace

        def failing(self: Path, target: Path) -> Path:
            return full() if target == path else replace(self, target)  # pyright: ignore[reportReturnType]

        monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(UserError, match="the disk is full"):
        save(path, {"x": 2})
    monkeypatch.undo()
    assert load(path)["x"] == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best.pt", "best.pt.sha256"]


def test_really_full_device_is_a_user_error() -> None:
    with pytest.raises(OSError, match=r"disk|space"), Path("/dev/full").open("wb") as file:
        checkpoint._write(file, {"x": torch.ones(100_000)})


def test_full_disk_ends_a_run_with_the_older_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, node = torch.save, config(*RUNS["offline"], "evaluation=none")

    def full_later(state: Any, file: Any) -> None:
        if state["step"] > 50:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(state, file)

    monkeypatch.setattr(torch, "save", full_later)
    with pytest.raises(UserError, match="the disk is full"):
        run(tmp_path, node)
    monkeypatch.undo()
    assert load(numbered(tmp_path / "checkpoints")[-1])["step"] == 50
    whole = run(tmp_path / "whole", node)
    assert same(run(tmp_path, node, resume=True).algo.state_dict(), whole.algo.state_dict())


def test_policy_comes_back(tmp_path: Path) -> None:
    context = run(tmp_path, config(*RUNS["offline"]))
    for which in ("last", "step-000000000100"):
        algo, spec, node = load_policy(tmp_path, which)
        assert spec == context.spec
        assert node == context.config
        assert same(algo.state_dict(), context.algo.state_dict()) == (which == "last")
    load_policy(tmp_path, "best")
    (tmp_path / "policy.pt").unlink()
    algo, _, _ = load_policy(tmp_path)
    assert same(algo.state_dict(), context.algo.state_dict())
    with pytest.raises(UserError, match="there: best"):
        load_policy(tmp_path, "bset")
    with pytest.raises(UserError, match="no such run folder"):
        load_policy(tmp_path / "nowhere")


def test_the_last_policy_of_a_run_that_was_made_longer_is_its_last_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """policy.pt is that of the shorter run until the longer one is finished."""
    run(tmp_path, config(*RUNS["offline"], "trainer.updates=60", "evaluation=none"))
    state = load(tmp_path / "checkpoints" / "step-000000000060.pt")
    state |= {"step": 80, "algo": {name: value + 1 for name, value in state["algo"].items()}}
    save_numbered(tmp_path / "checkpoints", 80, state, keep=5)
    facts = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(facts | {"status": "interrupted"}))
    algo, _, _ = load_policy(tmp_path)
    assert same(algo.state_dict(), state["algo"])
    assert "is interrupted; this is the policy of step-000000000080.pt" in capsys.readouterr().out
