"""Machines of a plan: GPUs by data sheet, this machine's GPU, and its CPU, measured."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import psutil

from qwen_shared.errors import UserError
from qwen_shared.gpus import GPUS, find_gpu
from qwen_shared.recipe import nearest

CPU = "cpu"
_GIB = 2**30
_USABLE = 0.94  # of a GPU's memory; the rest is for the driver, NCCL, and fragmentation
PROCESS_BYTES = 750 * 2**20  # Python, torch and Megatron, without a model
# Freed memory that the C library keeps (backend.cpu.keep_memory): 0.33 to 0.8 of the tensors' bytes, measured by
# `benchmarks/memory_plan.py --as-runs`.
HOLES = 0.6


@dataclass(frozen=True)
class Machine:
    """A GPU, or a machine of CPUs that its processes share."""

    name: str
    flops: float  # FLOP/s of matrix products
    bytes: int

    @property
    def is_cpu(self) -> bool:
        return self.name == CPU

    @property
    def usable(self) -> float:
        return self.bytes * _USABLE


def gpu(name: str) -> Machine:
    return Machine(name, GPUS[name].flops, GPUS[name].gib * _GIB)


def named_machine(name: str) -> Machine:
    """The machine of `--gpu`. Raises UserError if it is unknown."""
    if name.lower() == CPU:
        return this_cpu()
    if name.upper() not in GPUS:
        near = nearest(name.upper(), list(GPUS))
        raise UserError(
            f"--gpu {name}: not known{f'; nearest: {near}' if near else ''} (there are: {', '.join(GPUS)}, {CPU})"
        )
    return gpu(name.upper())


def this_gpu() -> Machine | None:
    """This machine's first known GPU, read from /proc, without loading the driver."""
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        text = path.read_text(errors="replace")
        if name := find_gpu(text):
            size = re.search(r"(\d+)GB", text)  # some GPUs come in several sizes
            return replace(gpu(name), bytes=(int(size[1]) - 1) * _GIB) if size else gpu(name)
    return None


@cache
def this_cpu() -> Machine:
    """This machine's CPU, with fp32 matrix products measured for 0.3 s."""
    import numpy as np

    size, best = 512, float("inf")  # small, to finish before another process takes the core
    a = np.ones((size, size), dtype=np.float32)
    end = time.perf_counter() + 0.3
    while time.perf_counter() < end or best == float("inf"):
        began = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - began)
    return Machine(CPU, 2 * size**3 / best, psutil.virtual_memory().total)


def cpu_precision(precision: str) -> str:
    """`backend.resolve_precision` for this CPU, without torch."""
    if precision != "auto":
        return precision
    try:
        flags = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].split()
    except OSError:
        return "fp32"
    return "bf16" if {"avx512_bf16", "amx_tile"} & set(flags) else "fp32"
