"""One call per step for everything that watches a run: the run's own files, W&B, TensorBoard, the console."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from qwen_shared.recipe.schema import Tracking
from qwen_shared.tracking.console import ConsoleProgress
from qwen_shared.tracking.log import say
from qwen_shared.tracking.manifest import Manifest
from qwen_shared.tracking.metrics_file import MetricsFile, read_metrics
from qwen_shared.tracking.results import result_rows
from qwen_shared.tracking.tensorboard import TensorBoard
from qwen_shared.tracking.wandb_run import WandbRun

SAMPLES = "samples.jsonl"


class Tracker:
    """Rank 0's view of a run; the other ranks use `NoTracker`.

    `resume_step` is the step of the checkpoint that the run goes on from, 0 for a new run. `samples_per_step` and
    `tokens_per_step` are global. What W&B calls the run goes into the manifest.
    """

    def __init__(
        self,
        run_dir: Path,
        recipe: dict[str, Any],
        tracking: Tracking,
        manifest: Manifest,
        total_steps: int,
        tokens_per_step: int,
        samples_per_step: int,
        resume_step: int = 0,
    ):
        self._run_dir, self._manifest = run_dir, manifest
        self._tokens_per_step, self._samples_per_step = tokens_per_step, samples_per_step
        self._file = MetricsFile(run_dir / "metrics.jsonl", resume_step or None)
        self._samples = MetricsFile(run_dir / SAMPLES, resume_step or None)
        self._time_before = self._file.last.get("time", 0.0)
        self._wandb = WandbRun(run_dir, recipe, tracking, manifest)
        self._tensorboard = TensorBoard(run_dir, self._time_before) if tracking.tensorboard else None
        self._send_again()
        self._console = ConsoleProgress(total_steps, resume_step)
        self._started, self._ended = time.monotonic(), None
        manifest.wandb_run_id, manifest.wandb_url = self._wandb.id, self._wandb.url
        manifest.write(run_dir)

    def _send_again(self) -> None:
        """What the run's own files have, to W&B, which leaves out what it has itself, and to TensorBoard."""
        if not self._file.last or not (self._wandb.active or self._tensorboard):
            return
        shown = {record["step"]: record["samples"] for record in read_metrics(self._run_dir / SAMPLES)}
        for record in read_metrics(self._run_dir / "metrics.jsonl"):
            step = record["step"]
            if step in shown:
                self._show_samples(step, shown[step])
            self._show(record)

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
        self._show(record | metrics)
        self._console.update(step, metrics)

    def _show(self, record: dict[str, Any]) -> None:
        figures = {name: value for name, value in record.items() if name != "step" and value is not None}
        self._wandb.log(record["step"], figures)
        if self._tensorboard is not None:
            self._tensorboard.log(record)

    def sample_table(self, step: int, rows: list[dict[str, Any]]) -> None:
        """Generated text to be read; a row has `prompt` and `text`."""
        if not rows:
            return
        for row in rows:
            say(f"step {step}: “{_one_line(row['prompt'])}” ⟶ {_one_line(row['text'])}")
        self._samples.add({"step": step, "samples": rows})
        self._show_samples(step, rows)

    def _show_samples(self, step: int, rows: list[dict[str, Any]]) -> None:
        self._wandb.table(step, "val/samples", [{"step": step} | row for row in rows])  # `samples` is a count
        if self._tensorboard is not None:
            self._tensorboard.samples(step, rows)

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Rows to be looked at in W&B."""
        self._wandb.table(None, name, rows)

    def summary(self, figures: dict[str, float]) -> None:
        """Figures of the whole run, for W&B; its manifest has them too."""
        self._wandb.summary(figures)

    def model(self, directory: Path, final: bool) -> None:
        """An export, for W&B; what W&B calls it goes into the manifest, where the runs that begin from it find it."""
        logged = self._wandb.log_model(directory, final)
        if logged is not None:
            self._manifest.wandb_artifacts = self._manifest.wandb_artifacts | dict([logged])
            self._manifest.write(self._run_dir)

    def finish(self, status: Literal["finished", "stopped", "failed"]) -> None:
        # What ended the run must not be hidden by the disk's second complaint.
        with contextlib.suppress(*() if status == "finished" else (OSError,)):
            self._file.close()
            self._samples.close()
            if self._tensorboard is not None:
                self._tensorboard.close()
        if status == "finished":
            self._wandb.table(None, "eval/results", result_rows(self._manifest.results))
        self._wandb.finish(failed=status == "failed")


def _one_line(text: str) -> str:
    return text.replace("\n", "⏎")


class NoTracker:
    """What every rank but 0 has: the same calls, and nothing happens."""

    seconds: float = 0.0

    def training(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def log(self, step: int, metrics: dict[str, float]) -> None: ...

    def sample_table(self, step: int, rows: list[dict[str, Any]]) -> None: ...

    def table(self, name: str, rows: list[dict[str, Any]]) -> None: ...

    def summary(self, figures: dict[str, float]) -> None: ...

    def model(self, directory: Path, final: bool) -> None: ...

    def finish(self, status: Literal["finished", "stopped", "failed"]) -> None: ...
