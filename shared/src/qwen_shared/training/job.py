"""Every job on the Megatron-core trainer: data in; a trained, validated and exported model out."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from qwen_shared import faults
from qwen_shared.backend import Processes, device, peak_memory_bytes, seed_everything, start_processes
from qwen_shared.backend.random import capture_rng, restore_rng
from qwen_shared.convert.import_hf import hf_source
from qwen_shared.data import PreparedSource
from qwen_shared.data.prepare import Progress
from qwen_shared.job.export import export_run
from qwen_shared.job.frame import Run, run_job
from qwen_shared.job.parent import carries_optimizer, prove_import
from qwen_shared.job.spec import RunSpec
from qwen_shared.log import say
from qwen_shared.model.loss import Loss, token_loss
from qwen_shared.model.sizes import pad_vocab_size, parameter_count
from qwen_shared.model.weights import random_source
from qwen_shared.recipe import Layout, Recipe
from qwen_shared.run import read_metrics
from qwen_shared.run.integrity import require_whole
from qwen_shared.run.paths import list_checkpoints
from qwen_shared.tokenizer import Tokenizer, load_tokenizer
from qwen_shared.tracking import NoTracker, Tracker, data_progress
from qwen_shared.training.checkpoint import load_checkpoint
from qwen_shared.training.engine import Engine
from qwen_shared.training.loop import Batches, Hooks, train
from qwen_shared.training.sampling import Prompt, continue_prompts
from qwen_shared.training.schedule import lr_schedule

Results = dict[str, float]
Evaluate = Callable[[Path, str, Tracker | NoTracker], Results]  # takes a model's directory and "before" or "after"


@dataclass(frozen=True)
class Work:
    """What is trained on, with which loss, and how the model is looked at."""

    batches: Batches
    validate: Callable[[Engine, bool], Results]  # metrics of held-out data; True: of all of it
    data: str  # a line for the console
    say_results: Callable[[Results], None]
    loss: Loss = token_loss
    prompts: list[Prompt] = field(default_factory=list)  # continued at every validation, to be read
    results: Callable[[], Results] = dict  # more final numbers
    rate: Callable[[int], float] | None = None  # the learning rate of a step; default: the recipe's schedule
    evaluate: Evaluate | None = None  # on rank 0, for the parent before the first step and for the export


class Prepared(Protocol):
    @property
    def sources(self) -> list[PreparedSource]: ...


class Training[P: Prepared](Protocol):
    """One kind of training: pretraining, fine-tuning."""

    def prepare(self, progress: Progress | None) -> P:
        """Token files of the recipe's data."""
        ...

    def work(self, prepared: P, tokenizer: Tokenizer, layout: Layout, data_rank: int) -> Work: ...


def train_on_megatron[R: Recipe](spec: RunSpec[R], training: Training) -> None:
    """Run the whole job, or what is left of it. Every process calls this; raises Stopped after a signal."""
    run_job(spec, _MegatronJob(spec.recipe, training))


