"""Which model a reading verb looks at: a run's, one of its checkpoints', or a Hugging Face directory."""

from __future__ import annotations

from pathlib import Path

from qwen_shared.errors import UserError
from qwen_shared.launch import Invocation
from qwen_shared.training.run_files import find_export


def step_of(invocation: Invocation) -> int | None:
    """The STEP of --from RUN@STEP; None for the last."""
    start = invocation.start or ""
    run, at, step = start.rpartition("@")
    if not at:
        return None
    if not step.isdigit() or int(step) < 1:
        raise UserError(f"--from {start}: '{step}' is not a step; write RUN@STEP, for example {run}@100")
    return int(step)


def hf_directory(invocation: Invocation) -> Path:
    """The model in Hugging Face form, exported first if need be."""
    run_dir, step = invocation.run_dir, step_of(invocation)
    if invocation.start and not (run_dir / "recipe.yaml").is_file():
        return Path(invocation.start)
    found = find_export(run_dir, step)
    if found is not None:
        return found
    from qwen_shared.backend import start_processes, stop_processes
    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.training.export import export_directory, export_run

    start_processes()
    try:
        export_run(run_dir, invocation.recipe, step)
    finally:
        stop_processes()
    return export_directory(run_dir, step)
