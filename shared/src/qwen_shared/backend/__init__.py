"""The one place that knows CUDA from CPU."""

from qwen_shared.backend.device import (
    Event,
    Processes,
    device,
    join_if_worker,
    join_processes,
    matmul_peak,
    peak_memory_bytes,
    resolve_precision,
    start_processes,
    stop_processes,
    synchronize,
)
from qwen_shared.backend.random import capture_rng, restore_rng, seed_everything

__all__ = [
    "Event",
    "Processes",
    "capture_rng",
    "device",
    "join_if_worker",
    "join_processes",
    "matmul_peak",
    "peak_memory_bytes",
    "resolve_precision",
    "restore_rng",
    "seed_everything",
    "start_processes",
    "stop_processes",
    "synchronize",
]
