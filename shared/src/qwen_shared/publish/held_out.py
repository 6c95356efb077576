"""Held-out tokens of a model's training, wherever in the cache those lie. No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qwen_shared.data.token_file import TokenFile, in_loss, token_ids
from qwen_shared.errors import UserError
from qwen_shared.publish.files import sha256
from qwen_shared.publish.lineage import Forebear
from qwen_shared.publish.subject import Subject

_MOST_TOKENS = 1 << 17


def held_out_files(
    subject: Subject, forebears: Sequence[Forebear], cache: Path
) -> list[tuple[dict[str, Any], TokenFile]]:
    """Entry in the manifest and token file of what the run held out, or of what the nearest run before it did that
    keeps some. Raises UserError where there is none, or the cache does not have it any more."""
    manifests = [subject.manifest, *(a.manifest for a in reversed(forebears) if a.manifest)]
    entries = next(
        ([e for e in m.data if "validation" in e] for m in manifests if m.data and "source" in m.data[0]), []
    )
    if not entries:
        raise UserError(f"{subject.run_dir}: no run before it keeps held-out text, on which a loss could be measured")
    return [(entry, _find(entry, cache)) for entry in entries]


def held_out_documents(
    subject: Subject, forebears: Sequence[Forebear], cache: Path, longest: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ids and loss mask of held-out documents, at most `longest` tokens of each and 131,072 in all. The mask says which
    ids are to be foreseen.

    Raises UserError as `held_out_files` does.
    """
    files = held_out_files(subject, forebears, cache)
    documents: list[tuple[np.ndarray, np.ndarray]] = []
    share = _MOST_TOKENS // len(files)
    for entry, file in files:
        taken = 0
        for i in range(len(file)):
            stored = file[i][:longest]
            # In a conversation only what an assistant says is to be foreseen, in a text everything.
            mask = in_loss(stored) if "mask" in entry["source"] else np.ones(len(stored), bool)
            documents.append((token_ids(stored), mask))
            taken += len(stored)
            if taken >= share:
                break
    return documents


def _find(entry: dict, cache: Path) -> TokenFile:
    digest = entry["validation"]["sha256"]
    for meta in cache.glob("*/meta.json"):
        try:
            found = json.loads(meta.read_text(encoding="utf-8"))["validation"]["sha256"]
            if found == digest and sha256(meta.with_name("validation.bin")) == digest:
                return TokenFile(meta.with_name("validation"))
        except (OSError, ValueError, KeyError, TypeError, UserError):
            continue
    raise UserError(
        f"--quantise: the held-out tokens of {entry['name']} are not in {cache} any more (QWEN_CACHE names another "
        "place), so nothing could be said of what it costs"
    )
