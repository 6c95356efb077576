"""The pretraining job: recipe and run directory in, a trained, validated and exported model out."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from qwen_shared.backend import (
    Processes,
    device,
    peak_memory_bytes,
    resolve_precision,
    seed_everything,
    start_processes,
    stop_processes,
)
from qwen_shared.convert.import_hf import hf_source
from qwen_shared.data import PreparedSource, ValidationText, prepare, training_blend
from qwen_shared.errors import Stopped, UserError
from qwen_shared.model.sizes import padded_vocab_rows, parameter_count
from qwen_shared.model.weights import random_source
from qwen_shared.recipe import Layout, PretrainRecipe
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.tracking import Manifest, NoTracker, Tracker, data_progress, open_run, read_metrics, say
from qwen_shared.tracking.lock import lock_run
from qwen_shared.training.batches import PackedBatches
from qwen_shared.training.checkpoint import load_checkpoint, newest_whole_checkpoint
from qwen_shared.training.engine import Engine
from qwen_shared.training.export import export_run
from qwen_shared.training.loop import Hooks, train
from qwen_shared.training.run_files import cache_dir, list_checkpoints
from qwen_shared.training.sampling import continue_prompts
from qwen_shared.training.start import Start, keep_start
from qwen_shared.training.validation import validate


def pretrain(
    recipe: PretrainRecipe, layout: Layout, run_dir: Path, command: str, kind: str, origin: Start | None = None
) -> None:
    """Run the whole job, or what is left of it; a new run begins from `origin`, else from random weights.

    Every process calls this; raises Stopped after a signal.
    """
    with contextlib.ExitStack() as stack:
        manifest = prepared = weights = None
        if os.environ.get("RANK", "0") == "0":
            stack.enter_context(lock_run(run_dir))
            # Rank 0 tokenises before the others may join; they find the files in the cache. Data that cannot be read
            # leaves no run behind that would hold on to its recipe.
            if origin and not list_checkpoints(run_dir / "checkpoints"):
                weights = origin.fetch()
            with data_progress() as progress:
                tokenizer = origin.tokenizer if origin else recipe.tokenizer
                prepared = prepare(recipe.data, tokenizer, cache_dir(), progress)
            manifest = open_run(run_dir, recipe, command, kind)[1]
        stack.callback(stop_processes)
        try:
            if manifest is not None:
                if origin:
                    keep_start(origin, weights, run_dir, manifest)
                _record(manifest, recipe, prepared, run_dir)
            parallel = recipe.parallel
            processes = start_processes(
                parallel.tensor_parallel,
                parallel.pipeline_parallel,
                parallel.virtual_pipeline,
                parallel.context_parallel,
            )
            prepared = prepared or prepare(recipe.data, recipe.tokenizer, cache_dir())
            _run(recipe, layout, processes, run_dir, kind, manifest, prepared, origin)
        except BaseException as error:
            if manifest is not None:
                manifest.status = "stopped" if isinstance(error, Stopped | KeyboardInterrupt) else "failed"
                with contextlib.suppress(OSError):  # a full disk must not hide what went wrong
                    manifest.write(run_dir)
            raise


def _record(manifest: Manifest, recipe: PretrainRecipe, prepared: list[PreparedSource], run_dir: Path) -> None:
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
    manifest.precision = manifest.precision or resolve_precision(recipe.training.precision)
    manifest.write(run_dir)


def _hashes(meta: dict[str, Any]) -> tuple[str, str]:
    return meta["train"]["sha256"], meta["validation"]["sha256"]


def _run(
    recipe: PretrainRecipe,
    layout: Layout,
    processes: Processes,
    run_dir: Path,
    kind: str,
    manifest: Manifest | None,
    prepared: list[PreparedSource],
    origin: Start | None,
) -> None:
    tokenizer = load_tokenizer(recipe.tokenizer)
    vocab_rows = padded_vocab_rows(recipe.model, tokenizer.vocab_size, recipe.parallel.tensor_parallel)
    precision = Manifest.read(run_dir).precision  # a run goes on as it began, on whatever machine
    seed_everything(recipe.seed)
    checkpoints = run_dir / "checkpoints"
    start_step = newest_whole_checkpoint(checkpoints)
    if origin and not start_step:
        weights = hf_source(origin.fetch())
    else:
        weights = random_source(recipe.seed, recipe.model.num_layers, recipe.model.init_std, device())
    engine = Engine(recipe, layout, processes, precision, vocab_rows, weights)

    blend = training_blend(prepared, recipe.data.seq_length, recipe.seed)
    batches = PackedBatches(
        blend,
        tokenizer.eod_id,
        layout,
        processes.data_rank,
        recipe.training.global_batch_size,
        recipe.training.micro_batch_size,
        recipe.data.isolate_documents,
    )
    held_out = any(source.meta["validation"]["tokens"] for source in prepared)
    whole_text = part_of_text = None
    if held_out:
        whole_text = ValidationText(prepared, tokenizer, recipe.data.seq_length)
        part_of_text = ValidationText(prepared, tokenizer, recipe.data.seq_length, recipe.evaluation.max_tokens)

    if start_step:
        load_checkpoint(checkpoints, start_step, engine)

    tracker: Tracker | NoTracker = NoTracker()
    if manifest is not None:
        _say_start(recipe, layout, precision, vocab_rows, run_dir, start_step, prepared)
        tracker = _start_tracking(recipe, run_dir, kind, manifest, start_step)

    def at_interval(step: int, final: bool) -> dict[str, float]:
        metrics = {}
        if whole_text is not None:
            metrics = validate(engine, whole_text if final else part_of_text)
        tracker.sample_table(step, continue_prompts(engine, tokenizer, recipe.evaluation, recipe.seed + step))
        return metrics

    def after_save(step: int) -> None:
        if recipe.export == "every" and processes.rank == 0 and step < recipe.training.steps:  # the last comes anyway
            export_run(run_dir, recipe, step, run_dir / "export")

    status = "failed"
    try:
        train(recipe, engine, batches, Hooks(at_interval, after_save), tracker, checkpoints, start_step, vocab_rows)
        certificate = None
        if recipe.export != "none" and processes.rank == 0:
            say(f"exporting to {run_dir / 'export'}, and proving it")
            certificate = export_run(run_dir, recipe)
        status = "finished"
        if manifest is not None:
            manifest.results = _results(recipe, vocab_rows, whole_text, tracker.seconds, run_dir, certificate)
            manifest.status = "finished"
            manifest.write(run_dir)
    except Stopped:
        status = "stopped"
        raise
    finally:
        tracker.finish(status)
    if manifest is not None:
        _say_results(manifest.results, run_dir)


def _start_tracking(recipe: PretrainRecipe, run_dir: Path, kind: str, manifest: Manifest, start_step: int) -> Tracker:
    tracker = Tracker(
        run_dir,
        recipe.model_dump(mode="json"),
        recipe.tracking,
        kind,
        recipe.name,
        manifest.wandb_run_id,
        total_steps=recipe.training.steps,
        tokens_per_step=recipe.training.global_batch_size * recipe.data.seq_length,
        samples_per_step=recipe.training.global_batch_size,
        resume_step=start_step,
    )
    manifest.wandb_run_id = tracker.wandb_id
    manifest.write(run_dir)
    return tracker


def _say_start(
    recipe: PretrainRecipe,
    layout: Layout,
    precision: str,
    vocab_rows: int,
    run_dir: Path,
    start_step: int,
    prepared: list[PreparedSource],
) -> None:
    tokens = sum(source.meta["train"]["tokens"] for source in prepared)
    held_out = sum(source.meta["validation"]["bytes"] for source in prepared)
    processes = "1 process" if layout.world_size == 1 else f"{layout.world_size} processes"
    parameters = parameter_count(recipe.model, vocab_rows)
    sources = ", ".join(source.name for source in prepared)
    say(f"run    {run_dir}" + (f", going on after step {start_step}" if start_step else ""))
    say(f"model  {parameters:,} parameters, {precision}, {processes} on {device().type}")
    say(f"data   {tokens:,} tokens of {sources}; {f'{held_out:,} bytes' if held_out else 'nothing'} held out")


def _results(
    recipe: PretrainRecipe,
    vocab_rows: int,
    text: ValidationText | None,
    seconds: float,
    run_dir: Path,
    certificate: dict[str, Any] | None,
) -> dict[str, float]:
    """The final figures by name."""
    last = read_metrics(run_dir / "metrics.jsonl")[-1]
    results = {
        name: last[name] for name in ("train/loss", "val/loss", "val/perplexity", "val/bits_per_byte") if name in last
    }
    if text is not None:
        results["val/gzip_bits_per_byte"] = text.gzip_bits_per_byte()
        results["val/bytes"] = text.num_bytes
    results |= {"parameters": parameter_count(recipe.model, vocab_rows), "tokens": last["tokens"], "seconds": seconds}
    results["peak_memory_bytes"] = peak_memory_bytes()  # of rank 0
    if certificate:
        results["export/max_logit_difference"] = certificate["logits"]["max_difference"]
    return results


def _say_results(results: dict[str, float], run_dir: Path) -> None:
    if "val/bits_per_byte" in results:
        say(
            f"held-out text: {results['val/bits_per_byte']:.3f} bits per byte over {results['val/bytes']:,} bytes "
            f"(gzip -9: {results['val/gzip_bits_per_byte']:.3f})"
        )
    if (run_dir / "export").is_dir():
        say(f"load it: AutoModelForCausalLM.from_pretrained({str(run_dir / 'export')!r})")
