"""TensorBoard's event files."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER = "tensorboard"


class TensorBoard:
    """Replaces RUN/tensorboard; the tracker sends older steps again. `seconds` is the training time so far. Raises
    OSError."""

    def __init__(self, run_dir: Path, seconds: float):
        from tensorboardX import SummaryWriter

        shutil.rmtree(run_dir / FOLDER, ignore_errors=True)
        self._writer = SummaryWriter(str(run_dir / FOLDER))
        self._origin = time.time() - seconds  # as if restarts took no time

    def log(self, record: dict[str, Any]) -> None:
        """Leaves out values that are not numbers."""
        for name, value in record.items():
            if name not in ("step", "time") and isinstance(value, int | float):
                self._writer.add_scalar(name, value, record["step"], self._origin + record["time"])

    def samples(self, step: int, rows: Iterable[dict[str, Any]]) -> None:
        for number, row in enumerate(rows):
            # Indented, because TensorBoard renders Markdown.
            text = "\n\n".join(f"{name}:\n\n" + _indented(str(value)) for name, value in row.items())
            self._writer.add_text(f"samples/{number}", text, step)

    def close(self) -> None:
        self._writer.close()


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
