"""Near duplicates of held-out text, by runs of 8 words ("shingles")."""

from __future__ import annotations

import re
from collections.abc import Collection

from qwen_shared.data.documents import Document

_SHINGLE = 8  # words
_NEAR_DUPLICATE = 0.3  # share of a document's shingles
_PARAGRAPH_MIN_WORDS = 12


def shingles(text: str) -> list[int]:
    """Hashes of every run of 8 words, ignoring case, punctuation and spacing. Hashes differ between processes."""
    words = re.findall(r"\w+", text.lower())
    return [hash(tuple(words[i : i + _SHINGLE])) for i in range(len(words) - _SHINGLE + 1)]


def is_near_duplicate(text: str, held_out_shingles: Collection[int]) -> bool:
    """Whether more than 0.3 of the text's shingles occur in held-out text."""
    own = shingles(text)
    return sum(shingle in held_out_shingles for shingle in own) > _NEAR_DUPLICATE * len(own)


def remove_near_duplicates(training: list[Document], held_out: list[Document]) -> tuple[list[Document], list[str], int]:
    """Drops near duplicates, and paragraphs of 12 words or more whose shingles all occur in held-out text. Returns the
    documents left, the names of those dropped, and the number of dropped paragraphs."""
    held_out_shingles = {shingle for document in held_out for shingle in shingles(document.text)}
    kept, dropped, dropped_paragraphs = [], [], 0
    for document in training:
        if is_near_duplicate(document.text, held_out_shingles):
            dropped.append(document.name)
            continue
        paragraphs = re.split(r"\n(?:[ \t]*\n)+", document.text)
        clean = [paragraph for paragraph in paragraphs if not _is_copied(paragraph, held_out_shingles)]
        if len(clean) < len(paragraphs):
            dropped_paragraphs += len(paragraphs) - len(clean)
            document = Document("\n\n".join(clean), document.name, False)
        if document.text.strip():
            kept.append(document)
    return kept, dropped, dropped_paragraphs


def _is_copied(paragraph: str, held_out_shingles: Collection[int]) -> bool:
    if len(paragraph.split()) < _PARAGRAPH_MIN_WORDS:
        return False
    return all(shingle in held_out_shingles for shingle in shingles(paragraph))
