"""Documents ► token files ► packed, blended samples ► batches; and held-out text.

    check_sources(data)                             # milliseconds, before anything heavy
    sources = prepare(data, "default", cache_dir)   # tokenises what is not in the cache yet
    blend = training_blend(sources, seq_length, seed)
    collate([blend.sample(k) for k in range(first, first + count)], eod_id)
    ValidationText(sources, tokenizer, seq_length)

Reading order: `check`, `documents`, `texts` and `conversations` (over `rows`), `prepare` (`split`, `tokenise`,
`token_file`, `cache`), `samples`, `fim`, `validation`.
"""

from qwen_shared.data.check import check_sources
from qwen_shared.data.documents import Document, Meter, SourceReader
from qwen_shared.data.prepare import PreparedSource, prepare
from qwen_shared.data.samples import BlendedDataset, PackedDataset, collate, samples_digest, training_blend
from qwen_shared.data.token_file import TokenFile, TokenFileWriter, token_dtype
from qwen_shared.data.validation import ValidationText

__all__ = [
    "BlendedDataset",
    "Document",
    "Meter",
    "PackedDataset",
    "PreparedSource",
    "SourceReader",
    "TokenFile",
    "TokenFileWriter",
    "ValidationText",
    "check_sources",
    "collate",
    "prepare",
    "samples_digest",
    "token_dtype",
    "training_blend",
]
