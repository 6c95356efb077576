"""The loss of a model on documents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from qwen_shared.backend import device

_BATCH_TOKENS = 4096


@torch.no_grad()
def mean_loss(model: torch.nn.Module, documents: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, int]:
    """Nats per token that is to be foreseen, and how many those are."""
    total, count = 0.0, 0
    for batch in _batches(documents):
        width = max(len(ids) for ids, _ in batch)
        tokens, mask = np.zeros((len(batch), width), np.int64), np.zeros((len(batch), width), bool)
        for i, (ids, of_ids) in enumerate(batch):
            tokens[i, : len(ids)], mask[i, : len(ids)] = ids, of_ids
        # What pads stands behind all that is read, and is never to be foreseen.
        given, wanted = torch.from_numpy(tokens).to(device()), torch.from_numpy(mask[:, 1:]).to(device())
        logits = model(given[:, :-1]).logits.float()  # [B, S, V]
        losses = F.cross_entropy(logits.transpose(1, 2), given[:, 1:], reduction="none")  # [B, S]
        total += (losses * wanted).sum(dtype=torch.float64).item()
        count += int(wanted.sum())
    return total / max(1, count), count


def _batches(documents: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    batches: list[list[tuple[np.ndarray, np.ndarray]]] = []
    for document in sorted(documents, key=lambda document: -len(document[0])):
        if len(document[0]) < 2:
            continue
        if not batches or (len(batches[-1]) + 1) * len(batches[-1][0][0]) > _BATCH_TOKENS:
            batches.append([])
        batches[-1].append(document)
    return batches
