"""What a pretraining recipe would do, in seconds and without a GPU, Megatron or torch."""

from __future__ import annotations

from qwen_shared.model.sizes import flops_per_token, padded_vocab_rows, parameter_count
from qwen_shared.recipe import Layout, PretrainRecipe
from qwen_shared.tokenizer import load_tokenizer

_GIB = 2**30
# Dense bf16 peak FLOP/s of the vendor's data sheet, and the share of it that a good run reaches.
_REFERENCE_GPU, _REFERENCE_PEAK, _REFERENCE_MFU = "H100", 989e12, 0.40


def plan_pretrain(recipe: PretrainRecipe, layout: Layout) -> str:
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
        "data": f"{', '.join(source.path for source in recipe.data.sources)}, {recipe.data.seq_length} tokens a sample",
        "training": f"{recipe.training.steps:,} steps × {recipe.training.global_batch_size:,} samples "
        f"= {tokens_per_step:,} tokens a step, {tokens:,} in all",
        "layout": f"{layout.world_size} processes = tensor {layout.tensor_parallel} × pipeline "
        f"{layout.pipeline_parallel} × data {layout.data_parallel}; {layout.num_microbatches} micro-batches a step",
        "rate": f"{recipe.schedule.kind}, peak {recipe.optimizer.lr:g}, warm-up {recipe.schedule.warmup_steps:,} steps",
        "memory": _memory(recipe, layout, rows, parameters),
        "compute": f"{flops:.3g} FLOPs: {hours:,.2f} {_REFERENCE_GPU} hours at {_REFERENCE_MFU:.0%} of peak",
        "checkpoints": f"every {recipe.checkpoint.interval:,} steps, {14 * parameters / _GIB:,.2f} GiB each at bf16",
    }
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines.items())


def _memory(recipe: PretrainRecipe, layout: Layout, rows: int, parameters: int) -> str:
    """GiB per rank that training state takes at bf16, and what activations add."""
    model = recipe.model
    H, F, S, B = model.hidden_size, model.ffn_hidden_size, recipe.data.seq_length, recipe.training.micro_batch_size
    share = parameters / (layout.tensor_parallel * layout.pipeline_parallel)
    weights, gradients = 2 * share, 4 * share  # bf16 weights, fp32 gradients
    optimizer = 12 * share / (layout.data_parallel if recipe.parallel.distributed_optimizer else 1)
    layers = model.num_layers / layout.pipeline_parallel
    in_flight = min(layout.pipeline_parallel, layout.num_microbatches)
    # Per token and layer, bf16: inputs and norms (5·H) whole; QKV, attention and SwiGLU divided by tensor ranks.
    activations = 2 * B * S * layers * in_flight * (5 * H + (6 * H + 4 * F) / layout.tensor_parallel)
    logits = 4 * B * S * rows / layout.tensor_parallel * 2  # fp32, and their gradient
    total = weights + gradients + optimizer + activations + logits
    parts = {
        "weights": weights,
        "gradients": gradients,
        "optimizer": optimizer,
        "activations": activations,
        "logits": logits,
    }
    shown = ", ".join(f"{name} {size / _GIB:,.2f}" for name, size in parts.items())
    return f"about {total / _GIB:,.2f} GiB a rank ({shown})"
