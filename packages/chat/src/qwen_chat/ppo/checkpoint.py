"""Everything that a run needs to go on exactly where it was, in one directory that is there whole or not at all, with
the hashes of its files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Protocol

import torch

from qwen_chat.ppo.engine import Engine
from qwen_chat.saving import refusing_disk, require_room
from qwen_shared.files import flush
from qwen_shared.recipe.schema import Checkpoint
from qwen_shared.run.integrity import data_alone, write_hashes
from qwen_shared.run.paths import checkpoint_path, list_checkpoints

_STATE = "state.json"


class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def save(
    directory: Path, step: int, engines: list[Engine], states: dict[str, Stateful], settings: Checkpoint, rank: int
) -> None:
    """Every rank calls this. Older checkpoints beyond those that `settings` keeps are deleted.

    Raises UserError where the disk does not allow it.
    """
    target = checkpoint_path(directory, step)
    temporary = directory / f".{target.name}.writing"
    if rank == 0:
        require_room(directory, step)
    with refusing_disk(directory, temporary, step):
        _write(temporary, engines, states, rank)
        if rank != 0:
            return
        write_hashes(temporary)
        temporary.replace(target)
        flush(directory)
    _prune(directory, settings)


def _write(temporary: Path, engines: list[Engine], states: dict[str, Stateful], rank: int) -> None:
    if rank == 0:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    _wait()
    for engine in engines:
        engine.save(temporary)
    _wait()
    if rank == 0:
        state = {name: part.state_dict() for name, part in states.items()}
        (temporary / _STATE).write_text(json.dumps(state, indent=2) + "\n")


def _prune(directory: Path, settings: Checkpoint) -> None:
    for path in directory.glob("deleting-*"):
        shutil.rmtree(path, ignore_errors=True)
    for old in list_checkpoints(directory)[: -settings.keep_last]:
        if not (settings.keep_every and old % settings.keep_every == 0):
            # Renamed first: a kill amid the deletion must not leave a checkpoint that lacks files.
            path = checkpoint_path(directory, old).rename(directory / f"deleting-{old:08d}")
            shutil.rmtree(path, ignore_errors=True)


def load(directory: Path, step: int, engines: list[Engine], states: dict[str, Stateful]) -> None:
    """Raises UserError where the engines' files hold more than data."""
    source = checkpoint_path(directory, step)
    with data_alone(source):
        for engine in engines:
            engine.load(source)
    state = json.loads((source / _STATE).read_text())
    for name, part in states.items():
        part.load_state_dict(state[name])


def _wait() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
