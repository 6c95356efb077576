"""What a model was trained on, source by source, with hashes and licences. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qwen_shared.publish.licences import MADE_HERE, of_source
from qwen_shared.publish.subject import Subject


@dataclass(frozen=True)
class DataRow:
    name: str
    amount: str  # what was trained on, and what was held out
    sha256: str | None  # of what was trained on
    licence: str | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def data_rows(subject: Subject, made_here: Sequence[str]) -> list[DataRow]:
    """Out of the manifest; where that keeps nothing, the recipe's sources. `made_here` are names of sources that the
    run's package makes itself."""
    recipe = subject.recipe.get("data", {})
    sources = [s for key in ("sources", "pmp_sources") for s in recipe.get(key) or []]
    rows = []
    for entry in subject.manifest.data:
        if "source" in entry:
            train, held_out = entry["train"], entry["validation"]
            amount = f"{train['documents']:,} documents, {train['tokens']:,} tokens; "
            amount += f"held out {held_out['documents']:,} with {held_out['tokens']:,}"
            licence = of_source(entry["name"], entry["source"])
            rows.append(DataRow(_shown(entry["name"], entry["source"]), amount, train["sha256"], licence))
        else:  # what a package prepared of all its sources: named by what it is for
            named = [s["path"] for s in sources]
            amount = "; ".join(f"{entry[key]:,} {said}" for key, said in _COUNTS.items() if key in entry)
            licences = dict.fromkeys(_licence(path, made_here) or "not stated" for path in named)
            shown = f"{', '.join(_short(path) for path in named)} ({entry['name']})"
            rows.append(DataRow(shown, amount, entry.get("sha256"), ", ".join(licences) or None))
    if not rows:
        rows = [DataRow(_short(s["path"]), "", None, _licence(s["path"], made_here)) for s in sources]
    return rows


_COUNTS = {"train": "trained on", "held_out": "held out"}


def _licence(path: str, made_here: Sequence[str]) -> str | None:
    return MADE_HERE if path in made_here else of_source(path, {})


def _shown(path: str, settings: dict[str, Any]) -> str:
    if "code" in settings and settings.get("path") == path == "stdlib":
        return "stdlib (Python's own source code)"
    if path == "stdlib":
        return f"stdlib (documentation in Python {settings.get('python', '')})".replace(" )", ")")
    return _short(path)


def _short(path: str) -> str:
    """Without the directories above it: where somebody keeps his data is nobody's business."""
    return Path(path).name if path.startswith(("/", "~", "../")) else path
