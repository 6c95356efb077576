"""Exact parameter and FLOP counts, by arithmetic alone: no torch, no allocation."""

from __future__ import annotations

from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Model


def parameter_count(model: Model, vocab_rows: int) -> int:
    """Parameters of the whole model: untied embeddings, QKV bias only (report, section 3 of the fact sheet)."""
    H, F = model.hidden_size, model.ffn_hidden_size
    attention = 4 * H * H + 3 * H  # query, key, value with bias; output without
    mlp = 3 * H * F  # gate, up, down
    norms = 2 * H
    return 2 * vocab_rows * H + model.num_layers * (attention + mlp + norms) + H


def flops_per_token(model: Model, vocab_rows: int, seq_length: int) -> float:
    """Matrix-product FLOPs of one training token, forward and backward, causal attention counted once.

    Six per parameter of every matrix that is multiplied (the input embedding is looked up, not multiplied), and
    12·H·S/2 a layer for scores and their product with the values.
    """
    H, F = model.hidden_size, model.ffn_hidden_size
    matrices = model.num_layers * (4 * H * H + 3 * H * F) + vocab_rows * H
    return 6.0 * matrices + 6.0 * model.num_layers * H * seq_length


def padded_vocab_rows(model: Model, vocab_size: int, tensor_parallel: int) -> int:
    """Embedding rows: the recipe's, or the tokenizer's ids rounded up to a multiple of 128 on any layout.

    Raises UserError where the rows are fewer than the ids, or tensor ranks cannot share them evenly.
    """
    rows = model.vocab_rows or -(-vocab_size // 128) * 128
    if rows < vocab_size:
        raise UserError(
            f"model.vocab_rows={rows} is less than the tokenizer's {vocab_size} ids; "
            f"nearest: {-(-vocab_size // 128) * 128}"
        )
    if rows % tensor_parallel:
        nearest = -(-rows // (128 * tensor_parallel)) * 128 * tensor_parallel
        raise UserError(
            f"{rows} embedding rows are not divisible by parallel.tensor_parallel={tensor_parallel}; "
            f"nearest: model.vocab_rows={nearest}"
        )
    return rows
