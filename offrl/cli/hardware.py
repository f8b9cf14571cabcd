"""The machine: device, threads, precision; and the one seed."""

from __future__ import annotations

import ctypes
import os
import platform
import random
from dataclasses import dataclass
from typing import Literal

from offrl.errors import UserError
from offrl.paths import cache_dir

Device = Literal["cpu", "cuda"]


PATIENCE = 10_000  # turns of a loop, about a tenth of a millisecond: the time between two parallel pieces of an update


def patience(threads: int) -> str:
    """How long a thread waits awake for the others of its pool.

    Where the cores for all are free as the process starts: long enough not to fall asleep within an update, which makes
    two threads 2.5 times as fast on networks of 256 units. Where they are not: not at all, for whoever waits awake
    holds up the one that it waits for (docs/benchmarks.md). Windows does not say how busy it is.
    """
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    free = (os.cpu_count() or 1) - busy
    return str(PATIENCE if free >= threads - 0.5 else 0)


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """How to use the machine. Apply it before anything else imports torch: some of it is read only then."""

    device: Literal["auto", "cpu", "cuda"]
    devices: int  # that share each batch of one run: GPUs, or processes on a CPU
    threads: int  # of tensor operations on the CPU
    precision: Literal["float32", "tf32", "bf16"]  # of matrix products; bf16: of those in the losses of training
    compile: bool | Literal["auto"]  # fuse each update into one graph; the trainer does it
    compile_from: int  # updates of a run from which on auto compiles them
    updates_per_call: int  # updates that a compiled graph holds, with the sampling before each
    deterministic: bool  # only algorithms that give the same bits each time; slower
    detect_anomaly: bool  # name the operation that made a NaN in a gradient; much slower
    flush_denormals: bool  # treat numbers below 1e-38 as zero: a CPU is up to 100 times slower on them

    def apply(self) -> Device:
        """Set the process up, and say on which device to train.

        Raises `UserError` if the machine lacks what is asked for.
        """
        for name in ("devices", "threads", "compile_from", "updates_per_call"):
            if getattr(self, name) < 1:
                raise UserError(f"hardware.{name}={getattr(self, name)} must be at least 1")
        if self.threads > 1:
            os.environ.setdefault("GOMP_SPINCOUNT", patience(self.threads))
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_dir() / "compiled"))  # a later run need not compile
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(self.threads))
        _keep_freed_memory()
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            built = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no GPU"
            raise UserError(f"hardware.device=cuda, but {built}: use hardware=cpu or hardware=auto")
        torch.set_flush_denormal(self.flush_denormals)  # before the pool exists: its threads inherit the mode
        torch.set_num_threads(self.threads)
        torch.set_float32_matmul_precision("high" if self.precision == "tf32" else "highest")
        if self.deterministic != torch.are_deterministic_algorithms_enabled():  # the call imports all compilers
            torch.use_deterministic_algorithms(self.deterministic)
        torch.backends.cudnn.benchmark = not self.deterministic
        torch.autograd.set_detect_anomaly(self.detect_anomaly)
        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        there, what = (
            (torch.cuda.device_count(), "GPU") if device == "cuda" else (os.cpu_count() or 1, "processor core")
        )
        if self.devices > there:
            raise UserError(f"hardware.devices={self.devices}, but this machine has {there} {what}(s)")
        self._check_precision(device)
        return device

    def _check_precision(self, device: Device) -> None:
        """Raise `UserError` for a precision that the device does not have."""
        import torch

        if device == "cpu":
            if self.precision == "tf32":
                raise UserError(
                    "hardware.precision=tf32 is a way in which NVIDIA GPUs multiply, and this run computes on a CPU: "
                    "use float32, or bf16"
                )
            return
        if self.precision != "float32" and torch.cuda.get_device_capability() < (8, 0):
            raise UserError(
                f"hardware.precision={self.precision} needs a GPU of compute capability 8.0 or later, and this is a "
                f"{torch.cuda.get_device_name()}: use float32"
            )


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed: it would hand every large tensor back to the system and fault it in anew, which
    took about a tenth of an update of CQL. Other C libraries are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    trim_threshold, mmap_threshold, gibibyte = -1, -3, 1 << 30
    libc = ctypes.CDLL(None)
    for option in (trim_threshold, mmap_threshold):
        libc.mallopt(option, gibibyte)


def seed_everything(seed: object) -> None:
    """Seed Python's, NumPy's and torch's global generators.

    Raises `UserError` unless `seed` is a whole number in [0, 2**32).
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise UserError(f"seed={seed!r} should be a whole number from 0 to {2**32 - 1}")
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries that use the global generator obey only this
    torch.manual_seed(seed)
