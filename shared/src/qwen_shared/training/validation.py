"""Validation loss and bits per byte over all ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from torch import Tensor

from qwen_shared.data import ValidationText
from qwen_shared.training.batches import held_out_indices, validation_micro_batches
from qwen_shared.training.engine import Engine, MicroBatch

_BATCHES_PER_CALL = 16  # micro-batches per call of the pipeline schedule and stage


def validate(engine: Engine, text: ValidationText) -> dict[str, float]:
    """val/loss (nats per token, masked as in training), val/perplexity and val/bits_per_byte (over every token)."""
    eod_id = text.eod_id if engine.recipe.data.isolate_documents else None
    size = engine.recipe.training.micro_batch_size
    batches = held_out_indices(text.num_windows, engine.layout, engine.processes.data_rank, size)
    sums = held_out_sums(engine, batches, lambda part: validation_micro_batches(text, part, eod_id))
    (loss, every), (tokens, _) = sums.tolist()
    return {
        "val/loss": loss / tokens,
        "val/perplexity": math.exp(min(loss / tokens, 700.0)),
        "val/bits_per_byte": every / math.log(2) / text.num_bytes,
    }


def held_out_sums(
    engine: Engine,
    batches: list[tuple[int, ...]],
    micro_batches: Callable[[list[tuple[int, ...]]], Iterator[MicroBatch]],
) -> Tensor:
    """Sums over all ranks' micro-batches: fp64 [2, K], losses under each of the K masks, and the masks."""
    size = _BATCHES_PER_CALL * engine.layout.pipeline_parallel
    sums: Tensor | float = 0.0
    for first in range(0, len(batches), size):
        part = batches[first : first + size]
        sums = sums + engine.loss_sums(micro_batches(part), len(part))
    assert isinstance(sums, Tensor), "no micro-batches"
    return sums
