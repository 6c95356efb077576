"""A run's parent and exports as W&B artifacts. Only online."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

from qwen_shared.run.manifest import Manifest

TYPE = "model"
UPLOAD_BYTES = 2 << 30  # larger exports are logged as checksums
UPLOAD_TIMEOUT_S = 1800

_NAME_LENGTH = 128  # W&B's limit
_log = logging.getLogger("qwen.wandb")


def artifact_name(manifest: Manifest) -> str:
    """Runs of one kind and name are versions of one artifact, KIND-NAME."""
    return re.sub(r"[^\w.-]", "-", f"{manifest.kind}-{manifest.name}", flags=re.ASCII)[:_NAME_LENGTH]


def use_models(run: Any, manifest: Manifest) -> None:
    """Declares parent and reward model as inputs, if W&B has them."""
    for parent in (*manifest.lineage[:1], manifest.reward_model):
        if parent is None or parent.wandb_artifact is None:
            continue
        try:
            run.use_artifact(parent.wandb_artifact, type=TYPE)
        except Exception as error:  # deleted, or another team's
            _log.warning(f"W&B artifact {parent.wandb_artifact} cannot be used: {error}")


def log_model(run: Any, manifest: Manifest, directory: Path, final: bool, upload: bool) -> tuple[int, str] | None:
    """Logs an export; for the final one, waits and returns its step and its name in W&B, None on failure.

    Without `upload`, or if it is large, W&B gets only names and checksums.
    """
    import wandb

    parent = manifest.parent.model_dump() if manifest.parent else None
    try:
        step = json.loads((directory / "certificate.json").read_text(encoding="utf-8"))["step"]
        results = manifest.results if final else {}
        about = {"kind": manifest.kind, "name": manifest.name, "step": step, "parent": parent, "results": results}
        aliases = ["latest", f"step-{step}", *(["final"] if final else [])]
        artifact = wandb.Artifact(artifact_name(manifest), type=TYPE, metadata=about)
        if upload and sum(path.stat().st_size for path in directory.iterdir()) <= UPLOAD_BYTES:
            # mutable: W&B copies files that the next export may replace
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
