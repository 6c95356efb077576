"""The engine's checkpoints: what is in them, and how a run goes on from one. `saving` writes them.

A directory `checkpoints/step-00000100` is either whole and hashed, or is not there. It is in the format of Megatron's
dist_checkpointing, which does not depend on the parallel layout.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.mapping import ShardedObject
from torch.distributed.checkpoint.api import CheckpointException

from qwen_shared.backend import capture_rng, restore_rng
from qwen_shared.convert.checkpoint import check_index
from qwen_shared.errors import UserError
from qwen_shared.run.integrity import data_alone, newest_whole_checkpoint
from qwen_shared.run.paths import checkpoint_path, list_checkpoints
from qwen_shared.run.saving import delete_checkpoint
from qwen_shared.training.engine import Engine
from qwen_shared.training.optimizer import after_load

METADATA = {
    # Optimizer state in a form that any data-parallel size can read.
    "distrib_optim_sharding_type": "fully_reshardable",
    "distrib_optim_fully_reshardable_mem_efficient": False,
    "chained_optim_avoid_prefix": True,
    "singleton_local_shards": False,
}


def load_checkpoint(directory: Path, step: int, engine: Engine, random_states: bool = True) -> dict[str, Any]:
    """Load checkpoint `step` into the engine and the random states; returns its `progress`. All ranks call.

    Does not compare hashes: `integrity.newest_whole_checkpoint` did. Raises UserError if files hold more than data.
    """
    path = checkpoint_path(directory, step)
    check_index(path)
    with data_alone(path), _own_failures():
        wanted = sharded_state(engine, is_loading=True, saved_ranks=_saved_ranks(path))
        state = dist_checkpointing.load(wanted, str(path))
    for i, chunk in enumerate(engine.model_chunks):
        chunk.module.load_state_dict(state[f"chunk {i}"])
    engine.optimizer.load_state_dict(state["optimizer"])
    after_load(engine.optimizer)
    if random_states and "rng" in state:
        restore_rng(state["rng"])
    return state["progress"]


@contextlib.contextmanager
def _own_failures() -> Iterator[None]:
    """Inside, torch's wrapper of the ranks' errors is taken off an UnpicklingError."""
    try:
        yield
    except CheckpointException as error:
        for reason, _ in error.failures.values():
            if isinstance(reason, pickle.UnpicklingError):
                raise reason from None
        raise


def go_back(directory: Path, before: int, engine: Engine) -> dict[str, Any] | None:
    """Load the newest whole checkpoint of a step less than `before` and delete those after it; returns its `progress`.
    None if there is none; then nothing has changed. All ranks call."""
    try:
        step = newest_whole_checkpoint(directory, before)
    except UserError:  # damaged, all of them
        return None
    if not step:
        return None
    if engine.processes.rank == 0:
        for later in list_checkpoints(directory):
            if later > step:
                delete_checkpoint(directory, later)
    return load_checkpoint(directory, step, engine)


def sharded_state(engine: Engine, is_loading: bool, saved_ranks: int | None = None) -> dict[str, Any]:
    """This rank's model, optimizer and random states, to save or to load."""
    processes = engine.processes
    # What is stored goes by global names; in which chunk of which stage a layer is does not matter.
    metadata = dict(METADATA)  # Megatron puts its process groups into it
    model = {
        f"chunk {i}": chunk.module.sharded_state_dict(metadata=metadata) for i, chunk in enumerate(engine.model_chunks)
    }
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
