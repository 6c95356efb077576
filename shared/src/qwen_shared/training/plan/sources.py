"""What a plan can say of data: read already, else a look at the beginning of each source, which also finds mistakes."""

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

_LOOK_BYTES, _LOOK_DOCUMENTS = 256 * 1024, 64


@dataclass(frozen=True)
class SourceFacts:
    """`tokens` are those to train on: counted where the source has been tokenised before, estimated from its beginning
    where not, None where neither can be."""

    key: str  # the part of `data` it stands under
    path: str
    weight: float | None
    files: int | None = None
    bytes: int | None = None
    tokens: int | None = None
    counted: bool = False


def inspect_sources(recipe: Recipe, tokenizer: Tokenizer) -> list[SourceFacts]:
    """Of each source, in the recipe's order. Raises UserError, naming file and line, for a beginning that cannot be
    read."""
    return [_look(part, source, key, tokenizer) for key, part in recipe.data.parts.items() for source in part.sources]


def _look(data: TrainingData, source: Source | ConversationSource, key: str, tokenizer: Tokenizer) -> SourceFacts:
    facts = SourceFacts(key, source.path, source.weight)
    made_elsewhere = source.path in data.builtin and not (isinstance(data, Data) and source.path == STDLIB)
    # What a package reads in its own way it alone can look at; a hub's dataset is not fetched for a plan.
    if not isinstance(data, Data | SftData) or made_elsewhere or source.path.startswith(HF):
        return facts
    meta = find_prepared(data, source, tokenizer, cache_dir())
    if source.path == STDLIB:  # read as a whole or not at all
        return replace(facts, tokens=meta["train"]["tokens"], counted=True) if meta else facts
    files = source_files(data, source.path)
    size = sum(path.stat().st_size for path in files)
    tokens = meta["train"]["tokens"] if meta else _estimate(data, source, tokenizer)
    return replace(facts, files=len(files), bytes=size, tokens=tokens, counted=bool(meta))


def _estimate(data: Data | SftData, source: Source | ConversationSource, tokenizer: Tokenizer) -> int:
    """Training tokens, by those of the first documents and the part of the files that these take."""
    (reader, encode), meter = open_source(data, source), Meter()
    tokens = size = documents = 0
    share = 1.0
    for document in reader.read(meter):
        # The meter stands at the end of the document before, or beyond it where files are read in blocks.
        if documents >= _LOOK_DOCUMENTS or size >= _LOOK_BYTES:
            share = meter.done / meter.total
            break
        tokens += len(encode(tokenizer, document)[0])
        size += len(document.text.encode())
        documents += 1
    if data.documents:
        share = max(share, documents / data.documents)
    held_out = min(data.validation_share * size / share, data.validation_max_bytes)  # bytes
    return round(tokens * (1 / share - held_out / size))
