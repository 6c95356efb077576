"""A run's checkpoint to its `export/`: in this process where it is the only one, else in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from qwen_shared.convert.export import export_checkpoint
from qwen_shared.errors import UserError
from qwen_shared.model.sizes import padded_vocab_rows
from qwen_shared.recipe import PretrainRecipe
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.training.run_files import checkpoint_path, export_directory, list_checkpoints


def export_run(run_dir: Path, recipe: PretrainRecipe, step: int | None = None, target: Path | None = None) -> dict:
    """Export checkpoint `step` (default: the last) to `target` (default: `export_directory`); returns the certificate.

    Raises UserError where there is no such checkpoint, RuntimeError where the proof fails.
    """
    saved = list_checkpoints(run_dir / "checkpoints")
    if not saved:
        raise UserError(f"{run_dir}: no checkpoint to export yet")
    if step is not None and step not in saved:
        raise UserError(f"{run_dir}: no checkpoint of step {step}; there are {', '.join(map(str, saved))}")
    target = target or export_directory(run_dir, step)
    step = step or saved[-1]
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        return _in_own_process(run_dir, step, target)
    tokenizer = load_tokenizer(recipe.tokenizer)
    return export_checkpoint(
        checkpoint_path(run_dir / "checkpoints", step),
        target,
        recipe.model,
        padded_vocab_rows(recipe.model, tokenizer.vocab_size, tensor_parallel=1),
        recipe.data.seq_length,
        tokenizer,
        step,
    )


def _in_own_process(run_dir: Path, step: int, target: Path) -> dict:
    """Megatron's groups of this run are for many processes; the export wants one. It runs on the CPU."""
    ours = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    environment = {key: value for key, value in os.environ.items() if key not in ours} | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-m", "qwen_shared.training.export_process", str(run_dir), str(step), str(target)],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"export failed: {done.stderr.strip()[-2000:]}")
    return json.loads((target / "certificate.json").read_text())
