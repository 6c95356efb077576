"""The frame of every job on the trainer: recipe and run directory in, a trained, validated and exported model out."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from qwen_shared import faults
from qwen_shared.backend import (
    Processes,
    device,
    peak_memory_bytes,
    resolve_precision,
    seed_everything,
    start_processes,
    stop_processes,
)
from qwen_shared.backend.random import capture_rng, restore_rng
from qwen_shared.convert.import_hf import hf_source
from qwen_shared.data import PreparedSource
from qwen_shared.data.prepare import Progress
from qwen_shared.errors import Stopped, UserError
from qwen_shared.job.export import export_run
from qwen_shared.job.parent import ParentModel, carries_optimizer, keep_start
from qwen_shared.job.watchdog import Watchdog
from qwen_shared.log import say
from qwen_shared.model.sizes import pad_vocab_size, parameter_count
from qwen_shared.model.weights import random_source
from qwen_shared.recipe import Layout, Recipe
from qwen_shared.report import refresh_report
from qwen_shared.run import Manifest, open_run, read_metrics
from qwen_shared.run.integrity import newest_whole_checkpoint, require_whole
from qwen_shared.run.lock import lock_run
from qwen_shared.run.paths import list_checkpoints
from qwen_shared.tokenizer import Tokenizer, load_tokenizer
from qwen_shared.tracking import NoTracker, Tracker, data_progress
from qwen_shared.training.checkpoint import load_checkpoint
from qwen_shared.training.engine import Engine
from qwen_shared.training.loop import Batches, Hooks, train
from qwen_shared.training.sampling import Prompt, continue_prompts
from qwen_shared.training.schedule import lr_schedule


@dataclass(frozen=True)
class Work:
    """What a job trains on, and how it looks at what it does."""

    batches: Batches
    validate: Callable[[Engine, bool], dict[str, float]]  # figures of held-out data; True: of all of it
    data: str  # one line for the console
    prompts: list[Prompt] = field(default_factory=list)  # continued at every validation, to be read
    results: Callable[[], dict[str, float]] = dict  # more final figures, by name
    rate: Callable[[int], float] | None = None  # the learning rate of a step; default: the recipe's schedule


class Job(Protocol):
    """What is different between one kind of training and another."""

    def prepare(self, tokenizer_source: str, progress: Progress | None) -> list[PreparedSource]:
        """Token files of the recipe's data. Rank 0 calls this first, then the others, without `progress`."""
        ...

    def work(self, prepared: list[PreparedSource], tokenizer: Tokenizer, layout: Layout, data_rank: int) -> Work: ...

    def before(self, parent: Path, tracker: Tracker) -> None:
        """On rank 0, before the first step of a run that starts from the model in `parent`."""
        ...

    def after(self, export: Path, tracker: Tracker) -> dict[str, float]:
        """On rank 0, when the trained model lies in `export`: more final figures."""
        ...

    def say_results(self, results: dict[str, float]) -> None: ...


def run_job(
    job: Job, recipe: Recipe, layout: Layout, run_dir: Path, command: str, kind: str, parent: ParentModel | None = None
) -> None:
    """Run the whole job, or what is left of it; a new run begins from `parent`, else from random weights.

    Every process calls this; raises Stopped after a signal.
    """
    faults.reach("start-up", 0)
    with contextlib.ExitStack() as stack:
        manifest = prepared = weights = None
        if os.environ.get("RANK", "0") == "0":
            stack.enter_context(lock_run(run_dir))
            # Rank 0 tokenises before the others may join; they find the files in the cache. Data that cannot be read
            # leaves no run behind that would hold on to its recipe.
            if parent and not list_checkpoints(run_dir / "checkpoints"):
                weights = parent.fetch()
                if carries_optimizer(recipe):
                    require_whole(Path(parent.name, "checkpoints"), parent.step)
            with data_progress() as progress:
                prepared = job.prepare(parent.tokenizer if parent else recipe.tokenizer, progress)
            manifest = open_run(run_dir, recipe, command, kind)[1]
        stack.push(_leave_processes)
        try:
            if manifest is not None:
                if parent:
                    keep_start(parent, weights, run_dir, manifest)
                _record(manifest, recipe, prepared, run_dir, parent)
            parallel = recipe.parallel
            processes = start_processes(
                parallel.tensor_parallel,
                parallel.pipeline_parallel,
                parallel.virtual_pipeline,
                parallel.context_parallel,
                # The watchdog comes first: it says where each rank stands.
                timeout=datetime.timedelta(seconds=max(1800.0, 1.5 * (recipe.guards.step_timeout or 0.0))),
            )
            prepared = prepared or job.prepare(recipe.tokenizer, None)
            _run(job, recipe, layout, processes, run_dir, manifest, prepared, parent)
        except BaseException as error:
            if manifest is not None:
                manifest.break_off(error)
                with contextlib.suppress(OSError):  # a full disk must not hide what went wrong
                    manifest.write(run_dir)
            raise
        finally:
            if manifest is not None:
                refresh_report(run_dir)


