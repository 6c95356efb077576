"""A W&B artifact of type `model`, logged by the run that trained it, so that W&B draws its lineage."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from qwen_shared.errors import Stopped, UserError, first_line
from qwen_shared.publish.checkpoint import Checkpoint
from qwen_shared.publish.files import is_certificate
from qwen_shared.publish.target import refuse_newer
from qwen_shared.tracking.wandb_run import INIT_TIMEOUT_S, has_key

Place = tuple[str, str, str]  # entity, project, name


def check(place: Place, identity: dict[str, Any], replace: bool) -> None:
    """Raises UserError if there is no key, or if the latest version is of a newer checkpoint."""
    if not has_key():
        raise UserError(f"wandb://{'/'.join(place)}: no W&B key; `wandb login` keeps one, or set WANDB_API_KEY")
    import wandb

    try:
        latest = wandb.Api().artifact(f"{'/'.join(place)}:latest", type="model")
    except Exception:  # wandb has several errors for "there is none"; others show when the artifact is logged
        return
    old = latest.metadata if is_certificate(latest.metadata) else None
    refuse_newer(f"wandb://{'/'.join(place)}", old, identity, replace)


def upload(place: Place, directory: Path, checkpoint: Checkpoint, certificate: dict[str, Any]) -> str:
    """Log the directory and wait until it is there; returns its full name. W&B sends no file twice.

    Raises Stopped if that fails.
    """
    import wandb

    entity, project, name = place
    settings = wandb.Settings(silent=True, console="off", init_timeout=INIT_TIMEOUT_S, disable_git=True)
    run = None
    try:
        run = wandb.init(
            entity=entity,
            project=project,
            id=checkpoint.manifest.wandb_run_id,
            name=checkpoint.manifest.name,
            job_type=checkpoint.kind.name,
            dir=checkpoint.run_dir,
            resume="allow",
            mode="online",
            settings=settings,
        )
        artifact = wandb.Artifact(name, type="model", description=checkpoint.title, metadata=_metadata(certificate))
        artifact.add_dir(str(directory))
        logged = run.log_artifact(artifact, aliases=["latest", f"step-{checkpoint.step}"])
        logged.wait()
        run.finish()
    except Exception as error:
        if run is not None:
            with contextlib.suppress(Exception):
                run.finish()  # without a failure: the training did not fail
        reason = first_line(error)
        raise Stopped(
            f"wandb://{'/'.join(place)}: {reason}; what arrived is kept, and the same command continues"
        ) from error
    return f"{entity}/{project}/{logged.name}"


def _metadata(certificate: dict[str, Any]) -> dict[str, Any]:
    return {key: certificate[key] for key in ("run", "hash", "parity", "lineage")}
