"""The size of the training data: from the cache, else estimated from the beginning of each source."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qwen_shared.data.check import HF, STDLIB, source_files
from qwen_shared.data.documents import Meter
from qwen_shared.data.prepare import find_prepared, open_source
from qwen_shared.recipe import Recipe
from qwen_shared.recipe.schema import Data, Source, TrainingData
from qwen_shared.recipe.sft_schema import ConversationSource, SftData
from qwen_shared.run.paths import cache_dir
from qwen_shared.tokenizer import Tokenizer

_SAMPLE_BYTES, _SAMPLE_DOCUMENTS = 256 * 1024, 64


@dataclass(frozen=True)
class SourceFacts:
    """`tokens` to train on: `counted` if the source was tokenised before, else estimated, None if unknown."""

    key: str  # of the part of `data` that holds the source
    path: str
    weight: float | None
    files: int | None = None
    bytes: int | None = None
    tokens: int | None = None
    counted: bool = False


def inspect_sources(recipe: Recipe, tokenizer: Tokenizer) -> list[SourceFacts]:
    """In the recipe's order. Raises UserError, with file and line, if the beginning of a source cannot be read."""
    return [_facts(part, source, key, tokenizer) for key, part in recipe.data.parts.items() for source in part.sources]


def _facts(data: TrainingData, source: Source | ConversationSource, key: str, tokenizer: Tokenizer) -> SourceFacts:
    facts = SourceFacts(key, source.path, source.weight)
    made_elsewhere = source.path in data.builtin and not (isinstance(data, Data) and source.path == STDLIB)
    # Only a package can read its own kinds of source; datasets on a hub are not fetched for a plan.
    if not isinstance(data, Data | SftData) or made_elsewhere or source.path.startswith(HF):
        return facts
    meta = find_prepared(data, source, tokenizer, cache_dir())
    if source.path == STDLIB:  # no estimate: it is read as a whole
        return replace(facts, tokens=meta["train"]["tokens"], counted=True) if meta else facts
    files = source_files(data, source.path)
    size = sum(path.stat().st_size for path in files)
    tokens = meta["train"]["tokens"] if meta else _estimate(data, source, tokenizer)
    return replace(facts, files=len(files), bytes=size, tokens=tokens, counted=bool(meta))


def _estimate(data: Data | SftData, source: Source | ConversationSource, tokenizer: Tokenizer) -> int:
    """Training tokens, from the first documents and their share of the files."""
    (reader, encode), meter = open_source(data, source), Meter()
    tokens = size = documents = 0
    share = 1.0
    for document in reader.read(meter):
        # The meter is at the end of the document before, or beyond it if files are read in blocks.
        if documents >= _SAMPLE_DOCUMENTS or size >= _SAMPLE_BYTES:
            share = meter.done / meter.total if meter.total else 1.0
            break
        tokens += len(encode(tokenizer, document)[0])
        size += len(document.text.encode())
        documents += 1
    if data.documents:
        share = max(share, documents / data.documents)
    held_out = min(data.validation_fraction * size / share, data.validation_max_bytes)  # bytes
    return round(tokens * (1 / share - held_out / size))