def _leave_processes(kind: type[BaseException] | None, *_) -> None:
    # A rank that fails keeps its connections until it has said why: the others fail of losing them.
    if kind is None or issubclass(kind, Stopped | UserError):
        stop_processes()


def _record(
    manifest: Manifest, recipe: Recipe, prepared: list[PreparedSource], run_dir: Path, parent: ParentModel | None
) -> None:
    """Put into the manifest what decides the run besides its recipe.

    Raises UserError where a run that has checkpoints would go on with other data or another tokenizer.
    """
    fingerprint = load_tokenizer(recipe.tokenizer).fingerprint
    # A manifest that was lost and made anew knows nothing to compare with.
    if manifest.tokenizer is not None and list_checkpoints(run_dir / "checkpoints"):
        before = {(source["name"], *_hashes(source)) for source in manifest.data}
        changed = [source.name for source in prepared if (source.name, *_hashes(source.meta)) not in before]
        if manifest.tokenizer != fingerprint:
            changed.insert(0, f"tokenizer {recipe.tokenizer}")
        if changed:
            raise UserError(
                f"{run_dir}: {', '.join(changed)} changed since this run began, so it cannot go on exactly: "
                "put back what was, or start a new run with --run-dir"
            )
    manifest.data = [{"name": source.name, **source.meta} for source in prepared]
    manifest.tokenizer = fingerprint
    if not manifest.precision and carries_optimizer(recipe):
        manifest.precision = Manifest.read(Path(parent.name)).precision  # its optimizer's state is of that
    manifest.precision = manifest.precision or resolve_precision(recipe.training.precision)
    manifest.write(run_dir)


def _hashes(meta: dict[str, Any]) -> tuple[str, str]:
    return meta["train"]["sha256"], meta["validation"]["sha256"]


