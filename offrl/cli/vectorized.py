"""A launcher of sweeps: runs that can train as one do, each into the folder that it would have left alone."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal, cast

import cloudpickle
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from offrl.build import build
from offrl.cli.hardware import Hardware
from offrl.errors import UserError

LOG = logging.getLogger(__name__)
FEWEST = 4  # runs for which a process of their own is worth its start

Mode = Literal["auto", "stack", "threads"]


@dataclass
class Part:
    """Runs that train in one process, in company where there are several."""

    configs: list[DictConfig]
    numbers: list[int]  # in the sweep


class VectorizedLauncher(Launcher):
    """See `configs/hydra/launcher/vectorized.yaml`."""

    def __init__(self, mode: Mode, max_runs: int, processes: int | Literal["auto"]) -> None:
        if mode not in ("auto", "stack", "threads"):
            raise UserError(f"hydra.launcher.mode={mode}: it is auto, stack or threads")
        if max_runs < 1 or (isinstance(processes, int) and processes < 1):
            raise UserError(f"hydra.launcher.max_runs={max_runs} and processes={processes} must be at least 1")
        self.mode: Mode = mode
        self.max_runs, self.processes = max_runs, processes

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        configs = [self._config(list(words), initial_job_idx + i) for i, words in enumerate(job_overrides)]
        if any(config.hardware.devices > 1 for config in configs):
            raise UserError(
                "hardware.devices > 1 shares one run among devices, and hydra/launcher=vectorized (or seeds=N) puts "
                "several runs on one: use hydra/launcher=basic, or hardware.devices=1"
            )
        groups = alike(configs)
        processes = self._processes(max(map(len, groups)))
        parts = [part for group in groups for part in _parts(group, configs, processes, self.max_runs)]
        LOG.info(
            f"Launching {len(configs)} runs: "
            + ", ".join(f"{len(part.numbers)} as one" if len(part.numbers) > 1 else "1 alone" for part in parts)
        )
        for words in job_overrides:
            LOG.info("\t" + " ".join(filter_overrides(words)))
        returns: dict[int, JobReturn] = {}
        at_once = min(processes, len(parts))
        run = partial(run_part, task=self.task, mode=self.mode, cores=max(1, (os.cpu_count() or 1) // at_once))
        here = at_once == 1
        done = [run(part, self.context) for part in parts] if here else _in_processes(run, parts, at_once)
        for part, results in zip(parts, done, strict=True):
            returns |= zip(part.numbers, results, strict=True)
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return [returns[number] for number in range(len(configs))]

    def _config(self, words: list[str], number: int) -> DictConfig:
        config = self.context.config_loader.load_sweep_config(self.config, words)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def _processes(self, runs: int) -> int:
        if isinstance(self.processes, int):
            return self.processes
        threads = int(self.config.hardware.threads)
        return max(1, min((os.cpu_count() or 1) // threads, runs // FEWEST))


def alike(configs: Sequence[DictConfig]) -> list[list[int]]:
    """Indices of runs, in groups that may train as one."""
    from offrl.train.grouping import groups

    return groups([_plain(config) for config in configs])


def _plain(config: DictConfig) -> dict[str, Any]:
    """Resolved, without Hydra's own node."""
    HydraConfig.instance().set_config(config)
    kept = [
        str(key) for key in config if key not in ("hydra", "name")
    ]  # a name may need what is known at the start only
    return cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.masked_copy(config, kept), resolve=True))


