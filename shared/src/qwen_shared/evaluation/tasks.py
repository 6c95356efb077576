"""Tasks by their names, `gsm8k` or `gsm8k:PATH`, and the rows of their problems. No torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from qwen_shared.errors import UserError
from qwen_shared.recipe import nearest

Hub = tuple[str, str | None, str]  # dataset, configuration, split


def named_tasks(names: Sequence[str], known: Collection[str]) -> list[tuple[str, str | None]]:
    """Name and path (None where none is given) of each of a recipe's `tasks`.

    Raises UserError for an unknown name, one that stands twice, a path that is missing, and where there is no task.
    """
    tasks: list[tuple[str, str | None]] = []
    for text in names:
        name, colon, path = text.partition(":")
        if name not in known:
            hint = nearest(name, list(known))
            raise UserError(
                f"tasks={text}: no such task{f'; nearest: {hint}' if hint else ''} (there are {', '.join(known)})"
            )
        if colon and not Path(path).expanduser().exists():
            raise UserError(f"tasks={text}: no such file or directory: {path}")
        if name in [there for there, _ in tasks]:
            raise UserError(f"tasks: {name} stands there twice")
        tasks.append((name, path or None))
    if not tasks:
        raise UserError(f"tasks: none given (there are {', '.join(known)})")
    return tasks


def local_rows(place: str, config: str | None, split: str) -> Iterator[tuple[dict[str, Any], str]]:
    """(row, name) of a file, or of a dataset in a directory. Raises UserError for what cannot be read."""
    from qwen_shared.data.rows import read_hf_rows, read_rows

    path = Path(place).expanduser()
    if path.is_dir():
        yield from read_hf_rows(f"hf:{path.resolve()}", config, split)
    else:
        for row, where, _ in read_rows(path):
            yield row, where


def hub_rows(task: str, hub: Hub) -> Iterator[tuple[dict[str, Any], str]]:
    """(row, name) of a task's dataset. Raises UserError, which says what to do, where it cannot be had."""
    from qwen_shared.data.rows import read_hf_rows

    dataset, config, split = hub
    try:
        yield from read_hf_rows(f"hf:{dataset}", config, split)
    except UserError as error:
        raise UserError(missing(task, f"{dataset} cannot be had: {error}")) from None


def missing(task: str, why: str) -> str:
    return f"task {task}: {why}; for a local copy (.jsonl, .jsonl.gz, .json, .parquet or a directory) say {task}:PATH"
