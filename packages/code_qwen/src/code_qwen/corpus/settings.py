"""Recipe settings of code: sources and filters."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from code_qwen.corpus.languages import LANGUAGES, nearest_language
from qwen_shared.recipe.schema import Flag, Number, Positive, Section, Share, Source, Whole


class CodeSource(Source):
    """`path` is `stdlib` (the source of Python's standard library), a directory tree or git checkout, a file or
    directory of rows (.jsonl, .jsonl.gz, .jsonl.zst, .parquet), or `hf:NAME_OR_DIRECTORY`. The columns for repository,
    path, language and licence of The Stack (1 and 2), StarCoderData and GitHub Code are known.
    """

    path: str = Field(min_length=1, description="stdlib, a directory tree, a file of rows, or hf:NAME_OR_DIRECTORY")
    text_key: str | None = Field(  # type: ignore[assignment]  # None looks for it
        None, description="the column that holds the code; default: content, text or code"
    )
    data_dir: str | None = Field(None, description="hf: only; a folder in the dataset, such as The Stack's data/python")


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_one_or_more), Field(min_length=1)]


class Filters(Section):
    """Which files are kept.

    The limits of lines, letters and size are Codex's (Chen et al. 2021, section 3.1) and The Stack's; near duplicates
    (5-grams, 0.7) and licences (permissive or none) are StarCoder 2's (Lozhkov et al. 2024).
    """

    languages: Names | None = Field(None, description="as GitHub calls them; default: every programming language known")
    licences: Names | None = Field(
        ["permissive"], description="SPDX names; `permissive` stands for some thirty of them; null: any licence"
    )
    unlicensed: Flag = Field(True, description="keep what names no licence")
    min_bytes: Whole = Field(32, ge=0, description="smaller files say nothing")
    max_bytes: Positive = 1_000_000
    max_line_length: Positive = Field(1000, description="characters of the longest line")
    max_mean_line_length: Positive = Field(100, description="characters of all lines on average")
    min_alphanumeric: Share = Field(0.25, description="share of letters and digits among all characters")
    near_duplicate_threshold: Number = Field(
        0.7,
        gt=0.0,
        le=1.0,
        description="drop a file this similar to an earlier one (Jaccard); 1: exact copies only",
    )
    scrub: Flag = Field(True, description="put placeholders for keys, passwords, e-mail and public IP addresses")
    repository_span: Whole = Field(
        32_768, ge=0, description="bytes of a repository's files that are kept together in shuffling; 0: each alone"
    )

    @model_validator(mode="after")
    def _check(self) -> Filters:
        if self.min_bytes > self.max_bytes:
            raise ValueError(f"min_bytes={self.min_bytes} is more than max_bytes={self.max_bytes}")
        for name in self.languages or ():
            if name.lower() not in LANGUAGES:
                raise ValueError(f"languages: {name} is not known; nearest: {nearest_language(name)}")
        return self
