"""Rotary position embedding, rotate-half form, in fp32 (report, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor


class RotaryTable:
    """cos and sin of every position × frequency, fp32, grown when a longer sequence comes. Not a parameter."""

    def __init__(self, head_dim: int, base: float):
        self.head_dim, self.base = head_dim, base
        self.cos = self.sin = torch.empty(0, head_dim)

    def __call__(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """cos, sin: [S, 1, 1, D] fp32."""
        if self.cos.shape[0] < length or self.cos.device != device:
            half = torch.arange(0, self.head_dim, 2, dtype=torch.float32, device=device)
            inverse_frequency = 1.0 / self.base ** (half / self.head_dim)  # [D/2] fp32
            angles = torch.outer(torch.arange(length, dtype=torch.float32, device=device), inverse_frequency)
            angles = torch.cat((angles, angles), dim=-1)[:, None, None, :]  # [S, 1, 1, D]
            # The sign of rotate-half lives in the table: the first half of a rotated vector takes −second.
            sign = torch.ones(self.head_dim, device=device)
            sign[: self.head_dim // 2] = -1.0
            self.cos, self.sin = angles.cos(), angles.sin() * sign
        return self.cos[:length], self.sin[:length]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate x [S, B, N, D] by its positions; computed in fp32, returned in x's dtype."""
    swapped = torch.roll(x, x.shape[-1] // 2, dims=-1)
    return (x * cos + swapped * sin).to(x.dtype)
