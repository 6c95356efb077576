"""Validation loss and bits per byte of held-out text, over all ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from torch import Tensor

from qwen_shared.data import ValidationText
from qwen_shared.training.batches import held_out_indices, validation_micro_batches
from qwen_shared.training.engine import Engine, MicroBatch

_TURNS_AT_ONCE = 16  # micro-batches per call of the pipeline schedule and stage


def validate(engine: Engine, text: ValidationText) -> dict[str, float]:
    """val/loss (nats per token, masked as in training), val/perplexity and val/bits_per_byte (every token charged)."""
    eod_id = text.eod_id if engine.recipe.data.isolate_documents else None
    size = engine.recipe.training.micro_batch_size
    turns = held_out_indices(text.num_windows, engine.layout, engine.processes.data_rank, size)
    sums = held_out_sums(engine, turns, lambda some: validation_micro_batches(text, some, eod_id))
    (loss, every), (tokens, _) = sums.tolist()
    return {
        "val/loss": loss / tokens,
        "val/perplexity": math.exp(min(loss / tokens, 700.0)),
        "val/bits_per_byte": every / math.log(2) / text.num_bytes,
    }


def held_out_sums(
    engine: Engine,
    turns: list[tuple[int, ...]],
    micro_batches: Callable[[list[tuple[int, ...]]], Iterator[MicroBatch]],
) -> Tensor:
    """Sums over all ranks' turns: fp64 [2, K], losses under each of the K masks, and the masks themselves."""
    at_once = _TURNS_AT_ONCE * engine.layout.pipeline_parallel
    sums: Tensor | float = 0.0
    for first in range(0, len(turns), at_once):
        some = turns[first : first + at_once]
        sums = sums + engine.loss_sums(micro_batches(some), len(some))
    assert isinstance(sums, Tensor), "no turns"
    return sums
