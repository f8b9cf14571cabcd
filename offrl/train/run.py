"""One run from its first step to its last file."""

from __future__ import annotations

import contextlib
import signal

from offrl.errors import UserError
from offrl.log.plots import plot_run
from offrl.train.callbacks import (
    Bar,
    Checkpoint,
    Diverged,
    Evaluate,
    Guard,
    Interrupted,
    Measure,
    Record,
    Signals,
    write_policy,
)
from offrl.train.loop import RunContext, Trainer, fit
from offrl.train.resume import restore
from offrl.train.rundir import Status, now


def train(trainer: Trainer, run: RunContext, resume: bool) -> None:
    """Train, and leave the run folder complete, however it ends.

    Raises `Diverged` after saving what there is; `KeyboardInterrupt` (Ctrl-C) or `SystemExit` (SIGTERM) after a
    checkpoint; `UserError` for what cannot be written or resumed.
    """
    _begin(trainer, run, resume)
    status: Status = "failed"
    try:
        _fit(trainer, run)
        write_policy(run, run.folder.policy, trainer.step)
        status = "finished"
    except Diverged:
        status = "diverged"
        raise
    except Interrupted as interruption:
        status = "interrupted"
        print(f"interrupted by {interruption}; go on with: offrl train run={run.folder.root} resume=true")
        if interruption.number == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(128 + interruption.number) from None
    finally:
        _close(trainer, run, status)


def _begin(trainer: Trainer, run: RunContext, resume: bool) -> None:
    """Get ready, or let go of everything; a refusal to resume leaves the folder as it was."""
    with contextlib.ExitStack() as failure:
        failure.callback(run.logger.close, {}, failed=True)
        if run.evaluator is not None:
            failure.callback(run.evaluator.close)
        trainer.begin(run)
        failure.callback(trainer.close)
        if resume:
            restore(trainer, run)
            run.folder.write_config(run.config)
            run.folder.note(status="running", end=None, resumed=[*run.folder.facts.get("resumed", []), now()])
        failure.pop_all()


def _fit(trainer: Trainer, run: RunContext) -> None:
    measure = Measure(trainer.log_interval)
    measure.begin(trainer, run)
    bar = Bar(trainer.pulse, run.config["name"], shows=run.writes and (run.member is None or run.member.number == 0))
    signals = Signals(trainer.pulse, trainer.keep_checkpoints, listens=run.member is None)
    with signals, bar.shown_from(trainer):
        callbacks = [
            measure,
            Guard(trainer.log_interval, trainer.max_q),
            *([Evaluate(run.evaluator.settings.interval)] if run.evaluator else []),
            *([run.judge] if run.judge else []),
            Record(),
            Checkpoint(trainer.checkpoint_interval, trainer.keep_checkpoints),
            bar,
            signals,
        ]
        fit(trainer, run, callbacks)


def _close(trainer: Trainer, run: RunContext, status: Status) -> None:
    """Let go of everything and write the last files; a full disk must not hide the error that ended the run."""
    trainer.close()
    if run.evaluator is not None:
        run.evaluator.close()
    results = {"last": run.progress.last, "best": run.progress.best}
    counters = {"step": trainer.step, "update": trainer.update, "env_step": trainer.env_step}
    careful = contextlib.suppress(UserError) if status == "failed" else contextlib.nullcontext()
    with careful:
        run.folder.note(status=status, end=now(), seconds=run.progress.seconds, **counters, results=results)
        run.metrics.flush()
    flat = {f"{name}/{key}": value for name, row in results.items() for key, value in row.items()}
    run.logger.close(flat | {"status": status}, failed=status in ("failed", "diverged"))
    with careful:  # last, for it takes longest
        if run.writes:
            plot_run(run.folder.metrics, run.folder.plots / "curves.png", run.title)
