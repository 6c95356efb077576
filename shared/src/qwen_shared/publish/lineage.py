"""Where a model comes from: the checkpoints before it, first to last, and what each says of itself. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qwen_shared.errors import UserError
from qwen_shared.publish.licences import of_model
from qwen_shared.publish.subject import Subject
from qwen_shared.run import Manifest
from qwen_shared.run.lineage import lineage_of
from qwen_shared.run.manifest import MANIFEST, Parent


@dataclass(frozen=True)
class Forebear:
    """An ancestor as others are to read of it."""

    name: str  # kind/name of a run, a name on the hub, or that of a directory
    step: int | None
    hash: str | None  # of the weights that were taken
    is_run: bool  # of this suite
    tokens: int | None  # that its run had seen by then, as far as that is known
    manifest: Manifest | None  # None: no run, or it is not there any more
    on_hub: bool
    licence: str | None  # of a model from elsewhere

    def as_json(self) -> dict[str, object]:
        return {"name": self.name, "step": self.step, "hash": self.hash, "licence": self.licence}


def forebears(subject: Subject) -> list[Forebear]:
    """The chain of models that led to this one, oldest first; empty where it began from random weights."""
    manifest = subject.manifest
    return [_forebear(ancestor) for ancestor in reversed(manifest.lineage or lineage_of(manifest.parent))]


def judge(subject: Subject) -> Forebear | None:
    """The reward model that taught it, where one did."""
    return _forebear(subject.manifest.reward_model) if subject.manifest.reward_model else None


def _forebear(ancestor: Parent) -> Forebear:
    directory, manifest = Path(ancestor.run), None
    if ancestor.kind:
        name = f"{ancestor.kind}/{ancestor.name}"
        if (directory / MANIFEST).is_file():
            try:
                manifest = Manifest.read(directory)
            except UserError:  # damaged: as if it told nothing
                manifest = None
        if manifest and ancestor.created not in (None, manifest.created):
            manifest = None  # another run has its place
        return Forebear(name, ancestor.step, ancestor.hash, True, ancestor.tokens, manifest, False, None)
    if directory.is_absolute():
        # Only the last parts: where somebody keeps his models is nobody's business.
        name = "/".join(directory.parts[-2:]) if ancestor.step else directory.name
        return Forebear(name, ancestor.step, ancestor.hash, False, None, None, False, of_model(directory))
    return Forebear(ancestor.run, ancestor.step, ancestor.hash, False, None, None, True, of_model(ancestor.run))
