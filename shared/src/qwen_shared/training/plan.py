"""What a recipe would do, in seconds and without a GPU, Megatron or torch."""

from __future__ import annotations

from pathlib import Path

from qwen_shared.model.sizes import flops_per_token, padded_vocab_rows, parameter_count
from qwen_shared.recipe import Layout, Recipe, SftRecipe
from qwen_shared.recipe.schema import Schedule
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.training.run_files import list_checkpoints
from qwen_shared.training.start import Start, carries_optimizer

_GIB = 2**30
# Dense bf16 peak FLOP/s of the vendor's data sheet, and the share of it that a good run reaches.
_REFERENCE_GPU, _REFERENCE_PEAK, _REFERENCE_MFU = "H100", 989e12, 0.40


def plan_run(command: str, recipe: Recipe, layout: Layout, run_dir: Path, origin: Start | None) -> str:
    """What a command would make or go on with, and `plan_training`'s table. Raises UserError for what cannot be."""
    saved = list_checkpoints(run_dir / "checkpoints")
    what = f"go on with {run_dir} after step {saved[-1]}" if saved else f"make {run_dir}"
    if origin:
        what += f" from {origin}"
        if carries_optimizer(recipe) and not saved:
            what += " and its optimizer's state"
        recipe = recipe.model_copy(update={"tokenizer": origin.tokenizer})  # the run may not have it yet
    return f"{command} would {what}\n{plan_training(recipe, layout)}"


def plan_training(recipe: Recipe, layout: Layout) -> str:
    """A table of parameters, memory per rank, tokens, steps, FLOPs and time. Raises UserError for what cannot be."""
    tokenizer = load_tokenizer(recipe.tokenizer)
    rows = padded_vocab_rows(recipe.model, tokenizer.vocab_size, recipe.parallel.tensor_parallel)
    parameters = parameter_count(recipe.model, rows)
    tokens_per_step = recipe.training.global_batch_size * recipe.data.seq_length
    tokens = recipe.training.steps * tokens_per_step
    flops = flops_per_token(recipe.model, rows, recipe.data.seq_length) * tokens
    hours = flops / (_REFERENCE_PEAK * _REFERENCE_MFU) / 3600
    lines = {
        "model": f"{parameters:,} parameters: {recipe.model.num_layers} layers of {recipe.model.hidden_size}, "
        f"{recipe.model.num_attention_heads} heads, {rows:,} vocabulary rows ({tokenizer.vocab_size:,} ids)",
        "data": f"{_sources(recipe)}, {recipe.data.seq_length} tokens a sample",
        "training": f"{recipe.training.steps:,} steps × {recipe.training.global_batch_size:,} samples "
        f"= {tokens_per_step:,} tokens a step, {tokens:,} in all",
        "layout": _layout(recipe, layout),
        **_rates(recipe),
        "memory": _memory(recipe, layout, rows, parameters),
        "compute": f"{flops:.3g} FLOPs: {hours:,.2f} {_REFERENCE_GPU} hours at {_REFERENCE_MFU:.0%} of peak",
        "checkpoints": f"every {recipe.checkpoint.interval:,} steps, {14 * parameters / _GIB:,.2f} GiB each at bf16",
    }
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines.items())


def _sources(recipe: Recipe) -> str:
    said = {key: ", ".join(source.path for source in part.sources) for key, part in recipe.data.parts.items()}
    return "; ".join(paths if key == "sources" else f"{key}: {paths}" for key, paths in said.items())


def _rates(recipe: Recipe) -> dict[str, str]:
    stages = recipe.stages if isinstance(recipe, SftRecipe) else []
    if not stages:
        return {"rate": _rate(recipe.schedule, recipe.optimizer.lr)}
    said = {}
    for number, stage in enumerate(stages, start=1):
        sources = ", ".join(stage.sources or ["all sources"])
        rate = _rate(stage.schedule or recipe.schedule, stage.lr or recipe.optimizer.lr)
        said[f"stage {number}"] = f"{stage.name}: {stage.steps:,} steps of {sources}; {rate}"
    return said


def _rate(schedule: Schedule, peak: float) -> str:
    return f"{schedule.kind}, peak {peak:g}, warm-up {schedule.warmup_steps:,} steps"


def _layout(recipe: Recipe, layout: Layout) -> str:
    parallel = recipe.parallel
    sizes = f"tensor {layout.tensor_parallel} × pipeline {layout.pipeline_parallel} × data {layout.data_parallel}"
    if layout.context_parallel > 1:
        sizes += f" × context {layout.context_parallel}"
    more = [f"{layout.num_microbatches} micro-batches a step"]
    if parallel.virtual_pipeline > 1:
        more.append(f"{parallel.virtual_pipeline} pieces a stage")
    if parallel.sequence_parallel:
        more.append("sequence parallel")
    if parallel.recompute != "none":
        more.append(f"{parallel.recompute} recompute")
    return f"{layout.world_size} processes = {sizes}; {', '.join(more)}"


def _memory(recipe: Recipe, layout: Layout, rows: int, parameters: int) -> str:
    """GiB per rank that training state takes at bf16, and what activations add."""
    tokens = recipe.training.micro_batch_size * recipe.data.seq_length / layout.context_parallel  # of this rank's part
    share = parameters / (layout.tensor_parallel * layout.pipeline_parallel)
    parts = {
        "weights": 2 * share,  # bf16
        "gradients": 4 * share,  # fp32
        "optimizer": 12 * share / layout.data_parallel,
        "activations": 2 * tokens * _kept_elements(recipe, layout),
        # And their gradient: in bf16, or, where tensor ranks share the vocabulary, in fp32.
        "logits": 2 * (2 if layout.tensor_parallel == 1 else 4) * tokens * rows / layout.tensor_parallel,
    }
    shown = ", ".join(f"{name} {size / _GIB:,.2f}" for name, size in parts.items())
    return f"about {sum(parts.values()) / _GIB:,.2f} GiB a rank ({shown})"


def _kept_elements(recipe: Recipe, layout: Layout) -> float:
    """Elements per token that a rank keeps for the backward pass."""
    model, parallel = recipe.model, recipe.parallel
    H, F, D = model.hidden_size, model.ffn_hidden_size, model.head_size
    N, G = model.num_attention_heads, model.kv_heads
    tp, pp, vp = parallel.tensor_parallel, parallel.pipeline_parallel, parallel.virtual_pipeline
    # Per layer: the residual stream and the norms' outputs, which only sequence parallelism divides; and what tensor
    # ranks divide: query, key, value and the attention's output; rotated query and key; the MLP's inside.
    stream, attention, rotated, mlp = 5 * H, (2 * N + 2 * G) * D, (N + G) * D, 4 * F
    stream_share = stream / (tp if parallel.sequence_parallel else 1)
    whole = stream_share + (attention + rotated + mlp) / tp
    kept = {
        "none": whole,
        "selective": stream_share + attention / tp,
        "full": stream_share / 5,  # each layer's input
    }[parallel.recompute]
    in_flight = min(pp, layout.num_microbatches) + (pp - 1) / vp * (vp > 1)
    layers = model.num_layers / pp
    return kept * layers * in_flight + (whole - kept)  # and the one layer that is being computed again
