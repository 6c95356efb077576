"""RMSNorm that also serves Megatron's sequence parallelism."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) · weight, the mean taken in fp32 (report, section 3). x: [..., H], dtype kept.

    Under sequence parallelism each tensor rank sees a part of the sequence, so the weight's gradient must be summed
    over them: Megatron does that for parameters marked `sequence_parallel`.
    """

    def __init__(self, config, hidden_size: int, eps: float = 1e-6, **_):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(hidden_size, dtype=config.params_dtype, device=_factory_device(config)))
        self.weight.sequence_parallel = config.sequence_parallel  # type: ignore[attr-defined]

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


def _factory_device(config):
    return None if config.use_cpu_initialization else torch.cuda.current_device()
