"""One table between Megatron's weights and Hugging Face's, read in both directions.

Megatron joins query, key and value by group: a group's N/G query heads, its key head, its value head
([G, N/G + 2, D, H] flattened to [(N + 2·G)·D, H]); and gate and up ([2·F, H]). Everything else only changes its name.
Both directions are exact. Importing this needs no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from qwen_shared.recipe.schema import Model

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, ...]

EMBEDDING, OUTPUT = "embedding.word_embeddings.weight", "output_layer.weight"
HF_EMBEDDING, HF_OUTPUT = "model.embed_tokens.weight", "lm_head.weight"
_OUTSIDE = {EMBEDDING: HF_EMBEDDING, "decoder.final_layernorm.weight": "model.norm.weight", OUTPUT: HF_OUTPUT}
_LAYER = re.compile(r"decoder\.layers\.(\d+)\.(.+)")


def weight_table(model: Model, padded_vocab_size: int) -> dict[str, dict[str, Shape]]:
    """Each Megatron tensor's Hugging Face tensors, in order, with their shapes. A tied output layer has no entry."""
    table: dict[str, dict[str, Shape]] = {EMBEDDING: {HF_EMBEDDING: (padded_vocab_size, model.hidden_size)}}
    for i in range(model.num_layers):
        for name, parts in _layer_table(model).items():
            table[f"decoder.layers.{i}.{name}"] = {f"model.layers.{i}.{part}": shape for part, shape in parts.items()}
    table["decoder.final_layernorm.weight"] = {"model.norm.weight": (model.hidden_size,)}
    if not model.tied_embeddings:
        table[OUTPUT] = {HF_OUTPUT: (padded_vocab_size, model.hidden_size)}
    return table


def _layer_table(model: Model) -> dict[str, dict[str, Shape]]:
    H, F, D = model.hidden_size, model.ffn_hidden_size, model.head_size
    Q, K = model.num_attention_heads * D, model.kv_heads * D
    attention = {"self_attn.q_proj": Q, "self_attn.k_proj": K, "self_attn.v_proj": K}
    table: dict[str, dict[str, Shape]] = {
        "input_layernorm.weight": {"input_layernorm.weight": (H,)},
        "self_attention.linear_qkv.weight": {f"{name}.weight": (rows, H) for name, rows in attention.items()},
        "self_attention.linear_proj.weight": {"self_attn.o_proj.weight": (H, Q)},
        "pre_mlp_layernorm.weight": {"post_attention_layernorm.weight": (H,)},
        "mlp.linear_fc1.weight": {"mlp.gate_proj.weight": (F, H), "mlp.up_proj.weight": (F, H)},
        "mlp.linear_fc2.weight": {"mlp.down_proj.weight": (H, F)},
    }
    if model.qkv_bias:
        table["self_attention.linear_qkv.bias"] = {f"{name}.bias": (rows,) for name, rows in attention.items()}
    if model.qk_norm:
        table["self_attention.q_layernorm.weight"] = {"self_attn.q_norm.weight": (D,)}
        table["self_attention.k_layernorm.weight"] = {"self_attn.k_norm.weight": (D,)}
    return table


def megatron_names(model: Model) -> list[str]:
    """The model's global parameter names."""
    return list(weight_table(model, 0))


def hf_names(model: Model, name: str) -> tuple[str, ...]:
    """One Megatron tensor's Hugging Face tensors, in order."""
    match = _LAYER.fullmatch(name)
    if match is None:
        return (_OUTSIDE[name],)
    return tuple(f"model.layers.{match[1]}.{part}" for part in _layer_table(model)[match[2]])


def to_hf(model: Model, name: str, whole: Tensor) -> dict[str, Tensor]:
    """One whole Megatron tensor as its Hugging Face tensors."""
    names = hf_names(model, name)
    if "linear_qkv" in name:
        rest = whole.shape[1:]  # (H,) for the weight, () for the bias
        heads = whole.view(model.kv_heads, -1, model.head_size, *rest)  # [G, N/G + 2, D, (H)]
        parts = tuple(part.reshape(-1, *rest) for part in (heads[:, :-2], heads[:, -2], heads[:, -1]))
    else:
        parts = whole.chunk(len(names), dim=0)
    return {hf_name: part.contiguous() for hf_name, part in zip(names, parts, strict=True)}


def to_megatron(model: Model, name: str, hf_tensor: Callable[[str], Tensor]) -> Tensor:
    """One whole Megatron tensor from its Hugging Face tensors, looked up by name with `hf_tensor`."""
    import torch

    parts = [hf_tensor(hf_name) for hf_name in hf_names(model, name)]
    if "linear_qkv" in name:
        rest = parts[0].shape[1:]
        heads = [part.view(model.kv_heads, -1, model.head_size, *rest) for part in parts]  # [G, N/G or 1, D, (H)]
        return torch.cat(heads, dim=1).reshape(-1, *rest)
    return torch.cat(parts, dim=0) if len(parts) > 1 else parts[0]