def _run(
    job: Job,
    recipe: Recipe,
    layout: Layout,
    processes: Processes,
    run_dir: Path,
    manifest: Manifest | None,
    prepared: list[PreparedSource],
    parent: ParentModel | None,
) -> None:
    tokenizer = load_tokenizer(recipe.tokenizer)
    padded_vocab_size = pad_vocab_size(recipe.model, tokenizer.vocab_size, recipe.parallel.tensor_parallel)
    precision = Manifest.read(run_dir).precision  # a run goes on as it began, on whatever machine
    seed_everything(recipe.seed)
    checkpoints = run_dir / "checkpoints"
    start_step = newest_whole_checkpoint(checkpoints)
    work = job.work(prepared, tokenizer, layout, processes.data_rank)
    parent_dir = parent.fetch() if parent and not start_step else None
    if parent_dir:
        weights = hf_source(parent_dir)
    else:
        weights = random_source(recipe.seed, recipe.model.num_layers, recipe.model.init_std, device())
    engine = Engine(recipe, layout, processes, precision, padded_vocab_size, weights)
    progress = None
    if start_step:
        progress = load_checkpoint(checkpoints, start_step, engine)
    elif carries_optimizer(recipe):
        load_checkpoint(Path(parent.name, "checkpoints"), parent.step, engine, random_states=False)

    tracker: Tracker | NoTracker = NoTracker()
    if manifest is not None:
        _say_start(recipe, layout, precision, padded_vocab_size, run_dir, start_step, work.data)
        tracker = _start_tracking(recipe, run_dir, manifest, start_step)

    def at_interval(step: int, final: bool) -> dict[str, float]:
        faults.reach("evaluation", step)
        metrics = work.validate(engine, final)
        faults.reach("generation", step)
        rows = continue_prompts(engine, tokenizer, work.prompts, recipe.evaluation, recipe.seed + step)
        tracker.sample_table(step, rows)
        return metrics

    def after_save(step: int) -> None:
        if recipe.export == "every" and processes.rank == 0 and step < recipe.training.steps:  # the last comes anyway
            export_run(run_dir, recipe, step, run_dir / "export")
            tracker.model(run_dir / "export", final=False)

    def failed(reason: str) -> None:
        """For the watchdog, which ends the process without coming back."""
        if manifest is not None:
            manifest.status, manifest.reason = "failed", reason
            manifest.write(run_dir)
            refresh_report(run_dir)

    status = "failed"
    try:
        if parent_dir:
            drawn_so_far = capture_rng()
            found = {f"before/{name}": value for name, value in work.validate(engine, True).items()}
            if manifest is not None:
                _keep_results(manifest, run_dir, found)
                job.before(parent_dir, tracker)
            restore_rng(drawn_so_far)
        hooks = Hooks(at_interval, after_save)
        watchdog = Watchdog(recipe.guards.step_timeout, run_dir / "logs", processes.rank, failed)
        engine.alive = watchdog.alive
        with tracker.training(), watchdog:
            rate = work.rate or lr_schedule(recipe)
            train(
                recipe, engine, work.batches, rate, hooks, tracker, checkpoints, start_step, padded_vocab_size, progress
            )
        results = {}
        if manifest is not None:
            results = _results(recipe, padded_vocab_size, tracker.seconds, run_dir) | work.results()
        if recipe.export != "none" and processes.rank == 0:
            say(f"exporting to {run_dir / 'export'}, and proving it")
            certificate = export_run(run_dir, recipe)
            results["export/max_logit_difference"] = certificate["logits"]["max_difference"]
            results |= job.after(run_dir / "export", tracker)
            _keep_results(manifest, run_dir, results)
            tracker.model(run_dir / "export", final=True)
        status = "finished"
        if manifest is not None:
            manifest.status = "finished"
            _keep_results(manifest, run_dir, results)
    except Stopped:
        status = "stopped"
        raise
    finally:
        tracker.finish(status)
    if manifest is not None:
        job.say_results(manifest.results)
        if (run_dir / "export").is_dir():
            say(f"load it: AutoModelForCausalLM.from_pretrained({str(run_dir / 'export')!r})")


def _keep_results(manifest: Manifest, run_dir: Path, results: dict[str, float]) -> None:
    manifest.results = manifest.results | results
    manifest.write(run_dir)


def _start_tracking(recipe: Recipe, run_dir: Path, manifest: Manifest, start_step: int) -> Tracker:
    return Tracker(
        run_dir,
        recipe.model_dump(mode="json"),
        recipe.tracking,
        manifest,
        total_steps=recipe.training.steps,
        tokens_per_step=recipe.training.global_batch_size * recipe.data.seq_length,
        samples_per_step=recipe.training.global_batch_size,
        resume_step=start_step,
    )


def _say_start(
    recipe: Recipe, layout: Layout, precision: str, padded_vocab_size: int, run_dir: Path, start_step: int, data: str
) -> None:
    processes = "1 process" if layout.world_size == 1 else f"{layout.world_size} processes"
    parameters = parameter_count(recipe.model, padded_vocab_size)
    say(f"run    {run_dir}" + (f", going on after step {start_step}" if start_step else ""))
    say(f"model  {parameters:,} parameters, {precision}, {processes} on {device().type}")
    say(f"data   {data}")


def _results(recipe: Recipe, padded_vocab_size: int, seconds: float, run_dir: Path) -> dict[str, float]:
    """The final figures of every job, by name."""
    last = read_metrics(run_dir / "metrics.jsonl")[-1]
    return {name: value for name, value in last.items() if name == "train/loss" or name.startswith("val/")} | {
        "parameters": parameter_count(recipe.model, padded_vocab_size),
        "tokens": last["tokens"],
        "seconds": seconds,
        "peak_memory_bytes": peak_memory_bytes(),  # of rank 0
    }
