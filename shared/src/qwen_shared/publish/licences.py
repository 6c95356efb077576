"""Licences of data and models. No torch.

They are read from the `license: …` at the head of a README.md (as in cards on the Hugging Face hub), from a LICENSE
file, or from the hub.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from qwen_shared.data.check import HF, STDLIB, hf_directory
from qwen_shared.errors import UserError
from qwen_shared.recipe.yaml_text import parse_yaml

GENERATED = "made by this suite"
_FILES = re.compile(r"(licen[cs]e|copying)(\.(txt|md|rst))?", re.IGNORECASE)
_HEAD = 65536  # characters
_MAX_LENGTH = 80  # characters; more is a licence's text, not its name
_HUB_TIMEOUT_S = 5.0


def of_source(path: str, settings: dict[str, Any]) -> str | None:
    """The licence of the data source `path`, or None if unknown. `settings` is the manifest's entry on it; generated
    conversations have a `conversations` key there."""
    if path == STDLIB:
        return "PSF-2.0"
    if "conversations" in settings:
        return GENERATED
    if path.startswith(HF):
        directory = hf_directory(path)
        return of_directory(directory) if directory else _on_hub(path.removeprefix(HF), "dataset")
    place = Path(path).expanduser()
    if not place.exists():
        return None
    found = of_directory(place if place.is_dir() else place.parent)
    if found is None and (filters := settings.get("filters")):
        kept = ", ".join(filters.get("licences") or ["any"])
        return f"file by file: {kept}" + (", and files that name none" if filters.get("unlicensed") else "")
    return found


def of_model(place: Path | str) -> str | None:
    """The licence of a directory, or of a name on the hub; None if unknown."""
    if isinstance(place, Path):
        return of_directory(place)
    return _on_hub(place, "model")


def of_directory(directory: Path) -> str | None:
    licence = _front_matter(directory / "README.md").get("license")
    if isinstance(licence, list):
        licence = ", ".join(map(str, licence))
    if licence and licence != "other":
        return _short(str(licence))
    try:
        files = sorted(path for path in directory.iterdir() if _FILES.fullmatch(path.name) and path.is_file())
    except OSError:
        return None
    for path in files:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = (line.strip(" #*=\t\r\n") for line in file.read(_HEAD).splitlines())
        if first := next(filter(None, lines), None):
            return _short(first)
    return None


def _short(text: str) -> str:
    return " ".join(text.split())[:_MAX_LENGTH]


def _front_matter(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_HEAD)
    except (OSError, ValueError):
        return {}
    match = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", text, re.DOTALL)
    try:
        found = parse_yaml(match[1], str(path)) if match else {}
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}


def _on_hub(name: str, kind: Literal["dataset", "model"]) -> str | None:
    from huggingface_hub import HfApi

    try:
        info = HfApi().repo_info(name, repo_type=kind, timeout=_HUB_TIMEOUT_S)
        licence = (getattr(info, "card_data", None) or {}).get("license")
        return _short(str(licence)) if licence else None
    except Exception:  # no network, no such name
        return None
