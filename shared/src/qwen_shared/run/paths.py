"""Paths of checkpoints, exports and token files."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path

_NAME = re.compile(r"step-(\d{8})$")


def cache_dir() -> Path:
    """Of token files that runs share."""
    return Path(os.environ.get("QWEN_CACHE") or Path.home() / ".cache" / "qwen-suite") / "tokens"


def list_checkpoints(directory: Path) -> list[int]:
    """Steps, oldest first."""
    return sorted(int(m[1]) for p in directory.glob("step-*") if (m := _NAME.search(p.name)))


def checkpoint_path(directory: Path, step: int) -> Path:
    return directory / f"step-{step:08d}"


def export_directory(run_dir: Path, step: int | None = None) -> Path:
    """RUN/export is of the last checkpoint, RUN/export-STEP of a given one."""
    return run_dir / (f"export-{step:08d}" if step else "export")


def find_export(run_dir: Path, step: int | None = None) -> Path | None:
    """The export of checkpoint `step` (default: the last), if it exists."""
    saved = list_checkpoints(run_dir / "checkpoints")
    wanted = step or (saved[-1] if saved else None)
    for directory in (export_directory(run_dir), export_directory(run_dir, wanted)):
        found = exported_step(directory)
        if found is not None and wanted in (None, found):
            return directory
    return None


def exported_step(directory: Path) -> int | None:
    """None if there is no whole export."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # a damaged one does not count
        if (directory / "config.json").is_file():
            return int(json.loads((directory / "certificate.json").read_text())["step"])
    return None
