"""The frame of every run, whatever engine trains it.

Rank 0 locks the run directory, opens the run, keeps the parent's tokenizer and prepares the data; then the other ranks
join, the job trains, and the manifest says how it ended.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

from qwen_shared import faults
from qwen_shared.backend import Processes, resolve_precision, stop_processes
from qwen_shared.errors import Stopped, UserError
from qwen_shared.job.parent import carries_optimizer, keep_parent
from qwen_shared.job.spec import RunSpec
from qwen_shared.job.watchdog import Watchdog
from qwen_shared.log import say
from qwen_shared.recipe import RunRecipe
from qwen_shared.report import refresh_report
from qwen_shared.run import Manifest, open_run
from qwen_shared.run.integrity import newest_whole_checkpoint
from qwen_shared.run.lock import lock_run
from qwen_shared.run.paths import list_checkpoints
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.tracking import NoTracker, Tracker

_COLLECTIVE_S = 1800.0  # how long ranks wait for each other, unless guards.step_timeout is longer


class Job[P](Protocol):
    """What an engine does in the frame; `P` is what it prepares to train on."""

    needs_parent: bool  # False: a run that has a checkpoint no longer reads its parent's weights

    def prepare(self, run: Run) -> P:
        """Data to train on. Rank 0 calls this first and alone; the other ranks call it when they have joined."""
        ...

    def data(self, prepared: P) -> list[dict[str, Any]]:
        """What the manifest says of the data: for each source its `name` and hashes."""
        ...

    def join(self, timeout: datetime.timedelta) -> Processes:
        """Join the other ranks; `timeout` is for each collective."""
        ...

    def train(self, run: Run, prepared: P) -> None:
        """Train from `run.resume_step` to the end, and export. Raises Stopped after a signal."""
        ...


class Run[R: RunRecipe]:
    """An open run. Every rank has one; only rank 0 has the manifest and a tracker."""

    processes: Processes
    precision: str  # that the run began with, on any machine
    resume_step: int  # of the newest whole checkpoint; 0: none
    parent_dir: Path | None  # the parent's weights in Hugging Face form, if the job reads them

    def __init__(self, spec: RunSpec[R], manifest: Manifest | None):
        self.spec, self.recipe, self.run_dir = spec, spec.recipe, spec.run_dir
        self.checkpoints = spec.run_dir / "checkpoints"
        self.rank, self.world_size = int(os.environ.get("RANK", "0")), spec.layout.world_size
        self.manifest = manifest
        self.tracker: Tracker | NoTracker = NoTracker()

    def track(self, total_steps: int, samples_per_step: int, tokens_per_step: int | None) -> Tracker | NoTracker:
        """Metrics, W&B and console from here on. `tokens_per_step` is None if no two steps have as many."""
        if self.manifest is not None:
            self.tracker = Tracker(
                self.run_dir,
                self.recipe.model_dump(mode="json"),
                self.recipe.tracking,
                self.manifest,
                total_steps=total_steps,
                tokens_per_step=tokens_per_step,
                samples_per_step=samples_per_step,
                resume_step=self.resume_step,
            )
        return self.tracker

    @contextlib.contextmanager
    def training(self) -> Iterator[Callable[[], None]]:
        """Inside, steps are taken: their time is counted, and the watchdog watches.

        The function that it yields must be called wherever there is progress.
        """
        watchdog = Watchdog(self.recipe.guards.step_timeout, self.run_dir / "logs", self.rank, self._hung)
        with self.tracker.training(), watchdog:
            yield watchdog.alive

    def keep_results(self, results: dict[str, float]) -> None:
        """Add final numbers to the manifest and to W&B's summary."""
        if self.manifest is not None:
            self.manifest.results = self.manifest.results | results
            self.manifest.write(self.run_dir)
            self.tracker.summary(results)

    def say_start(self, *lines: str) -> None:
        """The first lines on the console, below the run's own."""
        say(f"run    {self.run_dir}" + (f", going on after step {self.resume_step}" if self.resume_step else ""))
        for line in lines:
            say(line)

    def _hung(self, reason: str) -> None:
        """The watchdog ends the process after this, so nothing else will write it."""
        if self.manifest is not None:
            self.manifest.status, self.manifest.reason = "failed", reason
            self.manifest.write(self.run_dir)
            refresh_report(self.run_dir)

    def _end(self, status: Literal["finished", "stopped", "failed"]) -> None:
        tracker, self.tracker = self.tracker, NoTracker()
        tracker.finish(status)


