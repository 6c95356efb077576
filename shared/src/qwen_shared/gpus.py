"""What vendors' data sheets say of the GPUs that models are trained on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    flops: float  # dense bf16, FLOP/s
    gib: int  # of memory, as the driver shows it to programs


# 80 GB of the A100 and H100, 141 of the H200, 180 of the B200 and 48 of the L40S.
GPUS = {
    "A100": Gpu(312e12, 79),
    "H100": Gpu(989e12, 79),
    "H200": Gpu(989e12, 139),
    "B200": Gpu(2250e12, 178),
    "L40S": Gpu(362e12, 44),
}


def find_gpu(name: str) -> str | None:
    """The key of GPUS that a device's full name, such as "NVIDIA H100 80GB HBM3", holds."""
    return next((key for key in GPUS if key in name.upper()), None)
