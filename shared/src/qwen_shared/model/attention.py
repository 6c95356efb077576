"""Core attention for Megatron's SelfAttention: RoPE, then the attention kernel."""

from __future__ import annotations

from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.module import MegatronModule
from torch import Tensor

from qwen_shared.model.context import context_attention, context_slice
from qwen_shared.model.documents import Documents
from qwen_shared.model.kernels import causal_attention, document_attention
from qwen_shared.model.rope import RotaryTable, apply_rotary


class CausalAttention(MegatronModule):
    """N and G are this tensor rank's heads. RoPE is applied here, in fp32: Megatron would cast cos and sin first."""

    def __init__(self, config, layer_number: int, attn_mask_type: AttnMaskType, attention_type: str, **_):
        super().__init__(config=config)
        if attn_mask_type != AttnMaskType.causal or attention_type != "self":
            raise ValueError(f"only causal self-attention is built, not {attn_mask_type} {attention_type}")
        self.rotary: RotaryTable  # set by the model; shared by all layers

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        packed_seq_params: Documents | None = None,
        **_,
    ) -> Tensor:
        """query [S, B, N, D], key and value [S, B, G, D] → [S, B, N·D]. Attention is causal, within each document of
        `packed_seq_params` if given. S is this context rank's part."""
        S, B, N, D = query.shape
        documents, context_ranks = packed_seq_params, self.config.context_parallel_size
        cos, sin = self.rotary(S * context_ranks, query.device)  # [S, 1, 1, D]
        if documents is not None:
            at = documents.positions.t()  # [S, B]
            cos, sin = cos[at, 0], sin[at, 0]  # [S, B, 1, D]
        elif context_ranks > 1:
            cos, sin = context_slice(cos, 0), context_slice(sin, 0)
        query, key = apply_rotary(query, cos, sin), apply_rotary(key, cos, sin)
        if documents is not None:
            query, key, value = (x.transpose(0, 1).reshape(B * S, -1, D) for x in (query, key, value))  # [T, N, D]
            out = document_attention(query, key, value, documents).view(B, S, N, D).transpose(0, 1)
        elif context_ranks > 1:
            out = context_attention(query, key, value)
        else:
            out = causal_attention(*(x.transpose(0, 1) for x in (query, key, value))).transpose(0, 1)
        return out.reshape(S, B, N * D)
