"""TensorBoard's event files, where a recipe asks for them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER = "tensorboard"


class TensorBoard:
    """Writes RUN/tensorboard. What is there already is written anew from the run's own files, so that every step stands
    there once whatever happened to the process; `seconds` is the training time that they go up to.

    Raises OSError where the disk refuses.
    """

    def __init__(self, run_dir: Path, seconds: float):
        from tensorboardX import SummaryWriter

        shutil.rmtree(run_dir / FOLDER, ignore_errors=True)
        self._writer = SummaryWriter(str(run_dir / FOLDER))
        self._origin = time.time() - seconds  # a clock that stood still between restarts

    def log(self, record: dict[str, Any]) -> None:
        """One line of metrics.jsonl; what is no number is left out."""
        for name, value in record.items():
            if name not in ("step", "time") and isinstance(value, int | float):
                self._writer.add_scalar(name, value, record["step"], self._origin + record["time"])

    def samples(self, step: int, rows: Iterable[dict[str, Any]]) -> None:
        for number, row in enumerate(rows):
            # Indented text is shown as it is; TensorBoard would render it as Markdown otherwise.
            text = "\n\n".join(f"{name}:\n\n" + _indented(str(value)) for name, value in row.items())
            self._writer.add_text(f"samples/{number}", text, step)

    def close(self) -> None:
        self._writer.close()


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
