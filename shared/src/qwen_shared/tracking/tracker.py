"""Metrics, tables and models of a run go through here."""

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
from qwen_shared.text import escape_control_characters
from qwen_shared.tracking.console import ConsoleProgress
from qwen_shared.tracking.results import result_rows
from qwen_shared.tracking.tensorboard import TensorBoard
from qwen_shared.tracking.wandb_run import WandbRun

TABLES, SAMPLES = "tables.jsonl", "val/samples"  # the file, and the name of samples in it


class Tracker:
    """For rank 0; others use `NoTracker`.

    `resume_step` is 0 for a new run. `samples_per_step` and `tokens_per_step` are global, the latter None if it varies.
    W&B's id and URL go into the manifest.
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
        self._started = time.monotonic()
        self._ended: float | None = None
        manifest.wandb_run_id, manifest.wandb_url = self._wandb.id, self._wandb.url
        manifest.write(run_dir)

    def _send_again(self) -> None:
        """W&B may lack the last seconds before a kill, and skips steps that it has. TensorBoard's files are new."""
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
        """The steps run inside: only they count as training time."""
        self._started, self._ended = time.monotonic(), None
        self._console.start()
        try:
            yield
        finally:
            self._ended = time.monotonic()
            self._console.close()

    @property
    def seconds(self) -> float:
        """Training time over all restarts, without work that a kill undid."""
        return self._time_before + (self._ended or time.monotonic()) - self._started

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Several calls for one step make one line."""
        tokens = {} if self._tokens_per_step is None else {"tokens": step * self._tokens_per_step}
        samples, seconds = step * self._samples_per_step, round(self.seconds, 3)
        record = {"step": step, **tokens, "samples": samples, "time": seconds}
        self._file.add(record | metrics)
        self._show(record | metrics)
        self._console.update(step, metrics)

    def _show(self, record: dict[str, Any]) -> None:
        metrics = {name: value for name, value in record.items() if name != "step" and value is not None}
        self._wandb.log(record["step"], metrics)
        if self._tensorboard is not None:
            self._tensorboard.log(record)

    def rewind(self, step: int) -> None:
        """The run repeats the steps after `step`; W&B keeps the first version of each."""
        self._file.close()
        self._tables.close()
        self._file = MetricsFile(self._run_dir / "metrics.jsonl", step)
        self._tables = MetricsFile(self._run_dir / TABLES, step)

    def sample_table(self, step: int, rows: list[dict[str, Any]]) -> None:
        """Generated text; a row has `prompt` and `text`."""
        if not rows:
            return
        for row in rows:
            say(f"step {step}: “{_one_line(row['prompt'])}” ⟶ {_one_line(row['text'])}")
        rows = [{"step": step} | row for row in rows]
        self._tables.add({"step": step, SAMPLES: rows})
        self._show_table(step, SAMPLES, rows)

    def _show_table(self, step: int | None, name: str, rows: list[dict[str, Any]]) -> None:
        self._wandb.table(step, name, rows)
        if self._tensorboard is not None and name == SAMPLES and step is not None:
            self._tensorboard.samples(step, rows)

    def table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Rows of the last logged step, for W&B."""
        self._tables.add({"step": self._file.last.get("step", 0), name: rows})
        self._show_table(None, name, rows)

    def summary(self, results: dict[str, float]) -> None:
        self._wandb.summary(results)

    def model(self, directory: Path, final: bool) -> None:
        """Logs an export to W&B; child runs find its name in the manifest."""
        logged = self._wandb.log_model(directory, final)
        if logged is not None:
            self._manifest.wandb_artifacts = self._manifest.wandb_artifacts | dict([logged])
            self._manifest.write(self._run_dir)

    def finish(self, status: Literal["finished", "stopped", "failed"]) -> None:
        # A second disk error must not hide the first.
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
    """Of every rank but 0: does nothing."""

    seconds: float = 0.0

    def training(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def log(self, step: int, metrics: dict[str, float]) -> None: ...

    def rewind(self, step: int) -> None: ...

    def sample_table(self, step: int, rows: list[dict[str, Any]]) -> None: ...

    def table(self, name: str, rows: list[dict[str, Any]]) -> None: ...

    def summary(self, results: dict[str, float]) -> None: ...

    def model(self, directory: Path, final: bool) -> None: ...

    def finish(self, status: Literal["finished", "stopped", "failed"]) -> None: ...
