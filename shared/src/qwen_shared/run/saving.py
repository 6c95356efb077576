"""What every engine's checkpoints share: which ones stay, and how a disk that does not take one is reported."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from qwen_shared.errors import Stopped, UserError
from qwen_shared.files import disk_problem, room_problem
from qwen_shared.recipe.schema import Checkpoint
from qwen_shared.run.paths import checkpoint_path, list_checkpoints


def prune_checkpoints(directory: Path, settings: Checkpoint) -> None:
    """Delete all but the last `keep_last` and the multiples of `keep_every`, and what a kill left half-written."""
    for path in (*directory.glob("writing-*"), *directory.glob("deleting-*")):
        shutil.rmtree(path, ignore_errors=True)
    for step in list_checkpoints(directory)[: -settings.keep_last]:
        if not (settings.keep_every and step % settings.keep_every == 0):
            delete_checkpoint(directory, step)


def delete_checkpoint(directory: Path, step: int) -> None:
    # Renamed first: a kill amid the deletion must not leave a checkpoint that lacks files.
    path = checkpoint_path(directory, step).rename(directory / f"deleting-{step:08d}")
    shutil.rmtree(path, ignore_errors=True)


def writing_path(directory: Path, step: int) -> Path:
    """Where a checkpoint is written before it is renamed."""
    return directory / f"writing-{step:08d}"


def room_refusal(directory: Path, step: int, size: int | None = None) -> str | None:
    """Why the disk has no room for a checkpoint of `size` bytes (default: as large as the last); None if it has."""
    if size is None:
        saved = list_checkpoints(directory)
        files = checkpoint_path(directory, saved[-1]).rglob("*") if saved else ()
        size = sum(path.stat().st_size for path in files if path.is_file())
    problem = room_problem(directory, size)
    return problem and _refusal(directory, step, problem)


@contextlib.contextmanager
def refusing_disk(directory: Path, temporary: Path, step: int | None = None) -> Iterator[None]:
    """Inside, a checkpoint is written to `temporary`. Raises UserError if the disk does not take it, and then deletes
    what was written."""
    try:
        yield
    except (UserError, Stopped, KeyboardInterrupt):
        raise
    except BaseException as error:  # torch's CheckpointException is no Exception
        problem = disk_problem(error, directory)
        shutil.rmtree(temporary, ignore_errors=True)
        if problem is None:
            raise
        raise UserError(_refusal(directory, step, problem)) from error


def _refusal(directory: Path, step: int | None, problem: str) -> str:
    saved = list_checkpoints(directory)
    goes_on = f"goes on after step {saved[-1]}" if saved else "starts again"
    what = "a checkpoint" if step is None else f"step {step}"
    return f"{directory}: {what} cannot be saved: {problem}; mend that, and the same command {goes_on}"
