"""Where a model comes from: the checkpoints before it, first to last, and what each says of itself. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qwen_shared.errors import UserError
from qwen_shared.publish.licences import of_model
from qwen_shared.publish.subject import Subject
from qwen_shared.tracking import Manifest, Parent

_LONGEST = 32  # generations; a manifest may have been edited into a circle


@dataclass(frozen=True)
class Ancestor:
    name: str  # kind/name of a run, a name on the hub, or that of a directory
    step: int | None
    hash: str | None  # of the weights that were taken
    manifest: Manifest | None  # None: no run, or its directory is not there any more
    run_dir: Path | None
    on_hub: bool
    licence: str | None  # of a model from elsewhere

    def as_json(self) -> dict[str, object]:
        return {"name": self.name, "step": self.step, "hash": self.hash, "licence": self.licence}


def ancestors(subject: Subject) -> list[Ancestor]:
    """The chain of models that led to this one, oldest first; empty where it began from random weights."""
    found: list[Ancestor] = []
    parent = subject.manifest.parent
    while parent is not None and len(found) < _LONGEST:
        found.append(_ancestor(parent))
        parent = found[-1].manifest.parent if found[-1].manifest else None
    return found[::-1]


def _ancestor(parent: Parent) -> Ancestor:
    directory = Path(parent.run)
    if (directory / "manifest.json").is_file():
        try:
            manifest = Manifest.read(directory)
        except UserError:
            manifest = None
        if manifest:
            name = f"{manifest.kind}/{manifest.name}"
            return Ancestor(name, parent.step, parent.hash, manifest, directory, False, None)
    if directory.is_absolute():
        # Only the last parts: where somebody keeps his models is nobody's business.
        name = "/".join(directory.parts[-2:]) if parent.step else directory.name
        return Ancestor(name, parent.step, parent.hash, None, None, False, of_model(directory))
    return Ancestor(parent.run, parent.step, parent.hash, None, None, True, of_model(parent.run))
