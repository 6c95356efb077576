"""Rotary position embedding, apply_rotary-half form, in fp32 (report, section 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qwen_shared.recipe.schema import Model, RopeScaling


class RotaryTable:
    """cos and sin of every position × frequency, fp32. Grows when a longer sequence comes."""

    def __init__(self, model: Model):
        self.head_size = model.head_size
        self._base, self._scaling = model.rope_base, model.rope_scaling
        self.cos = self.sin = torch.empty(0, 1, 1, self.head_size)

    def __call__(self, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """cos, sin of positions 0 to S - 1: [S, 1, 1, D] fp32."""
        if self.cos.shape[0] < length or self.cos.device != device:
            frequencies = inverse_frequencies(self.head_size, self._base, self._scaling).to(device)  # [D/2]
            angles = torch.outer(torch.arange(length, dtype=torch.float32, device=device), frequencies)
            angles = torch.cat((angles, angles), dim=-1)[:, None, None, :]  # [S, 1, 1, D]
            # The sign of apply_rotary-half lives in the table: the first half of a rotated vector takes −second.
            sign = torch.ones(self.head_size, device=device)
            sign[: self.head_size // 2] = -1.0
            self.cos, self.sin = angles.cos(), angles.sin() * sign
        return self.cos[:length], self.sin[:length]


def inverse_frequencies(head_size: int, base: float, scaling: RopeScaling | None = None) -> Tensor:
    """Radians per position, fp32 [D/2]: base^(-2i/D), with Llama 3's scaling if `scaling` is given."""
    half = torch.arange(0, head_size, 2, dtype=torch.float32)
    frequencies = 1.0 / base ** (half / head_size)
    if scaling is None:
        return frequencies
    turns = scaling.original_positions * frequencies / (2 * math.pi)  # in the original context
    kept = ((turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)).clamp(0.0, 1.0)
    return kept * frequencies + (1.0 - kept) * frequencies / scaling.factor


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [S, B, N, D] rotated by its positions: computed in fp32, returned in x's dtype."""
    swapped = torch.roll(x, x.shape[-1] // 2, dims=-1)
    return (x * cos + swapped * sin).to(x.dtype)
