"""Cross entropy in chunks of rows: logits pass through memory twice in their own dtype, not six times in fp32."""

from __future__ import annotations

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
