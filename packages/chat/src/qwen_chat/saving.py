"""What stands in the way of a checkpoint of a run on the Hugging Face form, said in one line."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from qwen_shared.errors import UserError
from qwen_shared.files import disk_problem, room_problem
from qwen_shared.run.paths import checkpoint_path, list_checkpoints


def require_room(directory: Path, step: int) -> None:
    """Raises UserError where the disk has no room for another checkpoint of the size of the last. What the first takes
    is seen when it is written."""
    saved = list_checkpoints(directory)
    files = checkpoint_path(directory, saved[-1]).rglob("*") if saved else ()
    if problem := room_problem(directory, sum(path.stat().st_size for path in files if path.is_file())):
        raise UserError(_refusal(directory, step, problem))


@contextlib.contextmanager
def refusing_disk(directory: Path, temporary: Path, step: int | None = None) -> Iterator[None]:
    """Inside, what a disk does not take is the user's to mend: raises UserError, and no traceback. What was begun, in
    `temporary`, is not left to fill the disk."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch tells a full disk by the latter
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
