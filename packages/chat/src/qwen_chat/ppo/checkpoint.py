"""Checkpoints of PPO: engines and states in one directory with hashes, which appears whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Protocol

import torch

from qwen_chat.deepspeed_config import check_world_size
from qwen_chat.ppo.engine import Engine
from qwen_chat.ppo.recipe import PpoRecipe
from qwen_shared.errors import UserError
from qwen_shared.files import flush
from qwen_shared.job.frame import Run
from qwen_shared.run.integrity import data_alone, write_hashes
from qwen_shared.run.paths import checkpoint_path
from qwen_shared.run.saving import prune_checkpoints, refusing_disk, room_refusal, writing_path

_STATE, _WORLD_SIZE = "state.json", "world_size"


class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def save(run: Run[PpoRecipe], step: int, engines: list[Engine], states: dict[str, Stateful]) -> None:
    """A collective call. Deletes the checkpoints that the recipe does not keep. Raises UserError if the
    disk refuses.
    """
    directory = run.checkpoints
    target, temporary = checkpoint_path(directory, step), writing_path(directory, step)
    if run.rank == 0 and (refusal := room_refusal(directory, step)):
        raise UserError(refusal)
    with refusing_disk(directory, temporary, step):
        _write(temporary, engines, states, run)
        if run.rank != 0:
            return
        write_hashes(temporary)
        temporary.replace(target)
        flush(directory)
    prune_checkpoints(directory, run.recipe.checkpoint)


def _write(temporary: Path, engines: list[Engine], states: dict[str, Stateful], run: Run) -> None:
    if run.rank == 0:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    _wait()
    for engine in engines:
        engine.save(temporary)
    _wait()
    if run.rank == 0:
        state = {name: part.state_dict() for name, part in states.items()} | {_WORLD_SIZE: run.world_size}
        (temporary / _STATE).write_text(json.dumps(state, indent=2) + "\n")


def load(directory: Path, step: int, engines: list[Engine], states: dict[str, Stateful], world_size: int) -> None:
    """Raises UserError if the files hold more than data, or if they are sharded for another number of processes."""
    source = checkpoint_path(directory, step)
    state = json.loads((source / _STATE).read_text())
    if any(engine.sharded for engine in engines):
        check_world_size(source, state.get(_WORLD_SIZE, world_size), world_size)
    with data_alone(source):
        for engine in engines:
            engine.load(source)
    for name, part in states.items():
        part.load_state_dict(state[name])


def _wait() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
