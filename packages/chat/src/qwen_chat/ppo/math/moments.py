"""Count, mean and squared deviations of masked numbers, as fp64 [3], merged over ranks and steps.

No square is subtracted from a square: rewards around 1,000 with a deviation of 0.01 keep it.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def moments(values: Tensor, mask: Tensor) -> Tensor:
    """[count, mean, squares] where the mask is true; zeros for none."""
    values = values.double().masked_fill(~mask, 0.0)
    count = mask.sum().double()
    mean = values.sum() / count.clamp(min=1.0)
    squares = (values - mean).masked_fill(~mask, 0.0).square().sum()
    return torch.stack((count, mean, squares))


def merge(parts: Tensor) -> Tensor:
    """Moments [3] of all parts [W, 3] (Chan, Golub and LeVeque 1979)."""
    counts, means, squares = parts.unbind(1)
    count = counts.sum()
    mean = (counts * means).sum() / count.clamp(min=1.0)
    return torch.stack((count, mean, squares.sum() + (counts * (means - mean).square()).sum()))


def variance(moments: Tensor) -> Tensor:
    return moments[2] / moments[0].clamp(min=1.0)
