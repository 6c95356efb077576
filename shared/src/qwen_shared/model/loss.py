"""Cross entropy in chunks of rows: logits pass through memory twice in their own dtype, not six times in fp32."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_CHUNK_ELEMENTS = 1 << 20  # fp32 logits per chunk: 4 MB


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits: Tensor, labels: Tensor) -> Tensor:
        rows = max(1, _CHUNK_ELEMENTS // logits.shape[1])
        logsumexp = torch.cat([chunk.float().logsumexp(dim=1) for chunk in logits.split(rows)])  # [T]
        ctx.save_for_backward(logits, labels, logsumexp)
        return logsumexp - logits.gather(1, labels[:, None])[:, 0].float()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        logits, labels, logsumexp = ctx.saved_tensors
        rows = max(1, _CHUNK_ELEMENTS // logits.shape[1])
        out = torch.empty_like(logits)
        for first in range(0, len(logits), rows):
            part = slice(first, first + rows)
            softmax = (logits[part].float() - logsumexp[part, None]).exp_()
            softmax.scatter_add_(1, labels[part, None], softmax.new_full((softmax.shape[0], 1), -1.0))
            out[part] = softmax.mul_(grad[part, None])
        return out, None


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p of each label, computed in fp32: [T] fp32 from logits [T, V] of any float dtype and labels [T]."""
    return _CrossEntropy.apply(logits, labels)


# From losses [B, S] fp32 and masks [K, B, S]: the sum to minimise, and a report, fp64 [2, K], of the sums of losses and
# of masks. The engine divides by the first mask's sum over the global batch.
Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def token_loss(losses: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """The sum over the tokens of the first mask."""
    total = (losses * masks[0]).sum()
    with torch.no_grad():
        report = torch.stack(((losses * masks).sum((1, 2)), masks.sum((1, 2)))).double()
    return total, report
