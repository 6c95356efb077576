"""One call per step for everything that watches a run: metrics.jsonl, W&B, the console."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from qwen_shared.recipe.schema import Tracking
from qwen_shared.tracking.console import ConsoleProgress
from qwen_shared.tracking.log import say
from qwen_shared.tracking.metrics_file import MetricsFile
from qwen_shared.tracking.wandb_run import WandbRun


class Tracker:
    """Rank 0's view of a run; the other ranks use `NoTracker`.

    `resume_step` is the step of the checkpoint that the run goes on from, 0 for a new run. `wandb_id` is the
    manifest's; store `self.wandb_id` there afterwards. `samples_per_step` and `tokens_per_step` are global.
    """

    def __init__(
        self,
        run_dir: Path,
        recipe: dict[str, Any],
        tracking: Tracking,
        kind: str,
        name: str,
        wandb_id: str | None,
        total_steps: int,
        tokens_per_step: int,
        samples_per_step: int,
        resume_step: int = 0,
    ):
        self._tokens_per_step, self._samples_per_step = tokens_per_step, samples_per_step
        self._file = MetricsFile(run_dir / "metrics.jsonl", resume_step or None)
        self._time_before = self._file.last.get("time", 0.0)
        self._wandb = WandbRun(run_dir, recipe, tracking, kind, name, wandb_id)
        self._console = ConsoleProgress(total_steps, resume_step)
        self._started, self._ended = time.monotonic(), None

    @property
    def wandb_id(self) -> str | None:
        return self._wandb.id

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Inside, the steps are done: what comes before and after, evaluations perhaps, is no part of their time, and
        has the console for itself."""
        self._started, self._ended = time.monotonic(), None
        self._console.start()
        try:
            yield
        finally:
            self._ended = time.monotonic()
            self._console.close()

    @property
    def seconds(self) -> float:
        """Time spent on the run's steps, over all its restarts; work that a kill undid is not counted."""
        return self._time_before + (self._ended or time.monotonic()) - self._started

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """The figures of a step, under the names of the glossary. Several calls for one step make one line."""
        record = {
            "step": step,
            "tokens": step * self._tokens_per_step,
            "samples": step * self._samples_per_step,
            "time": round(self.seconds, 3),
        }
        self._file.add(record | metrics)
        self._wandb.log(step, {name: value for name, value in record.items() if name != "step"} | metrics)
        self._console.update(step, metrics)

    def sample_table(self, step: int, rows: list[dict[str, Any]]) -> None:
        """Generated text to be read; a row has `prompt` and `text`."""
        for row in rows:
            say(f"step {step}: “{_one_line(row['prompt'])}” ⟶ {_one_line(row['text'])}")
        self._wandb.table(step, "samples", rows)

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Rows to be looked at in W&B."""
        self._wandb.table(None, name, rows)

    def summary(self, figures: dict[str, float]) -> None:
        """Figures of the whole run, for W&B; its manifest has them too."""
        self._wandb.summary(figures)

    def finish(self, status: Literal["finished", "stopped", "failed"]) -> None:
        # What ended the run must not be hidden by the disk's second complaint.
        with contextlib.suppress(*() if status == "finished" else (OSError,)):
            self._file.close()
        self._wandb.finish(failed=status == "failed")


def _one_line(text: str) -> str:
    return text.replace("\n", "⏎")


class NoTracker:
    """What every rank but 0 has: the same calls, and nothing happens."""

    wandb_id: str | None = None
    seconds: float = 0.0

    def training(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def log(self, step: int, metrics: dict[str, float]) -> None: ...

    def sample_table(self, step: int, rows: list[dict[str, Any]]) -> None: ...

    def table(self, name: str, rows: list[dict[str, Any]]) -> None: ...

    def summary(self, figures: dict[str, float]) -> None: ...

    def finish(self, status: Literal["finished", "stopped", "failed"]) -> None: ...
