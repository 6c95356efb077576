"""The files of a published directory: model files, certificate, checksums."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qwen_shared.tokenizer import Tokenizer

CERTIFICATE, CHECKSUMS = "certificate.json", "SHA256SUMS"
_GENERATION = "generation_config.json"
# An export's own files; others are not published.
_MODEL = re.compile(
    r"(config|generation_config|special_tokens_map|added_tokens|vocab|tokenizer.*|.*\.safetensors\.index)\.json"
    r"|.*\.safetensors|.*\.tiktoken|merges\.txt|tokenizer\.model|chat_template\..*"
)


def copy_model(source: Path, target: Path, within_run: bool) -> None:
    """Copy an export. Within the run's directory weights are hard-linked: nothing writes into them."""
    target.mkdir(parents=True)
    for path in model_files(source):
        if within_run and path.suffix == ".safetensors":
            _link(path, target / path.name)
        else:
            shutil.copyfile(path, target / path.name)


def model_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.is_file() and _MODEL.fullmatch(path.name))


def link_files(source: Path, target: Path, excluded: Collection[str]) -> None:
    """Hard-link (or copy) everything below `source` except these names."""
    for path in files_of(source):
        name = path.relative_to(source)
        if str(name) not in excluded:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            _link(path, target / name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def add_stop_ids(directory: Path, tokenizer: Tokenizer) -> None:
    """The generation config gets every id that ends a turn: an imported model brought its own."""
    path = directory / _GENERATION
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    ends = config.get("eos_token_id")
    ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    missing = [id for id in tokenizer.stop_ids if id not in ends]
    if missing:
        config["eos_token_id"] = [*tokenizer.stop_ids, *(id for id in ends if id not in tokenizer.stop_ids)]
        replace_file(path, json.dumps(config, indent=2) + "\n")


def replace_file(path: Path, text: str) -> None:
    """Never writes through a hard link."""
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")


def write_checksums(directory: Path) -> None:
    """SHA256SUMS, as `sha256sum -c` reads it."""
    sums = {str(path.relative_to(directory)): sha256(path) for path in files_of(directory) if path.name != CHECKSUMS}
    replace_file(directory / CHECKSUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))


def read_checksums(text: str) -> dict[str, str]:
    return {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines()) if name}


def is_whole(directory: Path) -> bool:
    try:
        sums = read_checksums((directory / CHECKSUMS).read_text(encoding="utf-8"))
        return bool(sums) and all(sha256(directory / name) == digest for name, digest in sums.items())
    except (OSError, ValueError):
        return False


def files_of(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_certificate(directory: Path) -> dict[str, Any] | None:
    """None if nothing was published in `directory`."""
    try:
        found = json.loads((directory / CERTIFICATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if is_certificate(found) else None


def is_certificate(found: Any) -> bool:
    run = found.get("run") if isinstance(found, dict) else None
    if not isinstance(run, dict) or not isinstance(run.get("step"), int):
        return False
    return all(isinstance(run.get(key), str) for key in ("kind", "name", "created"))
