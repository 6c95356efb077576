"""What a run came from: the chain of checkpoints behind it, kept in its manifest.

It is resolved once, when the run begins: a parent's directory may move or go, and what it was stays known.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from qwen_shared.errors import UserError
from qwen_shared.run.manifest import MANIFEST, Ancestor, Manifest, Parent
from qwen_shared.run.metrics_file import read_metrics


def ancestor(parent: Parent) -> Ancestor:
    """A checkpoint with what the manifest of its run says of it; of a model from elsewhere, with its name alone."""
    manifest = _manifest(parent)
    known = parent.model_dump(include=set(Parent.model_fields))
    if manifest is None:
        return Ancestor(**known, name=Path(parent.run).name)
    return Ancestor(
        **known,
        kind=manifest.kind,
        name=manifest.name,
        created=manifest.created,
        tokens=tokens_seen(Path(parent.run), manifest, parent.step),
        wandb_run_id=manifest.wandb_run_id,
        wandb_artifact=manifest.wandb_artifacts.get(parent.step),
    )


def lineage_of(parent: Parent | None) -> list[Ancestor]:
    """The parent, its parent, and so on to random weights or to a model from elsewhere."""
    chain: list[Ancestor] = []
    while parent is not None and parent.run not in [known.run for known in chain]:
        chain.append(ancestor(parent))
        manifest = _manifest(parent)
        if manifest is not None and manifest.lineage:
            return chain + manifest.lineage
        parent = manifest.parent if manifest else None
    return chain


def tokens_seen(run_dir: Path, manifest: Manifest, step: int | None) -> int | None:
    """Tokens that a run had seen by a step, its last where None; None where that was not counted."""
    lines = read_metrics(run_dir / "metrics.jsonl")
    is_last = step is None or not lines or lines[-1]["step"] <= step
    line = next((line for line in lines if line["step"] == step), {})
    return line.get("tokens", manifest.results.get("tokens") if is_last else None)


def family(manifest: Manifest) -> str:
    """The name of the model that all began with: one for a base model and for whatever was made of it."""
    return manifest.lineage[-1].name if manifest.lineage else manifest.name


def _manifest(parent: Parent) -> Manifest | None:
    directory = Path(parent.run)
    with contextlib.suppress(UserError):  # damaged: as if it told nothing
        if (directory / MANIFEST).is_file():
            return Manifest.read(directory)
    return None
