"""Paths of checkpoints, exports and token files."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path

_NAME = re.compile(r"step-(\d{8})$")


def cache_dir() -> Path:
    """Token files that runs share: in $QWEN_CACHE, else in the user's cache directory."""
    return Path(os.environ.get("QWEN_CACHE") or Path.home() / ".cache" / "qwen-suite") / "tokens"


def list_checkpoints(directory: Path) -> list[int]:
    """Steps of the checkpoints in a run's checkpoints directory, oldest first."""
    return sorted(int(m[1]) for p in directory.glob("step-*") if (m := _NAME.search(p.name)))


def checkpoint_path(directory: Path, step: int) -> Path:
    return directory / f"step-{step:08d}"


def export_directory(run_dir: Path, step: int | None = None) -> Path:
    """RUN/export for the last checkpoint in Hugging Face form, RUN/export-STEP for a given step."""
    return run_dir / (f"export-{step:08d}" if step else "export")


def find_export(run_dir: Path, step: int | None = None) -> Path | None:
    """The export of checkpoint `step` (default: the last) if it exists, else None."""
    saved = list_checkpoints(run_dir / "checkpoints")
    wanted = step or (saved[-1] if saved else None)
    for directory in (export_directory(run_dir), export_directory(run_dir, wanted)):
        found = exported_step(directory)
        if found is not None and wanted in (None, found):
            return directory
    return None


def exported_step(directory: Path) -> int | None:
    """The step of an export; None if there is no whole one."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # a damaged one does not count
        if (directory / "config.json").is_file():
            return int(json.loads((directory / "certificate.json").read_text())["step"])
    return None
