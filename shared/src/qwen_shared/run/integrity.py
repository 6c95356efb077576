"""Checkpoints that are what was written: hashes beside the files, and which checkpoint of a run is whole.

Of every kind, whatever trained it; torch is needed only to tell the other ranks. The format is that of Megatron's
`integrity.json`, with paths relative to the checkpoint's directory.
"""

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
    """Hash every file under a checkpoint's directory into its `integrity.json`; all of it is on the disk afterwards."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != HASHES)
    hashes = {str(path.relative_to(directory)): _hash(path) for path in files}
    text = json.dumps({"algorithm": "sha256", "files": hashes}, indent=2) + "\n"
    (directory / HASHES).write_text(text, encoding="utf-8")
    for path in [*directory.rglob("*"), directory]:
        flush(path)


def damage(directory: Path) -> str | None:
    """What is wrong with a checkpoint's files, in a few words; None where they have their hashes.

    Raises PermissionError: what may not be read is as whole as ever, for somebody else.
    """
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
    """Step of the newest checkpoint (of a step less than `before`) whose files have the hashes they were written with;
    0 where there is none.

    A damaged one is set aside as `damaged-STEP` and said so. Raises UserError where all are damaged. All ranks call.
    """
    import torch

    # Rank 0 looks and tells: whatever it meets, the others are not left waiting for it.
    several = torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
    looks = not several or torch.distributed.get_rank() == 0
    told = [_find_whole(directory, before) if looks else None]
    if several:
        torch.distributed.broadcast_object_list(told, src=0)
    found = told[0]
    if isinstance(found, str):
        raise UserError(found)
    return found


def require_whole(directory: Path, step: int) -> None:
    """Raises UserError where the files of checkpoint `step` are not as they were written."""
    path = checkpoint_path(directory, step)
    try:
        problem = damage(path)
    except PermissionError as error:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror}") from None
    if problem:
        raise UserError(f"checkpoint {path} is damaged ({problem}): put it back, or take another")


@contextlib.contextmanager
def data_alone(checkpoint: Path) -> Iterator[None]:
    """Inside, a checkpoint is read. Raises UserError where it holds what torch.load does not read (`qwen_shared`)."""
    try:
        yield
    except pickle.UnpicklingError:
        raise UserError(f"checkpoint {checkpoint} holds more than data, perhaps a program: it is not opened") from None


def _find_whole(directory: Path, before: int | None) -> int | str:
    """The newest whole step, 0 where there never was a checkpoint; or, in words, why there is none to go on from."""
    damaged: dict[int, str] = {}
    for step in reversed(list_checkpoints(directory)):
        if before is not None and step >= before:
            continue
        try:
            problem = damage(checkpoint_path(directory, step))
        except PermissionError as error:
            return f"{error.filename}: cannot be read: {error.strerror}"
        if problem is None:
            for other, words in damaged.items():
                _set_aside(directory, other, words, step)
            return step
        damaged[step] = problem
    # Nothing is moved then: the same command must not begin anew the next time, over what is left.
    if damaged:
        words = "; ".join(f"step {step}: {problem}" for step, problem in damaged.items())
        return f"{directory}: every checkpoint is damaged ({words}); put one back, or start another run with --run-dir"
    if before is None and any(directory.glob("damaged-*")):
        return f"{directory}: only damaged checkpoints are left; put one back, or start another run with --run-dir"
    return 0


def _set_aside(directory: Path, step: int, words: str, whole: int) -> None:
    path, aside = checkpoint_path(directory, step), directory / f"damaged-{step:08d}"
    say(f"checkpoint {path} is damaged ({words}): going back to step {whole}")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
