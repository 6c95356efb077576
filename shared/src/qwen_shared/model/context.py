"""Context parallelism: each rank of a group holds a part of every sequence.

A sequence is cut into 2·C chunks for C ranks, and rank r holds chunks r and 2·C − 1 − r, so that all ranks have equal
work in causal attention. Attention gathers keys and values from all ranks; queries stay.
"""

from __future__ import annotations

import torch
from megatron.core import parallel_state
from megatron.core.tensor_parallel.mappings import gather_from_sequence_parallel_region
from torch import Tensor

from qwen_shared.model.kernels import causal_attention


def context_slice(x: Tensor, dim: int) -> Tensor:
    """This rank's two chunks of a whole sequence along `dim`."""
    ranks = parallel_state.get_context_parallel_world_size()
    if ranks == 1:
        return x
    chunks = x.chunk(2 * ranks, dim)
    rank = parallel_state.get_context_parallel_rank()
    return torch.cat((chunks[rank], chunks[2 * ranks - 1 - rank]), dim)


def gather_sequence(x: Tensor) -> Tensor:
    """The ranks' parts [S / C, …] as the whole [S, …], in order. The backward pass sums gradients over ranks."""
    ranks = parallel_state.get_context_parallel_world_size()
    if ranks == 1:
        return x
    gathered = gather_from_sequence_parallel_region(x, group=parallel_state.get_context_parallel_group())
    chunks = gathered.chunk(2 * ranks)  # front and back of rank 0, of rank 1, …
    return torch.cat([*chunks[0::2], *reversed(chunks[1::2])])


def context_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention of this rank's positions: query [S / C, B, N, D], key and value [S / C, B, G, D], after RoPE
    → [S / C, B, N, D]."""
    ranks, rank = parallel_state.get_context_parallel_world_size(), parallel_state.get_context_parallel_rank()
    key, value = (gather_sequence(x).transpose(0, 1) for x in (key, value))  # [B, S, G, D]
    front, back = query.transpose(0, 1).chunk(2, dim=1)
    length = front.shape[1]
    seen_by_front, seen_by_back = (rank + 1) * length, (2 * ranks - rank) * length
    out = (
        causal_attention(front, key[:, :seen_by_front], value[:, :seen_by_front]),
        causal_attention(back, key[:, :seen_by_back], value[:, :seen_by_back]),
    )
    return torch.cat(out, dim=1).transpose(0, 1)
