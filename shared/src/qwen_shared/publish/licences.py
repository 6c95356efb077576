"""Under which licence data and models are, as they say themselves: nobody has to repeat it in a recipe. No torch.

A file or a directory of data, or a model's directory, says it in a README.md that begins with `license: …` between
lines of `---`, as dataset and model cards on the Hugging Face hub do, or by a LICENSE file beside it. What is only on
the hub says it there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from qwen_shared.data.check import HF, STDLIB, hf_directory
from qwen_shared.errors import UserError
from qwen_shared.recipe.yaml_text import parse_yaml

MADE_HERE = "made by this suite"
_FILES = re.compile(r"(licen[cs]e|copying)(\.(txt|md|rst))?", re.IGNORECASE)
_HEAD = 65536
_LONGEST = 80  # characters of a licence: more than that is its text, or no licence
_HUB_TIMEOUT_S = 5.0


def of_source(path: str, settings: dict[str, Any]) -> str | None:
    """The licence of a data source, which the recipe calls `path`; None where nothing says it. `settings` is what the
    manifest keeps of it: conversations made here have a recipe of their own in there."""
    if path == STDLIB:
        return "PSF-2.0"
    if "conversations" in settings:
        return MADE_HERE
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
    """The licence of a model's directory, or of a name on the hub; None where nothing says it."""
    if isinstance(place, Path):
        return of_directory(place)
    return _on_hub(place, "model")


def of_directory(directory: Path) -> str | None:
    said = _front_matter(directory / "README.md").get("license")
    if isinstance(said, list):
        said = ", ".join(map(str, said))
    if said and said != "other":
        return _short(str(said))
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
    return " ".join(text.split())[:_LONGEST]


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
        said = (getattr(info, "card_data", None) or {}).get("license")
        return _short(str(said)) if said else None
    except Exception:  # no network, no such name: nothing is known then
        return None
