"""Everything that a run needs to go on exactly where it was, in one directory that is there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Protocol

import torch

from qwen_chat.engine import Engine
from qwen_shared.recipe.schema import Checkpoint
from qwen_shared.training.run_files import checkpoint_path, list_checkpoints

_STATE = "state.json"


class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def save(
    directory: Path, step: int, engines: list[Engine], states: dict[str, Stateful], settings: Checkpoint, rank: int
) -> None:
    """Every rank calls this. Older checkpoints beyond those that `settings` keeps are deleted."""
    target = checkpoint_path(directory, step)
    temporary = directory / f".{target.name}.writing"
    if rank == 0:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    _wait()
    for engine in engines:
        engine.save(temporary)
    _wait()
    if rank != 0:
        return
    state = {name: part.state_dict() for name, part in states.items()}
    (temporary / _STATE).write_text(json.dumps(state, indent=2) + "\n")
    for path in [*temporary.rglob("*"), temporary]:
        _flush(path)
    temporary.replace(target)
    _flush(directory)
    for old in list_checkpoints(directory)[: -settings.keep_last]:
        if not (settings.keep_every and old % settings.keep_every == 0):
            shutil.rmtree(checkpoint_path(directory, old))


def load(directory: Path, step: int, engines: list[Engine], states: dict[str, Stateful]) -> None:
    source = checkpoint_path(directory, step)
    for engine in engines:
        engine.load(source)
    state = json.loads((source / _STATE).read_text())
    for name, part in states.items():
        part.load_state_dict(state[name])


def _wait() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def _flush(path: Path) -> None:
    """To the disk, before a rename says that it is there."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
