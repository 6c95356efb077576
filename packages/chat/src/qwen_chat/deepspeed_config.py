"""DeepSpeed's settings: a file says how memory is sharded, the recipe the rest. No torch."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_shared.errors import UserError
from qwen_shared.recipe import nearest

if TYPE_CHECKING:
    from qwen_shared.backend import Processes

CONFIGS = Path(__file__).parents[2] / "recipes" / "deepspeed"

# Keys that the recipe sets.
_OF_THE_RECIPE = {
    "train_batch_size": "training.global_batch_size",
    "train_micro_batch_size_per_gpu": "training.micro_batch_size",
    "gradient_accumulation_steps": "training.global_batch_size",
    "gradient_clipping": "optimizer.clip_grad",
    "optimizer": "optimizer",
    "scheduler": "schedule",
    "bf16": "training.precision",
    "fp16": "training.precision",
}


def check_name(name: str) -> None:
    """Raises ValueError unless `name` is a configuration here or a readable JSON file."""
    _read(name)


def load_config(
    name: str, micro_batch_size: int, accumulation: int, clip_grad: float, precision: str
) -> dict[str, Any]:
    """The file's settings and the recipe's. Raises UserError for unknown names, unreadable files and keys of the
    recipe.
    """
    try:
        config = _read(name)
    except ValueError as error:
        raise UserError(f"deepspeed={name}: {error}") from None
    return config | {
        "train_micro_batch_size_per_gpu": micro_batch_size,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": clip_grad,
        "bf16": {"enabled": precision == "bf16"},
    }


def know_states() -> None:
    """Lets torch.load, which reads only data, build the classes in DeepSpeed's checkpoints."""
    import torch
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    torch.serialization.add_safe_globals([LossScaler, ZeroStageEnum, fragment_address])


def check_compiler() -> None:
    """Raises UserError without a C++ compiler, which DeepSpeed's CPU communication needs."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise UserError(
            f"deepspeed on CPUs needs a C++ compiler, and there is no {compiler}: install g++, or give deepspeed=null"
        )


def _read(name: str) -> dict[str, Any]:
    path = Path(name).expanduser() if name.endswith(".json") or "/" in name else CONFIGS / f"{name}.json"
    if not path.is_file():
        names = sorted(path.stem for path in CONFIGS.glob("*.json"))
        near = nearest(name, names)
        raise ValueError(
            f"no such file, and the names are {', '.join(names)}" + (f"; nearest: '{near}'" if near else "")
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read as JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"expected an object, found {type(config).__name__}")
    for key, ours in _OF_THE_RECIPE.items():
        if key in config:
            raise ValueError(f"'{key}' is set by the recipe's {ours}; remove it from the file")
    return config


def join_ranks(timeout: datetime.timedelta) -> Processes:
    """Join the other ranks as DeepSpeed expects it."""
    import torch

    from qwen_shared.backend import join_if_worker

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # otherwise it looks for a GPU's driver
    return join_if_worker(timeout)


def check_world_size(checkpoint: Path, before: int, now: int) -> None:
    """Raises UserError if DeepSpeed's files, one for each process, were written by another number of processes."""
    if before != now:
        raise UserError(
            f"{checkpoint} was written by {before} processes, and DeepSpeed's files are one for each: "
            f"start with --nproc {before}"
        )
