"""The code corpus: source trees, datasets and the standard library as filtered documents.

Reading order: `settings`, `sources` (`tree`, `rows`: which files, which are held out), `filter` (`content`, `licences`,
`languages`, `scrub`), `duplicates`, `order`, then `reading`, which makes documents of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from code_qwen.recipe import CodeData
    from qwen_shared.data.documents import SourceReader
    from qwen_shared.recipe.schema import Source


def corpus(data: CodeData) -> dict[Source, SourceReader]:
    """For `qwen_shared.data.prepare(data, …, readers=corpus(data))`. Raises UserError for a directory without code."""
    from code_qwen.corpus.reading import CodeReader  # imports numpy, which a recipe does not need

    return {source: CodeReader(data, source).as_source_reader() for source in data.sources}
