"""Hashes of a checkpoint's files, in Megatron's format `integrity.json` with relative paths."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

from qwen_shared.errors import UserError
from qwen_shared.files import flush
from qwen_shared.log import say
from qwen_shared.run.paths import checkpoint_path, list_checkpoints

HASHES = "integrity.json"


def write_hashes(directory: Path) -> None:
    """Also flushes all files to the disk."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != HASHES)
    hashes = {str(path.relative_to(directory)): _hash(path) for path in files}
    text = json.dumps({"algorithm": "sha256", "files": hashes}, indent=2) + "\n"
    (directory / HASHES).write_text(text, encoding="utf-8")
    for path in [*directory.rglob("*"), directory]:
        flush(path)


def damage(directory: Path) -> str | None:
    """What is wrong with a checkpoint's files, else None. Raises PermissionError, which is no damage."""
    try:
        for path in directory.rglob("*"):
            if path.is_file():
                path.open("rb").close()
        found = json.loads((directory / HASHES).read_text(encoding="utf-8"))
        if found["algorithm"] != "sha256":
            return f"{HASHES}: hashes of an unknown kind"
        hashes = dict(found["files"])
        if not hashes:
            return f"{HASHES}: names no files"
        for name, expected in hashes.items():
            path = directory / name
            if not path.is_file():
                return f"{name}: file missing"
            if _hash(path) != expected:
                return f"{name}: hash mismatch"
    except PermissionError:
        raise
    except FileNotFoundError as error:
        return f"{Path(error.filename).name}: file missing"
    except OSError as error:
        return f"{Path(error.filename or directory).name}: {error.strerror}"
    except (ValueError, TypeError, KeyError):
        return f"{HASHES}: not readable"
    return None


def newest_whole_checkpoint(directory: Path, before: int | None = None) -> int:
    """Step of the newest undamaged checkpoint (below `before`), 0 if there is none. All ranks call it.

    Renames newer, damaged ones to `damaged-STEP` and says so. Raises UserError if all are damaged.
    """
    import torch

    # Rank 0 looks. It broadcasts problems too, so that no rank waits in vain.
    several = torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
    found = _find_whole(directory, before) if not several or torch.distributed.get_rank() == 0 else 0
    if several:
        message = [found]
        torch.distributed.broadcast_object_list(message, src=0)
        (found,) = message
    if isinstance(found, str):
        raise UserError(found)
    return found


def require_whole(directory: Path, step: int) -> None:
    """Raises UserError if checkpoint `step` is damaged."""
    path = checkpoint_path(directory, step)
    try:
        problem = damage(path)
    except PermissionError as error:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror}") from None
    if problem:
        raise UserError(f"checkpoint {path} is damaged ({problem}): restore it, or take another")


@contextlib.contextmanager
def data_alone(checkpoint: Path) -> Iterator[None]:
    """Raises UserError if torch.load refuses a pickle in the block (see `qwen_shared`)."""
    try:
        yield
    except pickle.UnpicklingError:
        raise UserError(f"checkpoint {checkpoint} holds more than data, perhaps a program: it is not opened") from None


def _find_whole(directory: Path, before: int | None) -> int | str:
    """The newest undamaged step, 0 if there never was one, or a message that says why there is none."""
    damaged: dict[int, str] = {}
    for step in reversed(list_checkpoints(directory)):
        if before is not None and step >= before:
            continue
        try:
            problem = damage(checkpoint_path(directory, step))
        except PermissionError as error:
            return f"{error.filename}: cannot be read: {error.strerror}"
        if problem is None:
            for other, reason in damaged.items():
                _set_aside(directory, other, reason, step)
            return step
        damaged[step] = problem
    # If all are damaged nothing is renamed: the next start must not begin a new run over them.
    if damaged:
        reasons = "; ".join(f"step {step}: {problem}" for step, problem in damaged.items())
        return f"{directory}: every checkpoint is damaged ({reasons}); restore one, or start another run with --run-dir"
    if before is None and any(directory.glob("damaged-*")):
        return f"{directory}: only damaged checkpoints are left; restore one, or start another run with --run-dir"
    return 0


def _set_aside(directory: Path, step: int, reason: str, whole: int) -> None:
    path, aside = checkpoint_path(directory, step), directory / f"damaged-{step:08d}"
    say(f"checkpoint {path} is damaged ({reason}): going back to step {whole}")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
