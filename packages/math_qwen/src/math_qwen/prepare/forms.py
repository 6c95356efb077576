"""The formats of worked solutions, read into one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qwen_shared.errors import UserError

FORMS = ("gsm8k", "math", "messages")
EMBEDDED = "embedded"
_COLUMNS = {"gsm8k": ("question", "answer"), "math": ("problem", "solution"), "messages": ("messages",)}
_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".parquet")
_HF = "hf:"


@dataclass(frozen=True)
class Sample:
    """`where`: file and line; `messages`: turns before the solution; `gold`: a separate answer; `extra`: columns to
    keep.
    """

    where: str
    source: str
    id: str
    messages: list[dict[str, str]]
    question: str
    solution: str
    gold: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def read_samples(
    source: str, form: str, split: str = "train", subset: str | None = None
) -> Iterator[tuple[Sample, float]]:
    """The samples of a file, a directory or a data set `hf:NAME`, each with the share of the source read so far (0 for
    a data set). Raises UserError with file and line for a row in no known format.
    """
    from qwen_shared.data.rows import read_hf_rows, read_rows

    if source.startswith(_HF):
        for number, (row, where) in enumerate(read_hf_rows(source, subset, split), start=1):
            yield sample_of(row, where, source, f"{source.removeprefix(_HF)}-{number}", form), 0.0
        return
    files = source_files(source)
    sizes = [max(1, path.stat().st_size) for path in files]
    for i, path in enumerate(files):
        for number, (row, where, position) in enumerate(read_rows(path), start=1):
            share = (sum(sizes[:i]) + position) / sum(sizes)
            yield sample_of(row, where, str(path), f"{path.stem.partition('.')[0]}-{number}", form), share


def source_files(source: str) -> list[Path]:
    """Raises UserError if there are none."""
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.name.endswith(_SUFFIXES) and p.is_file())
        if not files:
            raise UserError(f"{source}: no file in this directory ends in {', '.join(_SUFFIXES)}")
        return files
    if not path.exists():
        there = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, there, n=1)
        hint = f"perhaps {path.parent / near[0]}" if near else f"a Hugging Face data set is written {_HF}NAME"
        raise UserError(f"{source}: no such file; {hint}")
    if not path.name.endswith(_SUFFIXES):
        raise UserError(f"{source}: cannot read '{path.suffix or path.name}' files, only {', '.join(_SUFFIXES)}")
    return [path]


def sample_of(row: dict[str, Any], where: str, source: str, sample_id: str, form: str = "auto") -> Sample:
    """Raises UserError if a column is missing or has the wrong type."""
    if form == "auto":
        form = next((name for name in ("messages", "math", "gsm8k") if all(c in row for c in _COLUMNS[name])), "")
        if not form:
            raise UserError(
                f"{where}: the columns are {', '.join(map(str, row)) or 'none'}; expected question and answer (gsm8k), "
                "problem and solution (math), or messages"
            )
    missing = [column for column in _COLUMNS[form] if column not in row]
    if missing:
        raise UserError(f"{where}: no column '{missing[0]}', which {form} needs; it has {', '.join(map(str, row))}")
    sample_id = str(row.get("id") or row.get("unique_id") or sample_id)
    if form == "messages":
        return _of_messages(row, where, source, sample_id)
    question, solution = (_text(row, column, where) for column in _COLUMNS[form])
    gold = row.get("answer") if form == "math" else row.get("gold")
    extra = {key: row[key] for key in ("level", "type", "subject", "family", "language") if row.get(key) is not None}
    user = [{"role": "user", "content": question}]
    return Sample(where, source, sample_id, user, question, solution, None if gold is None else str(gold), extra)


def _of_messages(row: dict[str, Any], where: str, source: str, sample_id: str) -> Sample:
    turns = row["messages"]
    if not isinstance(turns, list) or not all(isinstance(t, dict) and {"role", "content"} <= t.keys() for t in turns):
        raise UserError(f"{where}: messages must be a list of objects with 'role' and 'content'")
    turns = [{"role": str(t["role"]), "content": _text(t, "content", where)} for t in turns]
    if not turns or turns[-1]["role"] != "assistant":
        raise UserError(f"{where}: the last of the messages must be the assistant's")
    question = "\n".join(t["content"] for t in turns[:-1] if t["role"] == "user")
    gold = row.get("answer")
    return Sample(
        where, source, sample_id, turns[:-1], question, turns[-1]["content"], None if gold is None else str(gold)
    )


def _text(row: dict[str, Any], key: str, where: str) -> str:
    if not isinstance(row[key], str):
        raise UserError(f"{where}: '{key}' is {type(row[key]).__name__}, expected a string")
    return row[key].encode("utf-8", "replace").decode("utf-8")  # lone surrogates cannot be written
