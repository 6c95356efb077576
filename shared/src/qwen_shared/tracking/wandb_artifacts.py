"""A run's model in W&B: what it began from as its input, what it made as its output. W&B draws the rest.

Only online: W&B takes no artifacts otherwise. Lineage is in the manifest and in the W&B config in any case.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

from qwen_shared.run.manifest import Manifest

TYPE = "model"
UPLOAD_BYTES = 2 << 30  # more than this is named by its checksums and stays where it is
UPLOAD_TIMEOUT_S = 1800

_NAME_LENGTH = 128  # W&B's limit
_log = logging.getLogger("qwen.wandb")


def artifact_name(manifest: Manifest) -> str:
    """`base-pretrain-tiny`: runs of one kind and name are versions of one artifact."""
    return re.sub(r"[^\w.-]", "-", f"{manifest.kind}-{manifest.name}", flags=re.ASCII)[:_NAME_LENGTH]


def use_models(run: Any, manifest: Manifest) -> None:
    """Tells W&B which models the run began from, those that are there. `run` is W&B's, online."""
    for parent in (*manifest.lineage[:1], manifest.reward_model):
        if parent is None or parent.wandb_artifact is None:
            continue
        try:
            run.use_artifact(parent.wandb_artifact, type=TYPE)
        except Exception as error:  # deleted there, or another team's: the run goes on without the line to it
            _log.warning(f"W&B artifact {parent.wandb_artifact} cannot be used: {error}")


def log_model(run: Any, manifest: Manifest, directory: Path, final: bool, upload: bool) -> tuple[int, str] | None:
    """Logs an export as the run's model. Returns its step and W&B's name for it, None where W&B does not take it.

    The final one is waited for. Without `upload`, or where it is large, W&B gets names and checksums of the files.
    """
    import wandb

    figures = manifest.results if final else {}
    parent = manifest.parent.model_dump() if manifest.parent else None
    try:
        step = json.loads((directory / "certificate.json").read_text(encoding="utf-8"))["step"]
        about = {"kind": manifest.kind, "name": manifest.name, "step": step, "parent": parent, "results": figures}
        aliases = ["latest", f"step-{step}", *(["final"] if final else [])]
        artifact = wandb.Artifact(artifact_name(manifest), type=TYPE, metadata=about)
        if upload and sum(path.stat().st_size for path in directory.iterdir()) <= UPLOAD_BYTES:
            # Not copied where it stays; on the way, the next export may take this one's place.
            artifact.add_dir(str(directory), skip_cache=True, policy="immutable" if final else "mutable")
        else:
            artifact.add_reference(directory.resolve().as_uri())
        artifact = run.log_artifact(artifact, aliases=aliases)
        if not final:
            return None
        artifact.wait(timeout=UPLOAD_TIMEOUT_S)
        return step, artifact.qualified_name
    except Exception as error:
        _log.warning(f"W&B does not take {directory} as an artifact: {error}")
        return None
