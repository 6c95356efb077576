"""`qwen-base export`: a run's checkpoint in Hugging Face form, with the proof that it is the same model."""

from __future__ import annotations

from pathlib import Path

from qwen_shared.cli import Invocation
from qwen_shared.cli.model_argument import is_run, step_of
from qwen_shared.errors import UserError
from qwen_shared.run.integrity import require_whole
from qwen_shared.run.paths import export_directory, list_checkpoints


def main(invocation: Invocation) -> None:
    target = _target(invocation)
    checkpoints, step = invocation.run_dir / "checkpoints", step_of(invocation)
    saved = list_checkpoints(checkpoints)
    if (step or (saved and saved[-1])) in saved:  # `export_run` reports a step without a checkpoint
        require_whole(checkpoints, step or saved[-1])

    from qwen_shared.backend import start_processes, stop_processes
    from qwen_shared.backend.quick_import import quick_import
    from qwen_shared.log import say

    with quick_import():
        from qwen_shared.job.export import export_run

    start_processes()
    try:
        certificate = export_run(invocation.run_dir, invocation.recipe, step, target)
    finally:
        stop_processes()
    tensors, logits = certificate["tensors"], certificate["logits"]
    say(
        f"exported step {certificate['step']} to {target}: {tensors['compared']} tensors bit-equal, "
        f"logits of {logits['layers']} layers within {logits['max_difference']:.1e} of the Megatron model in fp32"
    )


def plan(invocation: Invocation) -> str:
    step = step_of(invocation)
    which = f"the checkpoint of step {step}" if step else "the last checkpoint"
    target = _target(invocation)
    return f"{invocation.command} would write {which} of {invocation.run_dir} to {target}, and prove it"


def _target(invocation: Invocation) -> Path:
    """The target. Raises UserError if it is not an export and would be replaced, and if there is no run."""
    if not is_run(invocation):
        raise UserError(f"--from {invocation.from_model}: not a run, and only runs are exported")
    target = invocation.options.to or export_directory(invocation.run_dir, step_of(invocation))
    if target.exists() and not (target / "certificate.json").is_file() and (target.is_file() or any(target.iterdir())):
        raise UserError(f"--to {target}: holds something that is not an export; give an empty or a new directory")
    return target
