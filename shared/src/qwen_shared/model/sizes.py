"""Exact parameter and FLOP counts, without torch."""

from __future__ import annotations

from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Model


def parameter_count(model: Model, padded_vocab_size: int) -> int:
    """A tied embedding counts once."""
    H, D, N, G = model.hidden_size, model.head_size, model.num_attention_heads, model.kv_heads
    biases = (N + 2 * G) * D if model.qkv_bias else 0
    norms = 2 * H + (2 * D if model.qk_norm else 0)
    embeddings = (1 if model.tied_embeddings else 2) * padded_vocab_size * H
    return embeddings + model.num_layers * (_layer_matrices(model) + biases + norms) + H


def flops_per_token(model: Model, padded_vocab_size: int, seq_length: int) -> float:
    """Matrix-product FLOPs of one training token, forward and backward.

    Six per parameter of every matrix but the input embedding, and per layer 12·N·D·S/2 for causal attention.
    """
    matrices = model.num_layers * _layer_matrices(model) + padded_vocab_size * model.hidden_size
    attended = model.num_attention_heads * model.head_size * seq_length
    return 6.0 * matrices + 6.0 * model.num_layers * attended


def _layer_matrices(model: Model) -> int:
    H, D, N, G = model.hidden_size, model.head_size, model.num_attention_heads, model.kv_heads
    return 2 * H * N * D + 2 * H * G * D + 3 * H * model.ffn_hidden_size  # query, output; key, value; gate, up, down


def pad_vocab_size(model: Model, vocab_size: int, tensor_parallel: int) -> int:
    """Embedding rows: the recipe's, else the tokenizer's ids rounded up to a multiple of 128.

    Raises UserError if there are fewer rows than ids, or if tensor ranks cannot share them evenly.
    """
    rows = model.padded_vocab_size or -(-vocab_size // 128) * 128
    if rows < vocab_size:
        raise UserError(
            f"model.padded_vocab_size={rows} is less than the tokenizer's {vocab_size} ids; "
            f"nearest: {-(-vocab_size // 128) * 128}"
        )
    if rows % tensor_parallel:
        nearest = -(-rows // (128 * tensor_parallel)) * 128 * tensor_parallel
        raise UserError(
            f"{rows} embedding rows are not divisible by parallel.tensor_parallel={tensor_parallel}; "
            f"nearest: model.padded_vocab_size={nearest}"
        )
    return rows