@dataclass(frozen=True)
class _MegatronJob[P: Prepared]:
    """The trainer as a job of the frame."""

    recipe: Recipe
    training: Training[P]
    needs_parent = False

    def prepare(self, run: Run) -> P:
        if run.manifest is None:
            return self.training.prepare(None)
        parent, is_new = run.spec.parent, not list_checkpoints(run.checkpoints)
        if parent and is_new and carries_optimizer(self.recipe):
            require_whole(Path(parent.name, "checkpoints"), parent.step or 0)
        with data_progress() as progress:
            prepared = self.training.prepare(progress)
        if parent and is_new and run.manifest.parent:
            prove_import(parent, parent.fetch(), run.run_dir, run.manifest.parent.hash or "")
        return prepared

    def data(self, prepared: P) -> list[dict[str, Any]]:
        return [{"name": source.name, **source.meta} for source in prepared.sources]

    def join(self, timeout: datetime.timedelta) -> Processes:
        parallel = self.recipe.parallel
        return start_processes(
            parallel.tensor_parallel,
            parallel.pipeline_parallel,
            parallel.virtual_pipeline,
            parallel.context_parallel,
            timeout=timeout,
        )

    def train(self, run: Run, prepared: P) -> None:
        recipe, layout, processes = self.recipe, run.spec.layout, run.processes
        tokenizer = load_tokenizer(recipe.tokenizer)
        padded_vocab_size = pad_vocab_size(recipe.model, tokenizer.vocab_size, recipe.parallel.tensor_parallel)
        seed_everything(recipe.seed)
        work = self.training.work(prepared, tokenizer, layout, processes.data_rank)
        if run.parent_dir:
            weights = hf_source(run.parent_dir)
        else:
            weights = random_source(recipe.seed, recipe.model.num_layers, recipe.model.init_std, device())
        engine = Engine(recipe, layout, processes, run.precision, padded_vocab_size, weights, work.loss)
        progress = None
        if run.resume_step:
            progress = load_checkpoint(run.checkpoints, run.resume_step, engine)
        elif run.spec.parent and carries_optimizer(recipe):
            parent = run.spec.parent
            load_checkpoint(Path(parent.name, "checkpoints"), parent.step or 0, engine, random_states=False)

        if run.rank == 0:
            ranks = "1 process" if run.world_size == 1 else f"{run.world_size} processes"
            parameters = parameter_count(recipe.model, padded_vocab_size)
            run.say_start(
                f"model  {parameters:,} parameters, {run.precision}, {ranks} on {device().type}", f"data   {work.data}"
            )
        batch = recipe.training.global_batch_size
        tracker = run.track(recipe.training.steps, batch, batch * recipe.data.seq_length)
        if run.parent_dir:
            _look_before(run, work, engine, run.parent_dir)

        def at_interval(step: int, final: bool) -> Results:
            faults.reach("evaluation", step)
            metrics = work.validate(engine, final)
            faults.reach("generation", step)
            rows = continue_prompts(engine, tokenizer, work.prompts, recipe.evaluation, recipe.seed + step)
            tracker.sample_table(step, rows)
            return metrics

        def after_save(step: int) -> None:
            # The last step's export comes anyway.
            if recipe.export == "every" and run.rank == 0 and step < recipe.training.steps:
                export_run(run.run_dir, recipe, step, run.run_dir / "export")
                tracker.model(run.run_dir / "export", final=False)

        hooks, rate = Hooks(at_interval, after_save), work.rate or lr_schedule(recipe)
        start = run.checkpoints, run.resume_step
        with run.training() as engine.alive:
            train(recipe, engine, work.batches, rate, hooks, tracker, *start, padded_vocab_size, progress)
        if run.rank == 0:
            run.keep_results(_results(run, padded_vocab_size) | work.results())
            _export(run, work)
            if run.manifest:
                work.say_results(run.manifest.results)
                say_loading(run.run_dir, "AutoModelForCausalLM")


def _look_before(run: Run, work: Work, engine: Engine, parent_dir: Path) -> None:
    """Measure the model that training starts from. What is drawn for it changes nothing."""
    drawn_so_far = capture_rng()
    run.keep_results({f"before/{name}": value for name, value in work.validate(engine, True).items()})
    if run.rank == 0 and work.evaluate:
        work.evaluate(parent_dir, "before", run.tracker)
    restore_rng(drawn_so_far)


def _results(run: Run[Recipe], padded_vocab_size: int) -> Results:
    """The final numbers of every job."""
    last = read_metrics(run.run_dir / "metrics.jsonl")[-1]
    return {name: value for name, value in last.items() if name == "train/loss" or name.startswith("val/")} | {
        "parameters": parameter_count(run.recipe.model, padded_vocab_size),
        "tokens": last["tokens"],
        "seconds": run.tracker.seconds,
        "peak_memory_bytes": peak_memory_bytes(),  # of rank 0
    }


def _export(run: Run[Recipe], work: Work) -> None:
    if run.recipe.export == "none":
        return
    directory = run.run_dir / "export"
    say(f"exporting to {directory}, and proving it")
    certificate = export_run(run.run_dir, run.recipe)
    results = {"export/max_logit_difference": certificate["logits"]["max_difference"]}
    run.keep_results(results | (work.evaluate(directory, "after", run.tracker) if work.evaluate else {}))
    run.tracker.model(directory, final=True)


def say_loading(run_dir: Path, auto_class: str) -> None:
    if (run_dir / "export").is_dir():
        say(f"load it: {auto_class}.from_pretrained({str(run_dir / 'export')!r})")
