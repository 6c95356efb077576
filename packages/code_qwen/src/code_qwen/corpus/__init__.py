"""The code corpus: source trees, datasets and the standard library as texts fit to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from code_qwen.corpus.settings import CodeSource
    from code_qwen.recipe import CodeData
    from qwen_shared.data.documents import TextReader


def corpus(data: CodeData) -> dict[CodeSource, TextReader]:
    """A reader for each of `data.sources`, for `qwen_shared.data.prepare(data, …, builtin=corpus(data))`. Several may
    have one path, and differ in the column, the configuration or the split.

    Raises UserError for a directory without code.
    """
    from code_qwen.corpus.reading import CodeReader  # brings numpy, which the recipe needs not

    return {source: CodeReader(data, source).as_text_reader() for source in data.sources}
