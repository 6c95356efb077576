"""What a model is made of: the models before it and its data, with hashes and licences. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qwen_shared.errors import UserError
from qwen_shared.publish.checkpoint import Checkpoint
from qwen_shared.publish.licences import GENERATED, of_model, of_source
from qwen_shared.run import Manifest
from qwen_shared.run.lineage import lineage_of
from qwen_shared.run.manifest import MANIFEST, Parent


@dataclass(frozen=True)
class ParentRow:
    name: str  # kind/name of a run, a name on the hub, or a directory's name
    step: int | None
    hash: str | None  # of its weights
    is_run: bool  # of this suite
    tokens: int | None  # that its run had seen, if known
    manifest: Manifest | None  # None: not a run, or gone
    on_hub: bool
    licence: str | None  # of a model from elsewhere

    def as_json(self) -> dict[str, object]:
        return {"name": self.name, "step": self.step, "hash": self.hash, "licence": self.licence}


def parent_rows(checkpoint: Checkpoint) -> list[ParentRow]:
    """The models that led to this one, oldest first; empty if it began from random weights."""
    manifest = checkpoint.manifest
    return [_parent_row(parent) for parent in reversed(manifest.lineage or lineage_of(manifest.parent))]


def reward_model_row(checkpoint: Checkpoint) -> ParentRow | None:
    return _parent_row(checkpoint.manifest.reward_model) if checkpoint.manifest.reward_model else None


def _parent_row(parent: Parent) -> ParentRow:
    directory, manifest = Path(parent.run), None
    if parent.kind:
        name = f"{parent.kind}/{parent.name}"
        if (directory / MANIFEST).is_file():
            try:
                manifest = Manifest.read(directory)
            except UserError:  # damaged
                manifest = None
        if manifest and parent.created not in (None, manifest.created):
            manifest = None  # another run is in its place now
        return ParentRow(name, parent.step, parent.hash, True, parent.tokens, manifest, False, None)
    if directory.is_absolute():
        # The rest of the path is private.
        name = "/".join(directory.parts[-2:]) if parent.step else directory.name
        return ParentRow(name, parent.step, parent.hash, False, None, None, False, of_model(directory))
    return ParentRow(parent.run, parent.step, parent.hash, False, None, None, True, of_model(parent.run))


@dataclass(frozen=True)
class DataRow:
    name: str
    amount: str  # trained on, and held out
    sha256: str | None  # of the part trained on
    licence: str | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def data_rows(checkpoint: Checkpoint) -> list[DataRow]:
    """From the manifest, or from the recipe's sources if the manifest has none."""
    generated = checkpoint.kind.generated_sources
    recipe = checkpoint.recipe.get("data", {})
    sources = [s for key in ("sources", "pmp_sources") for s in recipe.get(key) or []]
    rows = []
    for entry in checkpoint.manifest.data:
        if "source" in entry:
            train, held_out = entry["train"], entry["validation"]
            amount = f"{train['documents']:,} documents, {train['tokens']:,} tokens; "
            amount += f"held out {held_out['documents']:,} with {held_out['tokens']:,}"
            licence = of_source(entry["name"], entry["source"])
            rows.append(DataRow(_source_name(entry["name"], entry["source"]), amount, train["sha256"], licence))
        else:  # one entry for all sources, named by its purpose
            paths = [s["path"] for s in sources]
            amount = "; ".join(f"{entry[key]:,} {text}" for key, text in _COUNTS.items() if key in entry)
            licences = dict.fromkeys(_licence(path, generated) or "not stated" for path in paths)
            name = f"{', '.join(_file_name(path) for path in paths)} ({entry['name']})"
            rows.append(DataRow(name, amount, entry.get("sha256"), ", ".join(licences) or None))
    if not rows:
        rows = [DataRow(_file_name(s["path"]), "", None, _licence(s["path"], generated)) for s in sources]
    return rows


_COUNTS = {"train": "trained on", "held_out": "held out"}


def _licence(path: str, generated: Sequence[str]) -> str | None:
    return GENERATED if path in generated else of_source(path, {})


def _source_name(path: str, settings: dict[str, Any]) -> str:
    if "code" in settings and settings.get("path") == path == "stdlib":
        return "stdlib (Python's own source code)"
    if path == "stdlib":
        return f"stdlib (documentation in Python {settings.get('python', '')})".replace(" )", ")")
    return _file_name(path)


def _file_name(path: str) -> str:
    """Without its directories, which are private."""
    return Path(path).name if path.startswith(("/", "~", "../")) else path
