"""What a step minimises, of the losses of a micro-batch's tokens."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# From losses [B, S] fp32 and masks [K, B, S]: the sum to minimise, and a report, fp64 [2, K], of the sums of losses and
# of masks. The engine divides by the first mask's sum over the global batch.
Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def token_loss(losses: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """The sum over the tokens of the first mask."""
    total = (losses * masks[0]).sum()
    with torch.no_grad():
        report = torch.stack(((losses * masks).sum((1, 2)), masks.sum((1, 2)))).double()
    return total, report
