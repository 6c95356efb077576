"""Documents ► token files ► blended, packed samples ► batches; and the held-out text that progress is measured on.

check_sources(data)                            milliseconds, before anything heavy
prepared = prepare(data, "default", cache_dir) tokenises what is not in the cache yet
blend = training_blend(prepared, seq_length, seed)
batch([blend.sample(k) for k in range(first, first + count)], eod_id)
ValidationText(prepared, tokenizer, seq_length)
"""

from qwen_shared.data.check import check_sources
from qwen_shared.data.documents import Document, Meter
from qwen_shared.data.prepare import PreparedSource, prepare
from qwen_shared.data.samples import Blend, PackedTokens, batch, samples_digest, training_blend
from qwen_shared.data.sources import read_documents
from qwen_shared.data.stdlib import stdlib_text
from qwen_shared.data.token_file import TokenFile, TokenFileWriter, token_dtype
from qwen_shared.data.validation import ValidationText

__all__ = [
    "Blend",
    "Document",
    "Meter",
    "PackedTokens",
    "PreparedSource",
    "TokenFile",
    "TokenFileWriter",
    "ValidationText",
    "batch",
    "check_sources",
    "prepare",
    "read_documents",
    "samples_digest",
    "stdlib_text",
    "token_dtype",
    "training_blend",
]
