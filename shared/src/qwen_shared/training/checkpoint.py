"""Checkpoints: what is in them, which to go on from, which to keep. `saving` writes them.

A directory `checkpoints/step-00000100` is either whole and hashed, or is not there. It is in the format of Megatron's
dist_checkpointing, which does not depend on the parallel layout.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.core import CheckpointingException
from megatron.core.dist_checkpointing.mapping import ShardedObject
from megatron.core.dist_checkpointing.validation import _verify_integrity_manifest_impl

from qwen_shared.backend import capture_rng, restore_rng
from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Checkpoint
from qwen_shared.tracking import say
from qwen_shared.training import torch_adam
from qwen_shared.training.engine import Engine
from qwen_shared.training.run_files import checkpoint_path, list_checkpoints

METADATA = {
    # Optimizer state in a form that any data-parallel size can read.
    "distrib_optim_sharding_type": "fully_reshardable",
    "distrib_optim_fully_reshardable_mem_efficient": False,
    "chained_optim_avoid_prefix": True,
    "singleton_local_shards": False,
}


def newest_whole_checkpoint(directory: Path) -> int:
    """Step of the newest checkpoint whose files have the hashes they were written with; 0 where there is none.

    A damaged one is set aside as `damaged-STEP` and said so. Raises UserError where all are damaged. All ranks call.
    """
    # Rank 0 looks and tells: whatever it meets, the others are not left waiting for it.
    found = [_find_whole(directory) if torch.distributed.get_rank() == 0 else None]
    torch.distributed.broadcast_object_list(found, src=0)
    if isinstance(found[0], str):
        raise UserError(found[0])
    return found[0]


def _find_whole(directory: Path) -> int | str:
    """The newest whole step, 0 where there never was a checkpoint; or, in words, why there is none to go on from."""
    damage: dict[int, str] = {}
    for step in reversed(list_checkpoints(directory)):
        try:
            problem = _damage(checkpoint_path(directory, step))
        except PermissionError as error:  # as whole as ever, for somebody else
            return f"{error.filename}: cannot be read: {error.strerror}"
        if problem is None:
            for damaged, words in damage.items():
                path = checkpoint_path(directory, damaged)
                say(f"checkpoint {path} is damaged ({words}): going back to step {step}")
                aside = directory / f"damaged-{damaged:08d}"
                shutil.rmtree(aside, ignore_errors=True)
                path.rename(aside)
            return step
        damage[step] = problem
    # Nothing is moved then: the same command must not begin anew the next time, over what is left.
    if damage:
        words = "; ".join(f"step {step}: {problem}" for step, problem in damage.items())
        return f"{directory}: every checkpoint is damaged ({words}); put one back, or start another run with --run-dir"
    if any(directory.glob("damaged-*")):
        return f"{directory}: only damaged checkpoints are left; put one back, or start another run with --run-dir"
    return 0


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint's files, None where they have their hashes. Raises PermissionError."""
    try:
        for file in path.iterdir():
            file.open("rb").close()
        _verify_integrity_manifest_impl(str(path))
    except PermissionError:
        raise
    except (CheckpointingException, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return str(error).strip().splitlines()[-1].strip().partition(" (")[0][:120]
    return None


def load_checkpoint(directory: Path, step: int, engine: Engine, random_states: bool = True) -> dict[str, Any]:
    """Load checkpoint `step` into the engine and the random states; returns its `progress`. All ranks call.

    Files are taken as they are: `newest_whole_checkpoint` has compared their hashes.
    """
    path = checkpoint_path(directory, step)
    state = dist_checkpointing.load(sharded_state(engine, is_loading=True, saved_ranks=_saved_ranks(path)), str(path))
    for i, piece in enumerate(engine.pieces):
        piece.module.load_state_dict(state[f"piece {i}"])
    engine.optimizer.load_state_dict(state["optimizer"])
    torch_adam.after_load(engine.optimizer)
    if random_states and "rng" in state:
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


def sharded_state(engine: Engine, is_loading: bool, saved_ranks: int | None = None) -> dict[str, Any]:
    """What this rank saves, or wants to load: model, optimizer and random states."""
    processes = engine.processes
    # What is stored goes by global names; in which piece of which stage a layer is does not matter.
    metadata = dict(METADATA)  # Megatron puts its process groups into it
    model = {f"piece {i}": piece.module.sharded_state_dict(metadata=metadata) for i, piece in enumerate(engine.pieces)}
    state = {
        **model,
        "optimizer": engine.optimizer.sharded_state_dict(model, is_loading=is_loading, metadata=metadata),
    }
    # Random states belong to ranks: another number of processes starts from its own seeds.
    if not is_loading or saved_ranks == processes.world_size:
        state["rng"] = ShardedObject("rng", capture_rng(), (processes.world_size,), (processes.rank,))
    return state


def _saved_ranks(path: Path) -> int:
    """How many processes wrote a checkpoint."""
    common = dist_checkpointing.load_common_state_dict(str(path))
    return common["progress"]["world_size"]
