"""GPUs by their vendors' data sheets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    flops: float  # dense bf16, FLOP/s
    gib: int  # memory as the driver reports it


# Sold as 80 GB (A100, H100), 141 (H200), 180 (B200) and 48 (L40S).
GPUS = {
    "A100": Gpu(312e12, 79),
    "H100": Gpu(989e12, 79),
    "H200": Gpu(989e12, 139),
    "B200": Gpu(2250e12, 178),
    "L40S": Gpu(362e12, 44),
}


def find_gpu(name: str) -> str | None:
    """The key of GPUS in a name such as "NVIDIA H100 80GB HBM3"."""
    return next((key for key in GPUS if key in name.upper()), None)
