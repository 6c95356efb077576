"""The directory that is published: put together beside its place, read back, proved, and only then put there."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from qwen_shared.tokenizer import Tokenizer

CERTIFICATE, CHECKSUMS = "certificate.json", "SHA256SUMS"
_GENERATION = "generation_config.json"
# What an export consists of. Whatever else somebody has put beside it is not for others.
_MODEL = re.compile(
    r"(config|generation_config|special_tokens_map|added_tokens|vocab|tokenizer.*|.*\.safetensors\.index)\.json"
    r"|.*\.safetensors|.*\.tiktoken|merges\.txt|tokenizer\.model|chat_template\..*"
)


def copy_model(source: Path, target: Path, within_run: bool) -> None:
    """The files of an export. Weights that stay in the run's directory are linked: nothing writes into them."""
    target.mkdir(parents=True)
    for path in model_files(source):
        if within_run and path.suffix == ".safetensors":
            try:
                os.link(path, target / path.name)
                continue
            except OSError:  # a file system without links
                pass
        shutil.copyfile(path, target / path.name)


def model_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.is_file() and _MODEL.fullmatch(path.name))


def link_files(source: Path, target: Path, but: Collection[str]) -> None:
    """Everything below `source` but what has these names, as links where the file system has them."""
    for path in files_of(source):
        name = path.relative_to(source)
        if str(name) in but:
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target / name)
        except OSError:
            shutil.copyfile(path, target / name)


def stop_where_it_should(directory: Path, tokenizer: Tokenizer) -> None:
    """A model that came from elsewhere brought its own generation config; every id that ends a turn must be in it."""
    path = directory / _GENERATION
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    ends = said.get("eos_token_id")
    ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    missing = [id for id in tokenizer.stop_ids if id not in ends]
    if missing:
        said["eos_token_id"] = [*tokenizer.stop_ids, *(id for id in ends if id not in tokenizer.stop_ids)]
        write(path, json.dumps(said, indent=2) + "\n")


def write(path: Path, text: str) -> None:
    """Into a directory that has not been put in its place yet. Never into a file that is linked from elsewhere."""
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")


def write_checksums(directory: Path) -> None:
    """SHA256SUMS of every file, as `sha256sum -c` reads them."""
    sums = {str(path.relative_to(directory)): sha256(path) for path in files_of(directory) if path.name != CHECKSUMS}
    write(directory / CHECKSUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))


def read_checksums(text: str) -> dict[str, str]:
    return {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines()) if name}


def is_whole(directory: Path) -> bool:
    """Whether every file has the hash that it was published with, and none is missing."""
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
    """What was published in `directory`; None where nothing was."""
    try:
        found = json.loads((directory / CERTIFICATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if is_certificate(found) else None


def is_certificate(found: Any) -> bool:
    """Whether it says of which checkpoint it is."""
    run = found.get("run") if isinstance(found, dict) else None
    if not isinstance(run, dict) or not isinstance(run.get("step"), int):
        return False
    return all(isinstance(run.get(key), str) for key in ("kind", "name", "created"))


def sync(directory: Path) -> None:
    for path in [*directory.rglob("*"), directory]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
