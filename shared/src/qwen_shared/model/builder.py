"""From a recipe to this rank's Megatron model."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import parallel_state
from megatron.core.transformer.module import Float16Module
from megatron.core.transformer.transformer_config import TransformerConfig

from qwen_shared.backend import device
from qwen_shared.model.qwen import QwenModel
from qwen_shared.model.rope import RotaryTable
from qwen_shared.recipe.schema import Model, Parallel

_RECOMPUTE: dict[str, dict[str, Any]] = {
    "none": {},
    # RoPE, attention scores, MLP. Recomputing norms needs Transformer Engine.
    "selective": {"recompute_granularity": "selective", "recompute_modules": ["core_attn", "mlp"]},
    "full": {"recompute_granularity": "full", "recompute_method": "uniform", "recompute_num_layers": 1},
}


def transformer_config(model: Model, parallel: Parallel, precision: str, dropout: float = 0.0) -> TransformerConfig:
    bf16 = precision == "bf16"
    dtype = torch.bfloat16 if bf16 else torch.float32
    return TransformerConfig(
        num_layers=model.num_layers,
        hidden_size=model.hidden_size,
        num_attention_heads=model.num_attention_heads,
        num_query_groups=model.kv_heads,
        kv_channels=model.head_size,
        ffn_hidden_size=model.ffn_hidden_size,
        normalization="RMSNorm",
        layernorm_epsilon=model.norm_eps,
        gated_linear_unit=True,
        activation_func=F.silu,
        add_bias_linear=False,
        add_qkv_bias=model.qkv_bias,
        qk_layernorm=model.qk_norm,
        hidden_dropout=dropout,
        attention_dropout=0.0,
        tensor_model_parallel_size=parallel.tensor_parallel,
        pipeline_model_parallel_size=parallel.pipeline_parallel,
        virtual_pipeline_model_parallel_size=parallel.virtual_pipeline if parallel.virtual_pipeline > 1 else None,
        # With two interleaved stages, batched messages to the next and the previous stage would be mixed up.
        overlap_p2p_comm=parallel.virtual_pipeline > 1,
        batch_p2p_comm=parallel.virtual_pipeline == 1,
        pipeline_dtype=dtype,
        sequence_parallel=parallel.sequence_parallel,
        context_parallel_size=parallel.context_parallel,
        **_RECOMPUTE[parallel.recompute],
        params_dtype=dtype,
        bf16=bf16,
        # `model.weights.fill` sets the weights.
        perform_initialization=False,
        use_cpu_initialization=not torch.cuda.is_available(),
        # Losses and token counts are summed over the global batch, then divided once.
        calculate_per_token_loss=True,
        # Fusions need Apex or Transformer Engine.
        gradient_accumulation_fusion=False,
        masked_softmax_fusion=False,
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        apply_rope_fusion=False,
        persist_layer_norm=False,
        deterministic_mode=False,
        variable_seq_lengths=False,
    )


def build_model(
    model: Model,
    padded_vocab_size: int,
    parallel: Parallel,
    precision: str,
    materialize: bool = True,
    dropout: float = 0.0,
) -> list[torch.nn.Module]:
    """This rank's `virtual_pipeline` model chunks on this process's device, without weights (see `weights.fill`).

    bf16 chunks are wrapped in Megatron's Float16Module: bf16 parameters, fp32 logits and losses. With
    `materialize=False` tensors are on `meta`.
    """
    config = transformer_config(model, parallel, precision, dropout)
    rotary = RotaryTable(model)
    first = parallel_state.is_pipeline_first_stage(ignore_virtual=True)
    last = parallel_state.is_pipeline_last_stage(ignore_virtual=True)
    chunks: list[torch.nn.Module] = []
    with torch.device(device() if materialize else "meta"):
        for i in range(parallel.virtual_pipeline):
            chunks.append(
                QwenModel(
                    config,
                    padded_vocab_size,
                    rotary,
                    model.tied_embeddings,
                    is_first=first and i == 0,
                    is_last=last and i == parallel.virtual_pipeline - 1,
                    vp_stage=i if parallel.virtual_pipeline > 1 else None,
                )
            )
    if materialize and torch.cuda.is_available():
        for chunk in chunks:
            chunk.cuda(torch.cuda.current_device())
    return [Float16Module(config, chunk) for chunk in chunks] if precision == "bf16" else chunks


def unwrap(model: torch.nn.Module) -> QwenModel:
    """The QwenModel inside Megatron's wrappers."""
    inner: Any = model
    while not isinstance(inner, QwenModel):
        inner = inner.module
    return inner
