"""A run's Megatron checkpoint to its `export/`, in this process if it is the only one, else in a process of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from qwen_shared import faults
from qwen_shared.convert.export import export_checkpoint
from qwen_shared.errors import UserError
from qwen_shared.files import disk_problem, room_problem
from qwen_shared.job.own_process import in_own_process
from qwen_shared.model.sizes import pad_vocab_size, parameter_count
from qwen_shared.recipe import Recipe, TrainedModel
from qwen_shared.run.manifest import read_recipe
from qwen_shared.run.paths import checkpoint_path, export_directory, list_checkpoints
from qwen_shared.tokenizer import load_tokenizer


def export_run(
    run_dir: Path, recipe: Recipe | TrainedModel, step: int | None = None, target: Path | None = None
) -> dict:
    """Export checkpoint `step` (default: the last) to `target` (default: `export_directory`); returns the certificate.

    Raises UserError if there is no such checkpoint or the disk refuses, RuntimeError if the proof fails.
    """
    saved = list_checkpoints(run_dir / "checkpoints")
    if not saved:
        raise UserError(f"{run_dir}: no checkpoint to export yet")
    if step is not None and step not in saved:
        raise UserError(f"{run_dir}: no checkpoint of step {step}; there are {', '.join(map(str, saved))}")
    target = target or export_directory(run_dir, step)
    step = step or saved[-1]
    faults.reach("export", step)
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        in_own_process(export_step, run_dir, step, target)
        return json.loads((target / "certificate.json").read_text())
    tokenizer = load_tokenizer(recipe.tokenizer)
    rows = pad_vocab_size(recipe.model, tokenizer.vocab_size, tensor_parallel=1)
    if problem := room_problem(target, 2 * parameter_count(recipe.model, rows)):  # twice that in fp32
        raise UserError(_refusal(target, step, problem))
    try:
        return export_checkpoint(
            checkpoint_path(run_dir / "checkpoints", step),
            target,
            recipe.model,
            rows,
            recipe.data.seq_length,
            tokenizer,
            step,
        )
    except Exception as error:
        problem = disk_problem(error, target.parent)
        shutil.rmtree(target.with_name(f".{target.name}.writing"), ignore_errors=True)
        if problem is None:
            raise
        raise UserError(_refusal(target, step, problem)) from error


def export_step(run_dir: str, step: str, target: str) -> None:
    """`export_run` for `in_own_process`."""
    export_run(Path(run_dir), read_recipe(Path(run_dir), TrainedModel), int(step), Path(target))


def _refusal(target: Path, step: int, problem: str) -> str:
    return f"{target}: step {step} cannot be exported: {problem}; mend that, and the same command exports it"
