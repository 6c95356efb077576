"""Qwen from Megatron-core blocks. Megatron's GPTModel is deprecated and its successor needs Transformer Engine, so the
outer module is ours."""

from __future__ import annotations

from functools import partial

from megatron.core import tensor_parallel
from megatron.core.fusions.fused_bias_dropout import get_bias_dropout_add
from megatron.core.models.common.embeddings.language_model_embedding import LanguageModelEmbedding
from megatron.core.models.common.language_module.language_module import LanguageModule
from megatron.core.tensor_parallel import ColumnParallelLinear, RowParallelLinear
from megatron.core.transformer.attention import SelfAttention, SelfAttentionSubmodules
from megatron.core.transformer.enums import AttnMaskType, ModelType
from megatron.core.transformer.mlp import MLP, MLPSubmodules
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_block import TransformerBlock, TransformerBlockSubmodules
from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import TransformerLayer, TransformerLayerSubmodules
from torch import Tensor

from qwen_shared.model.attention import CausalAttention
from qwen_shared.model.documents import Documents
from qwen_shared.model.loss import cross_entropy
from qwen_shared.model.norm import RMSNorm
from qwen_shared.model.rope import RotaryTable


def layer_spec(qk_norm: bool) -> ModuleSpec:
    """One pre-norm transformer layer: RMSNorm, attention, RMSNorm, SwiGLU."""
    head_norm = RMSNorm if qk_norm else None
    return ModuleSpec(
        module=TransformerLayer,
        submodules=TransformerLayerSubmodules(
            input_layernorm=RMSNorm,
            self_attention=ModuleSpec(
                module=SelfAttention,
                params={"attn_mask_type": AttnMaskType.causal},
                submodules=SelfAttentionSubmodules(
                    linear_qkv=ColumnParallelLinear,
                    core_attention=CausalAttention,
                    linear_proj=RowParallelLinear,
                    q_layernorm=head_norm,
                    k_layernorm=head_norm,
                ),
            ),
            self_attn_bda=get_bias_dropout_add,
            pre_mlp_layernorm=RMSNorm,
            mlp=partial(
                MLP.as_mlp_submodule,
                submodules=MLPSubmodules(linear_fc1=ColumnParallelLinear, linear_fc2=RowParallelLinear),
            ),
            mlp_bda=get_bias_dropout_add,
        ),
    )


class QwenModel(LanguageModule):
    """One model chunk: layers, the embedding if it is the first, the output layer if it is the last."""

    def __init__(
        self,
        config: TransformerConfig,
        padded_vocab_size: int,
        rotary: RotaryTable,
        tied_embeddings: bool = False,
        is_first: bool = True,
        is_last: bool = True,
        vp_stage: int | None = None,
    ):
        """`vp_stage` is the index of this chunk on its process; None if the process has one chunk."""
        super().__init__(config=config)
        # Megatron's schedules and state dicts read these names.
        self.model_type = ModelType.encoder_or_decoder
        self.pre_process, self.post_process = is_first, is_last
        self.vp_stage, self.vp_size = vp_stage, config.virtual_pipeline_model_parallel_size
        self.share_embeddings_and_output_weights = tied_embeddings
        if is_first:
            self.embedding = LanguageModelEmbedding(
                config=config, vocab_size=padded_vocab_size, max_sequence_length=0, position_embedding_type="rope"
            )
        chunks = config.pipeline_model_parallel_size * (self.vp_size or 1)
        self.decoder = TransformerBlock(
            config=config,
            spec=TransformerBlockSubmodules(
                layer_specs=[layer_spec(config.qk_layernorm)] * (config.num_layers // chunks),
                layer_norm=RMSNorm,
            ),
            pre_process=is_first,
            post_process=is_last,
            vp_stage=vp_stage,
        )
        if is_last:
            self.output_layer = ColumnParallelLinear(
                config.hidden_size,
                padded_vocab_size,
                config=config,
                init_method=config.init_method,
                bias=False,
                skip_bias_add=False,
                gather_output=False,
                # A tied output layer on the embedding's process uses the embedding.
                skip_weight_param_allocation=tied_embeddings and is_first,
            )
        self.setup_embeddings_and_output_layer()
        for layer in self.decoder.layers:
            layer.self_attention.core_attention.rotary = rotary

    def set_input_tensor(self, input_tensor: Tensor | list[Tensor]) -> None:
        """Megatron's schedules give the previous stage's output [S, B, H]."""
        self.decoder.set_input_tensor(input_tensor[0] if isinstance(input_tensor, list) else input_tensor)

    def forward(
        self,
        tokens: Tensor,
        labels: Tensor | None = None,
        documents: Documents | None = None,
        loss_positions: Tensor | None = None,
    ) -> Tensor:
        """tokens, labels: int64 [B, S]. Losses are computed only at `loss_positions`, int64 [T] of the B·S positions,
        and are 0 elsewhere.

        Returns on the last stage the losses, fp32 [B, S], or without labels the logits [B, S, V]; on other stages
        hidden states [S, B, H]. S is this rank's part under context parallelism, and of hidden states under sequence
        parallelism.
        """
        hidden = self.embedding(tokens, position_ids=None) if self.pre_process else None
        hidden = self.decoder(hidden_states=hidden, attention_mask=None, packed_seq_params=documents)  # [S, B, H]
        if not self.post_process:
            return hidden
        tied = self.shared_embedding_or_output_weight() if self.share_embeddings_and_output_weights else None
        if labels is None:
            logits, _ = self.output_layer(hidden, weight=tied)  # [S, B, V / tensor_parallel]
            return tensor_parallel.gather_from_tensor_model_parallel_region(logits).transpose(0, 1)
        if loss_positions is None or self.config.sequence_parallel:  # a rank with a part of S cannot pick positions
            logits, _ = self.output_layer(hidden, weight=tied)
            return self._losses(logits, labels)
        picked = hidden.transpose(0, 1).flatten(0, 1)[loss_positions]  # [T, H]
        logits, _ = self.output_layer(picked[:, None], weight=tied)  # [T, 1, V / tensor_parallel]
        losses = self._losses(logits, labels.flatten()[loss_positions][None])  # [1, T]
        return losses.new_zeros(labels.numel()).index_copy(0, loss_positions, losses[0]).view_as(labels)

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[S, B, V / tensor_parallel] and [B, S] → [B, S] fp32."""
        if self.config.tensor_model_parallel_size == 1:
            S, B, V = logits.shape
            return cross_entropy(logits.view(S * B, V), labels.t().reshape(-1)).view(S, B).t()
        return self.compute_language_model_loss(labels, logits)
