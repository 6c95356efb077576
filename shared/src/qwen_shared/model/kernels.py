"""Attention kernels: the fastest that is installed for this device and dtype.

On a GPU in half precision: FlashAttention if installed, else torch's kernels. No kernel builds a mask over documents.
"""

from __future__ import annotations

import importlib
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from qwen_shared.model.documents import Documents

_SHORT = 256  # tokens; in shorter sequences the CPU's backward pass takes three times as long in bf16 as in fp32


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """query [B, S, N, D], key and value [B, S', G, D] → [B, S, N, D]. The queries are the last S of S' positions."""
    if _is_half_on_gpu(query) and (flash := _flash_attn()):
        return flash.flash_attn_func(query, key, value, causal=True)
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))  # [B, N, S, D]
    return _torch_attention(query, key, value).transpose(1, 2)


def document_attention(query: Tensor, key: Tensor, value: Tensor, documents: Documents) -> Tensor:
    """query [T, N, D], key and value [T, G, D] → [T, N, D]; causal within each document. A document's result does not
    depend on other documents, to the bit."""
    if _is_half_on_gpu(query):
        longest, cu_seqlens = max(documents.lengths), documents.cu_seqlens
        if flash := _flash_attn():
            return flash.flash_attn_varlen_func(
                query, key, value, cu_seqlens, cu_seqlens, longest, longest, causal=True, deterministic=True
            )
        from torch.nn.attention.varlen import varlen_attn

        return varlen_attn(  # type: ignore[return-value]  # a tuple only on request
            query,
            key,
            value,
            cu_seqlens,
            cu_seqlens,
            longest,
            longest,
            window_size=(-1, 0),
            enable_gqa=query.shape[1] != key.shape[1],
            num_splits=1,  # otherwise rounding depends on the longest document
        )
    # `split`, not slices: its backward pass is one concatenation.
    parts = zip(*(x.transpose(0, 1).split(documents.lengths, dim=1) for x in (query, key, value)), strict=True)
    done = [_torch_attention(q[None], k[None], v[None])[0] for q, k, v in parts]  # [N, length, D] each
    return torch.cat(done, dim=1).transpose(0, 1)


def _torch_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """[B, N, S, D] with [B, G, S', D] → [B, N, S, D]."""
    grouped = query.shape[1] != key.shape[1]
    if grouped and query.device.type == "cpu":
        # The CPU kernel for grouped queries is twice as slow.
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
        grouped = False
    if query.shape[2] == key.shape[2]:
        if query.dtype == torch.bfloat16 and query.device.type == "cpu" and query.shape[2] < _SHORT:
            query, key, value = query.float(), key.float(), value.float()
            return F.scaled_dot_product_attention(query, key, value, is_causal=True).to(torch.bfloat16)
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=grouped)
    from torch.nn.attention.bias import causal_lower_right  # loads torch's compiler

    mask = causal_lower_right(query.shape[2], key.shape[2])
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=grouped)


def _is_half_on_gpu(x: Tensor) -> bool:
    return x.device.type == "cuda" and x.dtype in (torch.bfloat16, torch.float16)


@cache
def _flash_attn():
    try:
        return importlib.import_module("flash_attn")
    except ImportError:
        return None
