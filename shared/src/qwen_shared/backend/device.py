"""Device, precision and process groups."""

from __future__ import annotations

import datetime
import os
import resource
import sys
import time
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from qwen_shared.gpus import GPUS, find_gpu
from qwen_shared.launched import is_worker


def device() -> torch.device:
    """This process's GPU, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def resolve_precision(precision: str) -> str:
    """`auto` becomes bf16 if the hardware multiplies bf16 faster than fp32, else fp32."""
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"


def matmul_peak() -> float | None:
    """Peak bf16 FLOP/s of this process's GPU, if known."""
    if not torch.cuda.is_available():
        return None
    gpu = find_gpu(torch.cuda.get_device_name())
    return GPUS[gpu].flops if gpu else None


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Event:
    """A point in the device's work."""

    def __init__(self):
        self._at: Any = time.perf_counter()
        if torch.cuda.is_available():
            self._at = torch.cuda.Event(enable_timing=True)
            self._at.record()

    def since(self, before: Event) -> float:
        """Seconds; waits until the device has reached this event."""
        if isinstance(self._at, float):
            return self._at - before._at
        self._at.synchronize()
        return before._at.elapsed_time(self._at) / 1000


def peak_memory_bytes() -> int:
    """Peak GPU memory, or peak resident memory on a CPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@dataclass(frozen=True)
class Processes:
    """This process sees part `data_rank` of `data_parallel` of the samples."""

    rank: int
    world_size: int
    data_rank: int
    data_parallel: int
    is_first_stage: bool
    is_last_stage: bool


def join_processes(timeout: datetime.timedelta | None = None) -> tuple[int, int]:
    """Joins torch.distributed, alone or by the environment; returns rank and world size."""
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if torch.cuda.is_available():
        torch.cuda.set_device(device())
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (psutil.cpu_count(logical=False) or 1)))
    kind = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    timeout = timeout or datetime.timedelta(minutes=30)
    if world_size == 1 and "MASTER_ADDR" not in os.environ:
        # No port: two single-process runs must not meet.
        store = torch.distributed.HashStore()
        torch.distributed.init_process_group(kind, store=store, rank=0, world_size=1, timeout=timeout)
    else:
        # Rank 0 may still be tokenising.
        patience = datetime.timedelta(days=2)
        store, _, _ = next(torch.distributed.rendezvous("env://", timeout=patience))
        if rank == 0:
            store.set("rank-0-has-come", "")
        store.wait(["rank-0-has-come"], patience)  # under torchrun the store exists before rank 0
        store.set_timeout(timeout)
        torch.distributed.init_process_group(kind, store=store, rank=rank, world_size=world_size, timeout=timeout)
    return rank, world_size


def join_if_worker(timeout: datetime.timedelta | None = None) -> Processes:
    """Join torch.distributed for data parallelism, without Megatron.

    A process that is alone joins nothing: libraries would take it for one of several.
    """
    if not torch.cuda.is_available():
        from qwen_shared.backend import cpu

        cpu.keep_memory()
    rank, world_size = join_processes(timeout) if is_worker() else (0, 1)
    return Processes(rank, world_size, rank, world_size, is_first_stage=True, is_last_stage=True)


def start_processes(
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    virtual_pipeline: int = 1,
    context_parallel: int = 1,
    timeout: datetime.timedelta | None = None,
) -> Processes:
    """Joins torch.distributed and makes Megatron's groups."""
    if not torch.cuda.is_available():
        from qwen_shared.backend import cpu

        cpu.install()
        cpu.keep_memory()
    rank, world_size = join_processes(timeout)

    from megatron.core import parallel_state

    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=tensor_parallel,
        pipeline_model_parallel_size=pipeline_parallel,
        virtual_pipeline_model_parallel_size=virtual_pipeline if virtual_pipeline > 1 else None,
        context_parallel_size=context_parallel,
    )
    return Processes(
        rank=rank,
        world_size=world_size,
        data_rank=parallel_state.get_data_parallel_rank(),
        data_parallel=parallel_state.get_data_parallel_world_size(),
        is_first_stage=parallel_state.is_pipeline_first_stage(),
        is_last_stage=parallel_state.is_pipeline_last_stage(),
    )


def stop_processes() -> None:
    if torch.distributed.is_initialized():
        if parallel_state := sys.modules.get("megatron.core.parallel_state"):
            parallel_state.destroy_model_parallel()
        torch.distributed.destroy_process_group()
