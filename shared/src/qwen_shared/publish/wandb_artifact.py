"""An artifact of type `model` in W&B, logged by the run that trained it: W&B then draws where it comes from."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from qwen_shared.errors import Stopped, UserError, first_line
from qwen_shared.publish.files import is_certificate
from qwen_shared.publish.subject import Subject
from qwen_shared.publish.target import refuse_newer
from qwen_shared.tracking.wandb_run import INIT_TIMEOUT_S, has_key

Place = tuple[str, str, str]  # entity, project, name


def look(place: Place, ours: dict[str, Any], replace: bool) -> None:
    """Raises UserError where nothing can be logged, and where the newest version there is newer."""
    if not has_key():
        raise UserError(f"wandb://{'/'.join(place)}: no W&B key; `wandb login` keeps one, or set WANDB_API_KEY")
    import wandb

    try:
        newest = wandb.Api().artifact(f"{'/'.join(place)}:latest", type="model")
    except Exception:  # wandb has several errors for "there is none"; others show when the artifact is logged
        return
    theirs = newest.metadata if is_certificate(newest.metadata) else None
    refuse_newer(f"wandb://{'/'.join(place)}", theirs, ours, replace)


def upload(place: Place, directory: Path, subject: Subject, certificate: dict[str, Any]) -> str:
    """Log the directory and wait until it is there; returns its full name. W&B sends no file twice.

    Raises Stopped where that does not end well.
    """
    import wandb

    entity, project, name = place
    settings = wandb.Settings(silent=True, console="off", init_timeout=INIT_TIMEOUT_S, disable_git=True)
    run = None
    try:
        run = wandb.init(
            entity=entity,
            project=project,
            id=subject.manifest.wandb_run_id,
            name=subject.manifest.name,
            job_type=subject.kind,
            dir=subject.run_dir,
            resume="allow",
            mode="online",
            settings=settings,
        )
        artifact = wandb.Artifact(name, type="model", description=subject.title, metadata=_metadata(certificate))
        artifact.add_dir(str(directory))
        logged = run.log_artifact(artifact, aliases=["latest", f"step-{subject.step}"])
        logged.wait()
        run.finish()
    except Exception as error:
        with contextlib.suppress(Exception):
            run.finish()  # the training that it tells of did not fail
        reason = first_line(error)
        raise Stopped(
            f"wandb://{'/'.join(place)}: {reason}; what arrived is kept, and the same command goes on"
        ) from error
    return f"{entity}/{project}/{logged.name}"


def _metadata(certificate: dict[str, Any]) -> dict[str, Any]:
    return {key: certificate[key] for key in ("run", "hash", "parity", "lineage")}
