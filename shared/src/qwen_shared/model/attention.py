"""Core attention for Megatron's SelfAttention: RoPE, then torch's scaled_dot_product_attention."""

from __future__ import annotations

import torch.nn.functional as F
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.module import MegatronModule
from torch import Tensor

from qwen_shared.model.rope import RotaryTable, rotate


class CausalAttention(MegatronModule):
    """Causal attention over whole sequences. Here N is the number of heads of this tensor rank.

    RoPE is applied here rather than by Megatron because Megatron casts cos and sin to the activations' dtype first;
    Qwen rotates in fp32 and casts the result.
    """

    def __init__(self, config, layer_number: int, attn_mask_type: AttnMaskType, attention_type: str, **_):
        super().__init__(config=config)
        if attn_mask_type != AttnMaskType.causal or attention_type != "self":
            raise ValueError(f"only causal self-attention is built, not {attn_mask_type} {attention_type}")
        self.rotary: RotaryTable | None = None  # one table serves all layers; the model sets it

    def forward(self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **_) -> Tensor:
        """query, key, value: [S, B, N, D] → [S, B, N·D]. The mask is always the causal one."""
        S, B, N, D = query.shape
        cos, sin = self.rotary(S, query.device)  # [S, 1, 1, D]
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        out = F.scaled_dot_product_attention(
            query.permute(1, 2, 0, 3),  # [B, N, S, D]
            key.permute(1, 2, 0, 3),
            value.permute(1, 2, 0, 3),
            is_causal=True,
        )
        return out.permute(2, 0, 1, 3).reshape(S, B, N * D)