def run_job[R: RunRecipe, P](spec: RunSpec[R], job: Job[P]) -> None:
    """Run the whole job, or what is left of it. Every process calls this; raises Stopped after a signal."""
    faults.reach("start-up", 0)
    with contextlib.ExitStack() as stack:
        manifest = None
        if os.environ.get("RANK", "0") == "0":
            stack.enter_context(lock_run(spec.run_dir))
            manifest = open_run(spec.run_dir, spec.recipe, spec.command, spec.kind)[1]
        stack.push(_leave_processes)
        run = Run(spec, manifest)
        try:
            prepared = None if manifest is None else _prepare(run, job, manifest)
            # The watchdog must come first: it says where each rank stands.
            seconds = max(_COLLECTIVE_S, 1.5 * (spec.recipe.guards.step_timeout or 0.0))
            run.processes = job.join(datetime.timedelta(seconds=seconds))
            run.resume_step = newest_whole_checkpoint(run.checkpoints)
            run.precision = Manifest.read(spec.run_dir).precision or ""
            run.parent_dir = spec.parent.fetch() if spec.parent and _reads_parent(job, run.resume_step) else None
            job.train(run, job.prepare(run) if prepared is None else prepared)
            _finish(run)
        except BaseException as error:
            if manifest is not None:
                manifest.break_off(error)
                with contextlib.suppress(OSError):  # a full disk must not hide what went wrong
                    manifest.write(spec.run_dir)
            run._end("stopped" if isinstance(error, Stopped | KeyboardInterrupt) else "failed")
            raise
        finally:
            if manifest is not None:
                refresh_report(spec.run_dir)


def _prepare[P](run: Run, job: Job[P], manifest: Manifest) -> P:
    """What rank 0 does before the other ranks may join."""
    parent, steps = run.spec.parent, list_checkpoints(run.checkpoints)
    if parent:
        weights = parent.fetch() if _reads_parent(job, bool(steps)) else None
        keep_parent(parent, weights, run.run_dir, manifest)
        manifest.write(run.run_dir)
    prepared = job.prepare(run)
    data = job.data(prepared)
    _check_unchanged(run, manifest, data)
    manifest.data = data
    manifest.tokenizer = load_tokenizer(run.recipe.tokenizer).fingerprint
    if not manifest.precision and parent and carries_optimizer(run.recipe):
        manifest.precision = Manifest.read(Path(parent.name)).precision  # its optimizer's state is of that
    manifest.precision = manifest.precision or resolve_precision(run.recipe.training.precision)
    manifest.write(run.run_dir)
    return prepared


def _reads_parent(job: Job, has_checkpoint: bool | int) -> bool:
    return job.needs_parent or not has_checkpoint


def _check_unchanged(run: Run, manifest: Manifest, data: list[dict[str, Any]]) -> None:
    """Raises UserError if a run that has checkpoints would go on with other data or another tokenizer."""
    # A manifest that was lost and made again has nothing to compare with.
    if manifest.tokenizer is None or not list_checkpoints(run.checkpoints):
        return
    before = [_hashes(source) for source in manifest.data]
    names = {name for name, *_ in before}
    changed = [source["name"] for source in data if source["name"] in names and _hashes(source) not in before]
    if manifest.tokenizer != load_tokenizer(run.recipe.tokenizer).fingerprint:
        changed.insert(0, f"tokenizer {run.recipe.tokenizer}")
    if changed:
        raise UserError(
            f"{run.run_dir}: {', '.join(changed)} changed since this run began, so it cannot go on exactly: "
            "put back what was, or start a new run with --run-dir"
        )


def _hashes(source: dict[str, Any]) -> tuple[str, ...]:
    if "sha256" in source:
        return source["name"], source["sha256"]
    return source["name"], source["train"]["sha256"], source["validation"]["sha256"]


def _finish(run: Run) -> None:
    manifest = run.manifest
    if manifest is None:
        return
    manifest.status = "finished"
    manifest.write(run.run_dir)
    run._end("finished")


def _leave_processes(kind: type[BaseException] | None, *_) -> None:
    # A rank that fails keeps its connections until it has said why: the others fail when they lose them.
    if kind is None or issubclass(kind, Stopped | UserError):
        stop_processes()
