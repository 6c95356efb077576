"""One call per step for everything that watches a run: the run's own files, W&B, TensorBoard, the console."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from qwen_shared.log import say
from qwen_shared.recipe.schema import Tracking
from qwen_shared.run.manifest import Manifest
from qwen_shared.run.metrics_file import MetricsFile, read_metrics
from qwen_shared.terminal import escape_control_characters
from qwen_shared.tracking.console import ConsoleProgress
from qwen_shared.tracking.results import result_rows
from qwen_shared.tracking.tensorboard import TensorBoard
from qwen_shared.tracking.wandb_run import WandbRun

TABLES, SAMPLES = "tables.jsonl", "val/samples"  # the file, and what samples are called in it; `samples` is a count


class Tracker:
    """Rank 0's view of a run; the other ranks use `NoTracker`.

    `resume_step` is the step of the checkpoint that the run goes on from, 0 for a new run. `samples_per_step` and
    `tokens_per_step` are global, the latter None where no two steps have as many. What W&B calls the run goes into the
    manifest.
    """

    def __init__(
        self,
        run_dir: Path,
        recipe: dict[str, Any],
        tracking: Tracking,
        manifest: Manifest,
        total_steps: int,
        tokens_per_step: int | None,
        samples_per_step: int,
        resume_step: int = 0,
    ):
        self._run_dir, self._manifest = run_dir, manifest
        self._tokens_per_step, self._samples_per_step = tokens_per_step, samples_per_step
        self._file = MetricsFile(run_dir / "metrics.jsonl", resume_step or None)
        self._tables = MetricsFile(run_dir / TABLES, resume_step or None)
        self._time_before = self._file.last.get("time", 0.0)
        self._wandb = WandbRun(run_dir, recipe, tracking, manifest)
        self._tensorboard = TensorBoard(run_dir, self._time_before) if tracking.tensorboard else None
        self._send_again()
        self._console = ConsoleProgress(total_steps, resume_step)
        self._started, self._ended = time.monotonic(), None
        manifest.wandb_run_id, manifest.wandb_url = self._wandb.id, self._wandb.url
        manifest.write(run_dir)

    def _send_again(self) -> None:
        """What the run's own files have, to W&B, which leaves out what it has itself, and to TensorBoard. What W&B was
        told in the seconds before a kill it has not."""
        if not self._file.last or not (self._wandb.active or self._tensorboard):
            return
        records = {record["step"]: record for record in read_metrics(self._run_dir / "metrics.jsonl")}
        tables = {record.pop("step"): record for record in read_metrics(self._run_dir / TABLES)}
        for step in sorted(records.keys() | tables.keys()):
            for name, rows in tables.get(step, {}).items():
                self._show_table(step, name, rows)
            if step in records:
                self._show(records[step])

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
        tokens = {} if self._tokens_per_step is None else {"tokens": step * self._tokens_per_step}
        samples, seconds = step * self._samples_per_step, round(self.seconds, 3)
        record = {"step": step, **tokens, "samples": samples, "time": seconds}
        self._file.add(record | metrics)
        self._show(record | metrics)
        self._console.update(step, metrics)

    def _show(self, record: dict[str, Any]) -> None:
        figures = {name: value for name, value in record.items() if name != "step" and value is not None}
        self._wandb.log(record["step"], figures)
        if self._tensorboard is not None:
            self._tensorboard.log(record)

    def rewind(self, step: int) -> None:
        """The run went back to `step`; what was done since is done again. W&B keeps what it was told first."""
        self._file.close()
        self._tables.close()
        self._file = MetricsFile(self._run_dir / "metrics.jsonl", step)
        self._tables = MetricsFile(self._run_dir / TABLES, step)

    def sample_table(self, step: int, rows: list[dict[str, Any]]) -> None:
        """Generated text to be read; a row has `prompt` and `text`."""
        if not rows:
            return
        for row in rows:
            say(f"step {step}: “{_one_line(row['prompt'])}” ⟶ {_one_line(row['text'])}")
        rows = [{"step": step} | row for row in rows]
        self._tables.add({"step": step, SAMPLES: rows})
        self._show_table(step, SAMPLES, rows)

    def _show_table(self, step: int | None, name: str, rows: list[dict[str, Any]]) -> None:
        self._wandb.table(step, name, rows)
        if self._tensorboard is not None and name == SAMPLES:
            self._tensorboard.samples(step, rows)

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Rows to be looked at in W&B, of the step that was logged last."""
        self._tables.add({"step": self._file.last.get("step", 0), name: rows})
        self._show_table(None, name, rows)

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
            self._tables.close()
            if self._tensorboard is not None:
                self._tensorboard.close()
        if status == "finished":
            self._wandb.table(None, "eval/results", result_rows(self._manifest.results))
        self._wandb.finish(failed=status == "failed")


def _one_line(text: str) -> str:
    return escape_control_characters(text).replace("\n", "⏎")


class NoTracker:
    """What every rank but 0 has: the same calls, and nothing happens."""

    seconds: float = 0.0

    def training(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def log(self, step: int, metrics: dict[str, float]) -> None: ...

    def rewind(self, step: int) -> None: ...

    def sample_table(self, step: int, rows: list[dict[str, Any]]) -> None: ...

    def table(self, name: str, rows: list[dict[str, Any]]) -> None: ...

    def summary(self, figures: dict[str, float]) -> None: ...

    def model(self, directory: Path, final: bool) -> None: ...

    def finish(self, status: Literal["finished", "stopped", "failed"]) -> None: ...
