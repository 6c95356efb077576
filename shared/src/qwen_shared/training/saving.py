"""Writes checkpoints in a thread while training goes on.

The state is copied first, between two steps: Megatron copies parameters, which are parts of larger buffers, moves GPU
tensors to the CPU, and gathers the optimizer's state anew. A checkpoint is written under a
temporary name and renamed when every rank is done, so a kill at any moment leaves the last checkpoint valid.
"""

from __future__ import annotations

import queue
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.strategies import filesystem_async
from megatron.core.dist_checkpointing.strategies.async_utils import AsyncRequest

from qwen_shared import faults
from qwen_shared.errors import UserError
from qwen_shared.files import flush
from qwen_shared.run.paths import checkpoint_path
from qwen_shared.run.saving import refusing_disk, room_refusal, writing_path
from qwen_shared.training.checkpoint import METADATA, sharded_state
from qwen_shared.training.engine import Engine


@dataclass
class _Writing:
    step: int
    temporary: Path
    request: AsyncRequest
    thread: threading.Thread


class Saver:
    """Saves an engine's checkpoints, one at a time. All ranks call every method."""

    def __init__(self, directory: Path, engine: Engine):
        self._directory, self._engine = directory, engine
        self._is_first = engine.processes.rank == 0
        self._writing: _Writing | None = None

    def check_room(self, step: int) -> None:
        """Raises UserError on every rank if the disk has no room for the checkpoint of `step`."""
        size = self._engine.checkpoint_bytes
        refusal = [room_refusal(self._directory, step, size) if self._is_first else None]
        if self._engine.layout.world_size > 1:
            torch.distributed.broadcast_object_list(refusal, src=0)
        if refusal[0]:
            raise UserError(refusal[0])

    def begin(self, step: int, progress: dict[str, Any]) -> None:
        """Starts saving model, optimizer, random states and `progress` (plain data, the same on every rank). Raises
        UserError if the disk does not allow it."""
        assert self._writing is None, "finish the last checkpoint first"
        self.check_room(step)
        temporary = writing_path(self._directory, step)
        with refusing_disk(self._directory, temporary, step):
            if self._is_first:
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
            torch.distributed.barrier()
            faults.reach("checkpointing", step)
            # Megatron's default is a queue in a manager process, which a kill would leave behind.
            filesystem_async._results_queue = queue.Queue()
            request = dist_checkpointing.save(
                {**sharded_state(self._engine, is_loading=False), "progress": progress},
                str(temporary),
                async_sharded_save=True,
                async_strategy="mcore",
                content_metadata=dict(METADATA),
                verify_integrity=True,
            )
        thread = threading.Thread(target=request.async_fn or (lambda: None), args=_arguments(request), daemon=True)
        self._writing = _Writing(step, temporary, request, thread)
        thread.start()

    def finish(self, wait: bool) -> int | None:
        """The step of a checkpoint that is now complete, else None; with `wait`, completes the one being written.
        Raises UserError if the disk did not allow it."""
        writing = self._writing
        if writing is None:
            return None
        if wait:
            writing.thread.join()
        elif not self._all_agree(not writing.thread.is_alive()):
            return None
        self._writing = None
        final = checkpoint_path(self._directory, writing.step)
        with refusing_disk(self._directory, writing.temporary, writing.step):
            torch.distributed.barrier()
            for finalize in writing.request.finalize_fns:  # gathers results or errors; hashes the files
                finalize()
            if self._is_first:
                for path in writing.temporary.iterdir():
                    flush(path)
                flush(writing.temporary)
                shutil.rmtree(final, ignore_errors=True)
                writing.temporary.replace(final)
                flush(self._directory)
            torch.distributed.barrier()
        return writing.step

    def _all_agree(self, ready: bool) -> bool:
        if self._engine.layout.world_size == 1:
            return ready
        votes = torch.tensor(int(ready))
        torch.distributed.all_reduce(votes, op=torch.distributed.ReduceOp.MIN)
        return bool(votes)


def save_checkpoint(directory: Path, step: int, engine: Engine, progress: dict[str, Any]) -> None:
    """Saves and waits. All ranks call this."""
    saver = Saver(directory, engine)
    saver.begin(step, progress)
    saver.finish(wait=True)


def _arguments(request: AsyncRequest) -> tuple:
    """Arguments of `async_fn`, with GPU tensors moved to the CPU; () on a rank that writes nothing."""
    if request.async_fn is None:
        return ()
    rank, _, results = request.async_fn_args
    return rank, request.preload_fn(), results
