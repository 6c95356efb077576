"""Megatron-core 0.19 without a GPU.

Megatron-core has no CPU path but needs little of CUDA: current device and stream, random states, `device="cuda"` in
a few factory calls, names of tensor types. Without CUDA, `install` patches these in Megatron if possible, else in
torch. A test fails when a Megatron release no longer needs a patch.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import sys
from types import ModuleType

import torch

# Modules with a literal device="cuda" that this suite uses.
CUDA_LITERALS = (
    "megatron.core.pipeline_parallel.schedules",
    "megatron.core.optimizer.optimizer",
    "megatron.core.optimizer.clip_grads",
    "megatron.core.utils",
)


class _NoStream:
    """The CPU's only stream: all its work is done."""

    def wait_stream(self, _stream) -> None: ...

    def synchronize(self) -> None: ...


class _CpuTorch(ModuleType):
    """`torch` with factories that make tensors on the CPU instead of "cuda"."""

    def __init__(self):
        super().__init__("torch")

    def __getattr__(self, name: str):
        return getattr(torch, name)

    def __dir__(self):
        return dir(torch)

    @staticmethod
    def _on_cpu(factory):
        def create(*args, device=None, **kwargs):
            return factory(*args, device="cpu" if str(device).startswith("cuda") else device, **kwargs)

        return create


for _name in ("zeros", "ones", "empty", "full", "tensor", "zeros_like", "empty_like"):
    setattr(_CpuTorch, _name, staticmethod(_CpuTorch._on_cpu(getattr(torch, _name))))


def install(leave_out: str | None = None) -> None:
    """A second call does nothing. `leave_out` skips a patch, to test whether it is still needed."""
    if torch.cuda.is_available() or getattr(torch.cuda, "_answers_for_cpu", False):
        return
    torch.cuda._answers_for_cpu = True
    for name, apply in PATCHES.items():
        if name != leave_out:
            apply()


def keep_memory() -> None:
    """Makes glibc keep freed memory: page faults of newly mapped tensors took a fifth of a step."""
    M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def _devices() -> None:
    torch.cuda.current_device = lambda: torch.device("cpu")


def _streams() -> None:
    stream = _NoStream()
    torch.cuda.current_stream = lambda device=None: stream
    torch.cuda.stream = lambda _stream: contextlib.nullcontext()
    torch.cuda.synchronize = lambda device=None: None


def _random_states() -> None:
    from megatron.core.tensor_parallel import random

    torch.cuda.get_rng_state = lambda device="cuda": torch.get_rng_state()
    torch.cuda.set_rng_state = lambda state, device="cuda": torch.set_rng_state(state)
    torch.cuda.manual_seed = lambda seed: torch.manual_seed(seed)
    random._get_cuda_rng_state = lambda device="cuda", clone=False, graph_safe=False: torch.get_rng_state()
    random._set_cuda_rng_state = lambda state, device=-1, graph_safe=False: torch.set_rng_state(state)


def _factories() -> None:
    cpu_torch = _CpuTorch()
    for name in CUDA_LITERALS:
        importlib.import_module(name).torch = cpu_torch


def _tensor_types() -> None:
    tensor_type = torch.Tensor.type

    def type_seen_by(self, dtype=None, *args, **kwargs):
        """Gives the CUDA name only to Megatron's optimizer."""
        if dtype is not None:
            return tensor_type(self, dtype, *args, **kwargs)
        name = tensor_type(self)
        asked_by = sys._getframe(1).f_globals.get("__name__", "")
        return name.replace("torch.", "torch.cuda.", 1) if asked_by.startswith("megatron.core.optimizer") else name

    torch.Tensor.type = type_seen_by


def _transfers() -> None:
    torch.Tensor.cuda = lambda self, *args, **kwargs: self


PATCHES = {
    "devices": _devices,
    "streams": _streams,
    "random states": _random_states,
    "factories": _factories,
    "tensor types": _tensor_types,
    "transfers": _transfers,
}
