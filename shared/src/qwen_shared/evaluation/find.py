"""Finds tasks by name (entry points `qwen.tasks`) and reads their rows. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from qwen_shared.errors import UserError
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.evaluation.task import Hub, Task
from qwen_shared.recipe import nearest

_GROUP = "qwen.tasks"


def find_tasks(names: Sequence[str], settings: EvaluationSettings) -> list[Task[Any]]:
    r"""The tasks of a recipe's `tasks`: `gsm8k` (hub or embedded) or `gsm8k:PATH`.

    Raises UserError for unknown names, duplicates, missing paths, and settings that a task refuses.
    """
    known = _known()
    tasks: list[Task[Any]] = []
    for text in names:
        name, colon, path = text.partition(":")
        if name not in known:
            hint = nearest(name, list(known))
            raise UserError(
                f"tasks={text}: no such task{f'; nearest: {hint}' if hint else ''} (there are {', '.join(known)})"
            )
        if colon and not Path(path).expanduser().exists():
            raise UserError(f"tasks={text}: no such file or directory: {path}")
        task = _load(known[name])
        task = task.at(path) if colon else task
        if task.name in [other.name for other in tasks]:
            raise UserError(f"tasks: {task.name} stands there twice")
        task.check(settings)
        tasks.append(task)
    if not tasks:
        raise UserError(f"tasks: none given (there are {', '.join(known)})")
    return tasks


def task_named(text: str) -> Task[Any] | None:
    """None if there is no such task. Does not check the path."""
    name, colon, path = text.partition(":")
    point = _known().get(name)
    if point is None:
        return None
    return _load(point).at(path) if colon else _load(point)


def _known() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=_GROUP)}


def _load(point: EntryPoint) -> Task[Any]:
    task = point.load()
    if not isinstance(task, Task) or task.name != point.name:
        raise UserError(f"task {point.name}: the entry point {point.value} is no Task of this name")
    return task


def rows_of(task: Task[Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """(row, name for errors) from a file, directory or hub dataset. Raises UserError."""
    if task.path:
        return local_rows(task.path, task.hub.config if task.hub else None, task.hub.split if task.hub else "test")
    if task.hub:
        return hub_rows(task.name, task.hub)
    raise UserError(missing(task.name, "it has no dataset on the hub"))


def local_rows(place: str, config: str | None, split: str) -> Iterator[tuple[dict[str, Any], str]]:
    """(row, name) from a file or a dataset's directory. Raises UserError."""
    from qwen_shared.data.rows import read_hf_rows, read_rows

    path = Path(place).expanduser()
    if path.is_dir():
        yield from read_hf_rows(f"hf:{path.resolve()}", config, split)
    else:
        for row, where, _ in read_rows(path):
            yield row, where


def hub_rows(task: str, hub: Hub) -> Iterator[tuple[dict[str, Any], str]]:
    """(row, name). Raises UserError, with advice, if the dataset cannot be read."""
    from qwen_shared.data.rows import read_hf_rows

    try:
        yield from read_hf_rows(f"hf:{hub.dataset}", hub.config, hub.split, revision=hub.revision)
    except UserError as error:
        raise UserError(missing(task, f"{hub.dataset} cannot be had: {error}")) from None


def missing(task: str, why: str) -> str:
    return f"task {task}: {why}; for a local copy (.jsonl, .jsonl.gz, .json, .parquet or a directory) say {task}:PATH"
