"""Held-out tokens of a model's training, found in the token cache. No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qwen_shared.data.token_file import TokenFile, in_loss, token_ids
from qwen_shared.errors import UserError
from qwen_shared.publish.checkpoint import Checkpoint
from qwen_shared.publish.files import sha256
from qwen_shared.publish.provenance import ParentRow

_MAX_TOKENS = 1 << 17

Document = tuple[np.ndarray, np.ndarray]  # ids [S], loss mask [S]


def held_out_files(
    checkpoint: Checkpoint, parents: Sequence[ParentRow], cache: Path
) -> list[tuple[dict[str, Any], TokenFile]]:
    """Manifest entry and token file of what the run, or else its nearest parent with such data, held out.

    Raises UserError if no run held text out, or if the cache no longer has it.
    """
    manifests = [checkpoint.manifest, *(row.manifest for row in reversed(parents) if row.manifest)]
    entries = next(
        ([e for e in m.data if "validation" in e] for m in manifests if m.data and "source" in m.data[0]), []
    )
    if not entries:
        raise UserError(f"{checkpoint.run_dir}: neither it nor its parents held out text to measure a loss on")
    return [(entry, _find(entry, cache)) for entry in entries]


def held_out_documents(
    checkpoint: Checkpoint, parents: Sequence[ParentRow], cache: Path, max_length: int
) -> list[Document]:
    """Held-out documents, each cut to `max_length` tokens, 131,072 tokens in all.

    Raises UserError as `held_out_files` does.
    """
    files = held_out_files(checkpoint, parents, cache)
    documents: list[Document] = []
    share = _MAX_TOKENS // len(files)
    for entry, file in files:
        taken = 0
        for i in range(len(file)):
            stored = file[i][:max_length]
            # Of a conversation only the assistant's tokens are in the loss, of a text all.
            mask = in_loss(stored) if "mask" in entry["source"] else np.ones(len(stored), bool)
            documents.append((token_ids(stored), mask))
            taken += len(stored)
            if taken >= share:
                break
    return documents


def _find(entry: dict[str, Any], cache: Path) -> TokenFile:
    digest = entry["validation"]["sha256"]
    for meta in cache.glob("*/meta.json"):
        try:
            found = json.loads(meta.read_text(encoding="utf-8"))["validation"]["sha256"]
            if found == digest and sha256(meta.with_name("validation.bin")) == digest:
                return TokenFile(meta.with_name("validation"))
        except (OSError, ValueError, KeyError, TypeError, UserError):
            continue
    raise UserError(
        f"--quantise: the held-out tokens of {entry['name']} are no longer in {cache} (QWEN_CACHE sets another place), "
        "so the loss that it costs cannot be measured"
    )
