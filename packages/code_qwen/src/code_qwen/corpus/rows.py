"""Rows of code datasets as files: The Stack 1 and 2, StarCoderData, GitHub Code and similar ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from code_qwen.corpus.file import CodeFile
from code_qwen.corpus.languages import language_named, language_of
from qwen_shared.data.check import HF, source_files
from qwen_shared.data.documents import Meter
from qwen_shared.data.rows import read_hf_rows, read_rows
from qwen_shared.errors import UserError
from qwen_shared.text import replace_lone_surrogates

if TYPE_CHECKING:
    from code_qwen.corpus.settings import CodeSource
    from qwen_shared.recipe.schema import TrainingData

_TEXT = ("content", "text", "code")
_REPOSITORY = ("max_stars_repo_name", "repository_name", "repo_name", "repository", "repo")
_PATH = ("max_stars_repo_path", "file_path", "path", "filename", "file_name")
_LANGUAGE = ("lang", "language", "programming_language")
_LICENCE = ("max_stars_repo_licenses", "detected_licenses", "licenses", "license", "licence")


def read_code_rows(data: TrainingData, source: CodeSource, meter: Meter) -> Iterator[CodeFile]:
    """In order. A row of The Stack 2 may be a whole repository with several files.

    Raises UserError, with file and line, for a row without code.
    """
    if source.path.startswith(HF):
        for row, name in read_hf_rows(source.path, source.config, source.split, source.data_dir):
            yield from _files_of(row, name, source.text_key)
        return
    paths: list[Path] = source_files(data, source.path)
    sizes = [path.stat().st_size for path in paths]
    meter.total = sum(sizes)
    for before, path in zip(itertools.accumulate(sizes, initial=0), paths, strict=False):
        for row, name, position in read_rows(path):
            meter.at(before + position)
            yield from _files_of(row, name, source.text_key)


def _files_of(row: Mapping[str, Any], name: str, text_key: str | None) -> Iterator[CodeFile]:
    files = row.get("files")
    if isinstance(files, list | tuple) and files and all(isinstance(file, Mapping) for file in files):
        for number, file in enumerate(files, start=1):
            shared = {key: value for key, value in row.items() if key != "files"}
            yield _file_of({**shared, **file}, f"{name} file {number}", text_key)
    else:
        yield _file_of(row, name, text_key)


def _file_of(row: Mapping[str, Any], name: str, text_key: str | None) -> CodeFile:
    keys = (text_key,) if text_key else _TEXT
    key = next((key for key in keys if key in row), None)
    if key is None:
        there = ", ".join(list(row)[:8]) or "no keys at all"
        what = f"'{text_key}'" if text_key else "content, text or code"
        ids = "; it has ids of The Stack 2, whose contents must be fetched first" if "blob_id" in row else ""
        raise UserError(f"{name}: no key {what}; there are: {there}{ids or '; name the right one as text_key'}")
    text = row[key]
    if not isinstance(text, str):
        found = "null" if text is None else type(text).__name__
        raise UserError(f"{name}: '{key}' is {found}, expected a string")
    path = _text(row, _PATH)
    language = _text(row, _LANGUAGE) or language_of(f"file.{_text(row, ('ext', 'extension')).lstrip('.')}")
    return CodeFile(
        path=path.lstrip("/"),
        repository=_text(row, _REPOSITORY),
        language=language_named(language) if language else language_of(path),
        licence=_licence(row),
        where=name,
        size=len(text.encode("utf-8", "replace")),
        text=text,
    )


def _text(row: Mapping[str, Any], keys: Sequence[str]) -> str:
    return replace_lone_surrogates(next((row[key] for key in keys if isinstance(row.get(key), str)), ""))


def _licence(row: Mapping[str, Any]) -> str | None:
    """Of several licences each holds for some file of the repository: all are needed."""
    for key in _LICENCE:
        value = row.get(key)
        if isinstance(value, str) and value:
            return replace_lone_surrogates(value)
        if isinstance(value, list | tuple) and value:
            return replace_lone_surrogates(" AND ".join(str(licence) for licence in value))
    return None
