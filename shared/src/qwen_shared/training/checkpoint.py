"""Checkpoints: a directory `checkpoints/step-00000100` is either whole and hashed, or is not there.

Written with Megatron's dist_checkpointing under a temporary name and renamed when every rank is done, so that a
kill at any moment leaves the previous checkpoint in force. The format does not depend on the parallel layout.
"""

from __future__ import annotations

import os
import queue
import shutil
from pathlib import Path
from typing import Any

import torch
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.core import CheckpointingException
from megatron.core.dist_checkpointing.mapping import ShardedObject
from megatron.core.dist_checkpointing.strategies import filesystem_async
from megatron.core.dist_checkpointing.validation import _verify_integrity_manifest_impl

from qwen_shared.backend import capture_rng, restore_rng
from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Checkpoint
from qwen_shared.tracking import say
from qwen_shared.training import torch_adam
from qwen_shared.training.engine import Engine
from qwen_shared.training.run_files import checkpoint_path, list_checkpoints

_FULL_BYTES = 1 << 20  # a file system with less left than this is full

_METADATA = {
    # Optimizer state in a form that any data-parallel size can read.
    "distrib_optim_sharding_type": "fully_reshardable",
    "distrib_optim_fully_reshardable_mem_efficient": False,
    "chained_optim_avoid_prefix": True,
    "singleton_local_shards": False,
}


def save_checkpoint(directory: Path, step: int, engine: Engine, progress: dict[str, Any]) -> Path:
    """Save model, optimizer, random states and `progress` (plain data, the same on every rank). All ranks call."""
    final = checkpoint_path(directory, step)
    temporary = directory / f"writing-{step:08d}"
    if engine.processes.rank == 0:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    torch.distributed.barrier()
    # The write happens in this process: its results need no manager process, which a kill would leave behind.
    filesystem_async._results_queue = queue.Queue()
    try:
        dist_checkpointing.save(
            {**_sharded_state(engine, is_loading=False), "progress": progress},
            str(temporary),
            content_metadata=_METADATA,
            verify_integrity=True,
        )
    except Exception as error:
        full = shutil.disk_usage(directory).free < _FULL_BYTES
        shutil.rmtree(temporary, ignore_errors=True)
        if full:
            raise UserError(
                f"{directory}: the disk is full, step {step} is not saved; make room, and the same command goes on "
                "from the checkpoint before"
            ) from error
        raise
    torch.distributed.barrier()
    if engine.processes.rank == 0:
        for path in temporary.iterdir():
            _fsync(path)
        _fsync(temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.replace(final)
        _fsync(directory)
    torch.distributed.barrier()
    return final


def newest_whole_checkpoint(directory: Path) -> int:
    """Step of the newest checkpoint whose files have the hashes they were written with; 0 where there is none.

    A damaged one is set aside as `damaged-STEP` and said so. Raises UserError where all are damaged. All ranks call.
    """
    # Rank 0 looks and tells: whatever it meets, the others are not left waiting for it.
    found = [_find_whole(directory) if torch.distributed.get_rank() == 0 else None]
    torch.distributed.broadcast_object_list(found, src=0)
    if found[0] is None:
        raise UserError(f"{directory}: every checkpoint is damaged; delete the run, or start another with --run-dir")
    return found[0]


def _find_whole(directory: Path) -> int | None:
    """The newest whole step, 0 where there are no checkpoints, None where all are damaged."""
    saved = list_checkpoints(directory)
    for step in reversed(saved):
        path = checkpoint_path(directory, step)
        try:
            _verify_integrity_manifest_impl(str(path))
            return step
        except (CheckpointingException, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            say(f"checkpoint {path} is damaged ({' '.join(str(error).split())[:120]}): going back to the one before")
            aside = directory / f"damaged-{step:08d}"
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
    return None if saved else 0


def load_checkpoint(directory: Path, step: int, engine: Engine) -> dict[str, Any]:
    """Load checkpoint `step` into the engine and the random states; returns its `progress`. All ranks call.

    Files are taken as they are: `newest_whole_checkpoint` has compared their hashes.
    """
    path = checkpoint_path(directory, step)
    state = dist_checkpointing.load(_sharded_state(engine, is_loading=True, saved_ranks=_saved_ranks(path)), str(path))
    engine.model.module.load_state_dict(state["model"])
    engine.optimizer.load_state_dict(state["optimizer"])
    torch_adam.after_load(engine.optimizer)
    if "rng" in state:
        restore_rng(state["rng"])
    return state["progress"]


def prune_checkpoints(directory: Path, settings: Checkpoint) -> None:
    """Delete all but the last `keep_last` and those at multiples of `keep_every`; and what a kill left half-written."""
    for path in (*directory.glob("writing-*"), *directory.glob("deleting-*")):
        shutil.rmtree(path, ignore_errors=True)
    for step in list_checkpoints(directory)[: -settings.keep_last]:
        if settings.keep_every and step % settings.keep_every == 0:
            continue
        path = checkpoint_path(directory, step)
        # Renamed first: a kill amid the deletion must not leave a checkpoint that lacks files.
        path = path.rename(directory / f"deleting-{step:08d}")
        shutil.rmtree(path, ignore_errors=True)


def _sharded_state(engine: Engine, is_loading: bool, saved_ranks: int | None = None) -> dict[str, Any]:
    processes = engine.processes
    model = engine.model.module.sharded_state_dict(metadata=_METADATA)
    state = {
        "model": model,
        "optimizer": engine.optimizer.sharded_state_dict(model, is_loading=is_loading, metadata=_METADATA),
    }
    # Random states belong to ranks: another number of processes starts from its own seeds.
    if not is_loading or saved_ranks == processes.world_size:
        state["rng"] = ShardedObject("rng", capture_rng(), (processes.world_size,), (processes.rank,))
    return state


def _saved_ranks(path: Path) -> int:
    """How many processes wrote a checkpoint."""
    common = dist_checkpointing.load_common_state_dict(str(path))
    return common["progress"]["world_size"]


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