def _parts(group: list[int], configs: Sequence[DictConfig], processes: int, most: int) -> list[Part]:
    """A group in parts of at most `most`, as many as there are processes where there are enough runs."""
    count = max(-(-len(group) // most), min(processes, len(group) // FEWEST), 1)
    shares = [group[i::count] for i in range(count)]
    return [Part([configs[i] for i in share], share) for share in shares]


def run_part(part: Part, context: HydraContext, *, task: TaskFunction, mode: Mode, cores: int) -> list[JobReturn]:
    """Train the runs of a part on so many cores; a failure of one is in its return value."""

    def job(config: DictConfig) -> JobReturn:
        return run_job(
            hydra_context=context,
            task_function=task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )

    if len(part.configs) == 1:
        return [job(part.configs[0])]
    # Before torch is imported, which reads some of it, and before there are threads, which inherit the rest.
    settings = OmegaConf.to_container(part.configs[0].hardware, resolve=True)
    cast(Hardware, build(cast("dict[str, Any]", settings), "hardware")).apply()
    from offrl.train.together import Company

    company = Company(mode=mode, cores=cores)
    with company.signals():
        results = company.run([partial(job, config) for config in part.configs], [c.seed for c in part.configs])
    ends = [result for result in results if isinstance(result, BaseException)]
    if any(not isinstance(end, Exception) for end in ends):  # asked to stop: so does the sweep
        raise next(end for end in ends if not isinstance(end, Exception))
    return [_failed(result) if isinstance(result, BaseException) else result for result in results]


def _failed(error: BaseException) -> JobReturn:
    return JobReturn(_return_value=error, status=JobStatus.FAILED)


def _in_processes(run: partial[list[JobReturn]], parts: Sequence[Part], processes: int) -> list[list[JobReturn]]:
    """Do every part in a process of its own, so many at a time.

    Raises the first of what the parts raised, when all have ended. Ctrl-C and SIGTERM are passed on to those at work
    as SIGTERM, no other begins, and they raise `KeyboardInterrupt` and `SystemExit` once those at work have ended.
    """
    from offrl.train.stopping import asked_to_stop

    context, state = multiprocessing.get_context("spawn"), Singleton.get_state()
    tasks = [cloudpickle.dumps((run, part, state)) for part in parts]  # plain pickle sends no functions
    answers: list[Any] = [None] * len(parts)
    waiting, at_work, asked = deque(range(len(parts))), dict[Connection, tuple[int, BaseProcess]](), list[int]()

    def stop(number: int) -> None:
        asked.append(number)
        for _, process in at_work.values():
            process.terminate()

    with asked_to_stop(stop):
        try:
            while at_work or (waiting and not asked):
                if waiting and not asked and len(at_work) < processes:
                    number = waiting.popleft()
                    pipe, process = _begun(context, tasks[number])
                    at_work[pipe] = number, process
                    if asked:  # since the last look
                        process.terminate()
                    continue
                for pipe in cast("list[Connection]", wait(list(at_work))):
                    number, process = at_work[pipe]
                    answers[number] = _answer(pipe)
                    process.join()
                    del at_work[pipe]
        finally:
            for _, process in at_work.values():
                process.terminate()
    if asked:
        raise KeyboardInterrupt if asked[0] == signal.SIGINT else SystemExit(128 + asked[0])
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


def _begun(context: SpawnContext, task: bytes) -> tuple[Connection, BaseProcess]:
    """A process at work on a part, and where its answer will come from."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_elsewhere, args=(theirs, task))
    process.start()
    theirs.close()
    return ours, process


def _answer(pipe: Connection) -> list[JobReturn] | BaseException:
    """What became of a part."""
    with pipe:
        try:
            return cloudpickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return RuntimeError("a process of this sweep died, maybe for lack of memory: use fewer of them")


def _elsewhere(pipe: Connection, task: bytes) -> None:
    """Do a part in a process of its own, which knows nothing of Hydra yet."""
    from hydra._internal.callbacks import Callbacks

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the parent says what is to be done
    setup_globals()
    run, part, state = cloudpickle.loads(task)
    Singleton.set_state(state)
    context = HydraContext(config_loader=cast(Any, None), callbacks=Callbacks())
    try:
        answer = run(part, context)
    except BaseException as error:
        answer = error
    with contextlib.suppress(ConnectionError):  # the parent is gone
        pipe.send_bytes(cloudpickle.dumps(answer))
