"""Micro-batches of packed conversations, and the loss of held-out ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from qwen_shared.backend import device
from qwen_shared.model.documents import Documents
from qwen_shared.sft.packing import PackedConversations, PackedSample
from qwen_shared.training.batches import BlendBatches, held_out_indices, micro_batch
from qwen_shared.training.engine import Engine, MicroBatch
from qwen_shared.training.validation import held_out_sums


class ConversationBatches(BlendBatches):
    def collate(self, samples: list[PackedSample]) -> MicroBatch:
        return conversation_batch(samples)


def conversation_batch(samples: Sequence[PackedSample], real: Sequence[bool] | None = None) -> MicroBatch:
    """Samples that are not `real` have no loss."""
    tokens, labels, masks, starts = (
        np.stack([getattr(sample, name) for sample in samples])
        for name in ("tokens", "labels", "mask", "document_starts")
    )
    if real is not None:
        masks = masks * np.array(real, dtype=np.float32)[:, None]
    loss_positions = torch.from_numpy(_loss_positions(masks)).to(device(), non_blocking=True)
    batch = micro_batch(tokens, labels, masks[None], Documents.from_starts(starts, device()))
    return replace(batch, loss_positions=loss_positions)


def _loss_positions(masks: np.ndarray) -> np.ndarray:
    r"""The positions of B·S whose logits are computed: int64 [T]. About half the positions carry no loss.

    Padded with other positions to a multiple of 256: each new matrix size costs kernel preparation and memory that is
    not freed.
    """
    order = np.argsort(masks.ravel() == 0, kind="stable")  # positions with loss first
    count = max(1, int(np.count_nonzero(masks)))
    return np.sort(order[: -(-count // 256) * 256])


def held_out_loss(engine: Engine, sources: Sequence[PackedConversations], max_tokens: int | None) -> dict[str, float]:
    """val/loss (nats per token in the loss) and val/perplexity of about `max_tokens` held-out tokens."""
    samples = [(source, j) for source in sources for j in range(source.num_samples)]
    if max_tokens:  # evenly spaced: samples are ordered by source, then length
        samples = samples[:: -(-len(samples) // max(1, max_tokens // sources[0].seq_length))]
    size = engine.recipe.training.micro_batch_size
    batches = held_out_indices(len(samples), engine.layout, engine.processes.data_rank, size)

    def micro_batches(part: list[tuple[int, ...]]) -> Iterator[MicroBatch]:
        for indices in part:
            chosen = [samples[max(i, 0)] for i in indices]
            yield conversation_batch([source.epoch_sample(j) for source, j in chosen], [i >= 0 for i in indices])

    loss, tokens = held_out_sums(engine, batches, micro_batches)[:, 0].tolist()
    return {"val/loss": loss / tokens, "val/perplexity": math.exp(min(loss / tokens, 700.0))}
