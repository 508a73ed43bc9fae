"""Where the arithmetic runs: which compiled module is used and how arrays get to it.

A Backend is made once (``cpu()``, ``cuda(0)`` or ``pick("auto")``) and passed down; there is no current device.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np


@dataclass(frozen=True)
class Backend:
    """One device: ``lib`` is the compiled module whose functions kernels.py calls."""

    name: str
    lib: ModuleType
    n_threads: int
    _kept: dict[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    def empty(self, shape, dtype):
        return np.empty(shape, dtype)

    def scratch(self, name: str, shape) -> np.ndarray:
        """float32 memory of any content that is kept under a name for its next user, who overwrites what this one left.

        Fresh memory of hundreds of MB costs more, as the system clears its pages, than the arithmetic on it.
        """
        size = int(np.prod(shape))
        if name not in self._kept or self._kept[name].size < size:
            self._kept.pop(name, None)
            self._kept[name] = np.empty(size, np.float32)
        return self._kept[name][:size].reshape(shape)

    def release(self) -> None:
        """Give back all that ``scratch`` keeps, before something else needs much memory."""
        self._kept.clear()

    def zeros(self, shape, dtype):
        return np.zeros(shape, dtype)

    def to_device(self, array):
        return np.ascontiguousarray(array)

    def to_host(self, array):
        return np.asarray(array)

    def sync(self):
        """Wait for the device; a CPU kernel has finished when it returns."""


def cpu_flags() -> frozenset[str]:
    """Instruction-set flags of this CPU as Linux names them; empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.split(":")[1].split()) for line in lines if line.startswith("flags")), frozenset())


AVX512 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


# Threads of ours that wait would otherwise spin, which on a shared machine takes time from those that work.
WAITING = {"OMP_WAIT_POLICY": "passive"}


def _load(name: str, wide: bool) -> ModuleType:
    """Import a compiled module, with the settings that OpenBLAS and OpenMP read once, when they are loaded.

    OpenBLAS takes its 256-bit kernels on some CPUs with AVX-512, and wherever OPENBLAS_CORETYPE says so for the whole
    machine, at half the rate. VITREOUS_OPENBLAS_CORETYPE is the user's word to this program alone
    (docs/decisions/0003-blas-kernels.md).
    """
    chosen = {k: v for k, v in WAITING.items() if k not in os.environ}
    core = os.environ.get("VITREOUS_OPENBLAS_CORETYPE", "SKYLAKEX" if wide else "")
    if core:
        chosen["OPENBLAS_CORETYPE"] = core
    before = {key: os.environ.get(key) for key in chosen}
    os.environ.update(chosen)
    try:
        return import_module(name)
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def cpu(n_threads: int = 0, instruction_set: str = "auto") -> Backend:
    """The host CPU.

    Parameters
    ----------
    n_threads : threads of every kernel; 0 takes all that the process may use
    instruction_set : "auto", "avx2" or "avx512"

    Raises  RuntimeError: the CPU lacks AVX2, or AVX-512 where that was asked for.
    """
    flags = cpu_flags()
    wide = flags >= AVX512
    if flags and "avx2" not in flags and "asimd" not in flags:
        raise RuntimeError("this CPU has no AVX2, which vitreous needs (any x86 server since 2015 has it)")
    if instruction_set == "avx512" and not wide:
        raise RuntimeError("this CPU has no AVX-512: use instruction_set='auto' or 'avx2'")
    wide = wide and instruction_set != "avx2"
    lib = _load("vitreous._cpu_avx512" if wide else "vitreous._cpu", wide)
    n_threads = n_threads or len(os.sched_getaffinity(0))
    lib.set_num_threads(n_threads)
    return Backend("cpu", lib, n_threads)


@dataclass(frozen=True)
class CudaBackend:
    """One GPU, used as a Backend: ``lib`` is that device's function table, arrays are its DeviceArrays.

    Kernels run in order on one stream and return at once; only ``to_host`` and ``sync`` wait.
    """

    name: str
    lib: ModuleType
    n_threads: int

    def empty(self, shape, dtype):
        return self.lib.empty(_lengths(shape), dtype)

    def scratch(self, name: str, shape):
        """As a Backend's; the device's allocator keeps freed memory by itself."""
        return self.empty(shape, np.float32)

    def release(self) -> None:
        """As a Backend's; nothing is kept."""

    def zeros(self, shape, dtype):
        return self.lib.zeros(_lengths(shape), dtype)

    def to_device(self, array):
        """A copy on the GPU; what lies there already is returned as it is."""
        if hasattr(array, "__cuda_array_interface__"):
            return array
        return self.lib.to_device(np.ascontiguousarray(array))

    def to_host(self, array):
        return np.asarray(array)

    def sync(self):
        """Wait until the GPU has done all that it was given."""
        self.lib.sync()


def _lengths(shape) -> list[int]:
    return [int(n) for n in shape] if hasattr(shape, "__iter__") else [int(shape)]


def cuda(i_device: int = 0) -> CudaBackend:
    """A GPU.

    Parameters
    ----------
    i_device : number of the device, as CUDA counts those it may see

    Raises  RuntimeError: no CUDA module in this installation, no driver, or no such device; the text says which.
    """
    try:
        module = import_module("vitreous._cuda")
    except ImportError as error:
        raise RuntimeError(
            f"this installation has no CUDA module ({error}); where nvcc and cuBLAS are, "
            "pip install -Ccmake.define.VITREOUS_CUDA=ON . builds it"
        ) from None
    n_devices = module.device_count()
    if not n_devices:
        why = module.why_no_device() or "none is visible"
        raise RuntimeError(f"no CUDA device: {why}; see nvidia-smi and CUDA_VISIBLE_DEVICES")
    if not 0 <= i_device < n_devices:
        raise RuntimeError(f"no CUDA device {i_device}: there are {n_devices}, numbered from 0")
    return CudaBackend("cuda", module.open(i_device), len(os.sched_getaffinity(0)))
