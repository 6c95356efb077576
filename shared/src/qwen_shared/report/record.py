"""What a run directory holds, read for its report."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen_shared.run import Manifest, read_metrics
from qwen_shared.run.lineage import lineage_of
from qwen_shared.run.manifest import RECIPE, Parent
from qwen_shared.tracking.tracker import SAMPLES, TABLES

_MAX_ROWS = 1000  # read of each file of answers


@dataclass(frozen=True)
class Record:
    directory: Path
    manifest: Manifest
    recipe: str  # YAML
    metrics: list[dict[str, Any]]  # by step
    samples: list[tuple[int, list[dict[str, Any]]]]  # step, rows with `prompt` and `text`
    answers: dict[str, list[dict[str, Any]]]  # by file in evaluation/
    answers_before: dict[str, list[dict[str, Any]]]
    lineage: list[Parent]


def read_record(run_dir: Path) -> Record:
    """Raises UserError if `run_dir` is not a run; other missing or damaged files are left out."""
    manifest = Manifest.read(run_dir)
    recipe = ""
    with contextlib.suppress(OSError, ValueError):
        recipe = (run_dir / RECIPE).read_text(encoding="utf-8")
    return Record(
        run_dir,
        manifest,
        recipe,
        read_metrics(run_dir / "metrics.jsonl"),
        [(tables["step"], tables[SAMPLES]) for tables in read_metrics(run_dir / TABLES) if tables.get(SAMPLES)],
        _answers(run_dir / "evaluation"),
        _answers(run_dir / "evaluation-before"),
        manifest.lineage or lineage_of(manifest.parent),
    )


def _answers(directory: Path) -> dict[str, list[dict[str, Any]]]:
    found = {path.stem: _rows(path) for path in sorted(directory.glob("*.jsonl"))}
    return {name: rows for name, rows in found.items() if rows}


def _rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with contextlib.suppress(OSError, ValueError), path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if len(rows) == _MAX_ROWS or not isinstance(row, dict):
                break
            rows.append(row)
    return rows
