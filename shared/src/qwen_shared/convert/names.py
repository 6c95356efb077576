"""One table between Megatron's weights and Hugging Face's Qwen2, read in both directions.

Megatron keeps query, key and value of one head together ([N, 3, D, H] flattened to [3·H, H]) and gate and up in one
matrix ([2·F, H]); Hugging Face keeps each apart. Everything else only changes its name. No arithmetic is done, so
both directions are exact.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from qwen_shared.recipe.schema import Model

_PLAIN = {
    "embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "decoder.final_layernorm.weight": "model.norm.weight",
    "output_layer.weight": "lm_head.weight",
}
_IN_LAYER = {
    "input_layernorm.weight": ("input_layernorm.weight",),
    "pre_mlp_layernorm.weight": ("post_attention_layernorm.weight",),
    "self_attention.linear_qkv.weight": tuple(f"self_attn.{p}_proj.weight" for p in "qkv"),
    "self_attention.linear_qkv.bias": tuple(f"self_attn.{p}_proj.bias" for p in "qkv"),
    "self_attention.linear_proj.weight": ("self_attn.o_proj.weight",),
    "mlp.linear_fc1.weight": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "mlp.linear_fc2.weight": ("mlp.down_proj.weight",),
}
_LAYER = re.compile(r"decoder\.layers\.(\d+)\.(.+)")


def megatron_names(num_layers: int) -> list[str]:
    """Every global parameter name of a model."""
    layers = [f"decoder.layers.{i}.{name}" for i in range(num_layers) for name in _IN_LAYER]
    return ["embedding.word_embeddings.weight", *layers, "decoder.final_layernorm.weight", "output_layer.weight"]


def hf_names(name: str) -> tuple[str, ...]:
    """The Hugging Face tensors that make up one Megatron tensor, in order."""
    match = _LAYER.fullmatch(name)
    if match is None:
        return (_PLAIN[name],)
    return tuple(f"model.layers.{match[1]}.{part}" for part in _IN_LAYER[match[2]])


def to_hf(model: Model, name: str, whole: Tensor) -> dict[str, Tensor]:
    """One whole Megatron tensor as its Hugging Face tensors."""
    names = hf_names(name)
    if "linear_qkv" in name:
        heads = whole.view(model.num_attention_heads, 3, model.head_dim, *whole.shape[1:])  # [N, 3, D, (H)]
        parts = [heads[:, i].reshape(model.hidden_size, *whole.shape[1:]) for i in range(3)]
    else:
        parts = whole.chunk(len(names), dim=0)
    return {hf_name: part.contiguous() for hf_name, part in zip(names, parts, strict=True)}


def to_megatron(model: Model, name: str, hf_tensor: Callable[[str], Tensor]) -> Tensor:
    """One whole Megatron tensor from its Hugging Face tensors, which `hf_tensor` looks up by name."""
    parts = [hf_tensor(hf_name) for hf_name in hf_names(name)]
    if "linear_qkv" in name:
        heads = [p.view(model.num_attention_heads, model.head_dim, *p.shape[1:]) for p in parts]
        return torch.stack(heads, dim=1).reshape(3 * model.hidden_size, *parts[0].shape[1:])
    return torch.cat(parts, dim=0) if len(parts) > 1 else parts[0]
