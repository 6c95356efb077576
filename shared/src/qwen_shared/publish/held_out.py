"""The loss of a model on held-out tokens of its training, wherever in the cache those lie."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from qwen_shared.backend import device
from qwen_shared.data.token_file import TokenFile, in_loss, token_ids
from qwen_shared.errors import UserError
from qwen_shared.publish.files import sha256
from qwen_shared.publish.lineage import Forebear
from qwen_shared.publish.subject import Subject

_MOST_TOKENS = 1 << 17
_BATCH_TOKENS = 4096


def held_out_documents(
    subject: Subject, forebears: Sequence[Forebear], cache: Path, longest: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ids and loss mask of held-out documents, at most `longest` tokens of each and 131,072 in all: those of the run,
    or of the nearest run before it that keeps some. The mask says which ids are to be foreseen.

    Raises UserError where the cache does not have them any more.
    """
    manifests = [subject.manifest, *(a.manifest for a in reversed(forebears) if a.manifest)]
    entries = next(
        ([e for e in m.data if "validation" in e] for m in manifests if m.data and "source" in m.data[0]), []
    )
    if not entries:
        raise UserError(f"{subject.run_dir}: no run before it keeps held-out text, on which a loss could be measured")
    documents: list[tuple[np.ndarray, np.ndarray]] = []
    share = _MOST_TOKENS // len(entries)
    for entry in entries:
        taken, file = 0, TokenFile(_find(entry, cache))
        for i in range(len(file)):
            stored = file[i][:longest]
            # In a conversation only what an assistant says is to be foreseen, in a text everything.
            mask = in_loss(stored) if "mask" in entry["source"] else np.ones(len(stored), bool)
            documents.append((token_ids(stored), mask))
            taken += len(stored)
            if taken >= share:
                break
    return documents


def _find(entry: dict, cache: Path) -> Path:
    digest = entry["validation"]["sha256"]
    for meta in cache.glob("*/meta.json"):
        try:
            found = json.loads(meta.read_text(encoding="utf-8"))["validation"]["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if found == digest and sha256(meta.with_name("validation.bin")) == digest:
            return meta.with_name("validation")
    raise UserError(
        f"--quantise: the held-out tokens of {entry['name']} are not in {cache} any more (QWEN_CACHE names another "
        "place), so nothing could be said of what it costs"
    )


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
