"""The model that a verb reads: a run's, one of its checkpoints, or one from Hugging Face."""

from __future__ import annotations

from pathlib import Path

from qwen_shared.cli.verb import Invocation
from qwen_shared.job import parent as job_parent


def step_of(invocation: Invocation) -> int | None:
    """STEP of --from RUN@STEP; None for the last checkpoint."""
    return job_parent.split_step(invocation.from_model)[1] if invocation.from_model else None


def is_run(invocation: Invocation) -> bool:
    named = invocation.from_model
    return not named or (Path(job_parent.split_step(named)[0]) / "recipe.yaml").is_file()


def hf_directory(invocation: Invocation) -> Path:
    """Exports or downloads the model first if needed."""
    if invocation.from_model and not is_run(invocation):
        return job_parent.hf_directory(invocation.from_model)
    return job_parent.exported(invocation.run_dir, step_of(invocation))
