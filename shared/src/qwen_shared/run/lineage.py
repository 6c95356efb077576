"""The chain of checkpoints that a run came from, resolved once when it begins: a parent's directory may vanish."""

from __future__ import annotations

import contextlib
from pathlib import Path

from qwen_shared.errors import UserError
from qwen_shared.run.manifest import MANIFEST, Manifest, Parent
from qwen_shared.run.metrics_file import read_metrics


def describe_parent(run: str, step: int | None = None, hash: str | None = None) -> Parent:
    """With facts from the run's manifest; a model that is not a run has only a name."""
    manifest = _manifest(run)
    if manifest is None:
        return Parent(run=run, step=step, hash=hash, name=Path(run).name)
    return Parent(
        run=run,
        step=step,
        hash=hash,
        kind=manifest.kind,
        name=manifest.name,
        created=manifest.created,
        tokens=tokens_seen(Path(run), manifest, step),
        wandb_run_id=manifest.wandb_run_id,
        wandb_artifact=manifest.wandb_artifacts.get(step) if step is not None else None,
    )


def lineage_of(parent: Parent | None) -> list[Parent]:
    """The parent, its parent, …"""
    chain: list[Parent] = []
    while parent is not None and parent.run not in [known.run for known in chain]:
        chain.append(describe_parent(parent.run, parent.step, parent.hash))
        manifest = _manifest(parent.run)
        if manifest is not None and manifest.lineage:
            return chain + manifest.lineage
        parent = manifest.parent if manifest else None
    return chain


def tokens_seen(run_dir: Path, manifest: Manifest, step: int | None) -> int | None:
    """By `step` (default: the last); None if they were not counted."""
    lines = read_metrics(run_dir / "metrics.jsonl")
    is_last = step is None or not lines or lines[-1]["step"] <= step
    line = next((line for line in lines if line["step"] == step), {})
    return line.get("tokens", manifest.results.get("tokens") if is_last else None)


def family(manifest: Manifest) -> str:
    """The first ancestor's name, which all its descendants share."""
    return manifest.lineage[-1].name if manifest.lineage else manifest.name


def _manifest(run: str) -> Manifest | None:
    directory = Path(run)
    with contextlib.suppress(UserError):  # damaged
        if (directory / MANIFEST).is_file():
            return Manifest.read(directory)
    return None
