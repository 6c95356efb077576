"""What `qwen-chat reward` would do, in seconds and without torch."""

from __future__ import annotations

from qwen_chat.reward.pairs import load_pairs
from qwen_chat.reward.recipe import STAGES, RewardRecipe
from qwen_chat.reward.stages import stages_of
from qwen_shared.launch import Invocation
from qwen_shared.model.sizes import flops_per_token, padded_vocab_rows, parameter_count
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.training.run_files import list_checkpoints

_GIB = 2**30


def plan_reward(invocation: Invocation) -> str:
    """A table of parameters, pairs, steps, tokens, FLOPs and memory. Raises UserError for what cannot be."""
    i, recipe = invocation, invocation.recipe
    model, layout = recipe.model, i.layout
    tokenizer = load_tokenizer(i.origin.tokenizer)
    rows = padded_vocab_rows(model, tokenizer.vocab_size, 1)
    # A language model's, with a head in place of its output layer.
    output = 0 if model.tied_embeddings else rows * model.hidden_size
    parameters = parameter_count(model, rows) - output + model.hidden_size
    saved = list_checkpoints(i.run_dir / "checkpoints")
    what = f"go on with {i.run_dir} after step {saved[-1]}" if saved else f"make {i.run_dir} from {i.origin}"

    found = {name: load_pairs(recipe, name, tokenizer) for name in STAGES[recipe.stage]}
    batch = recipe.training.global_batch_size
    lines = {
        "model": f"{parameters:,} parameters: {model.num_layers} layers of {model.hidden_size}, "
        f"{rows:,} vocabulary rows, and a head",
        "layout": f"{layout.world_size} processes, {layout.num_microbatches} micro-batches a step, "
        f"{recipe.deepspeed or 'no DeepSpeed'}",
    }
    flops = 0.0
    for stage in stages_of(recipe, {name: len(pairs.train) for name, pairs in found.items()}):
        pairs = found[stage.name]
        lengths = [len(pair.chosen) + len(pair.rejected) for pair in pairs.train]
        tokens = round(sum(lengths) / len(lengths) * batch * stage.steps)
        per_token = flops_per_token(model, rows, recipe.data.seq_length) - 6.0 * rows * model.hidden_size
        flops += per_token * tokens
        lines[stage.name] = (
            f"{len(pairs.train):,} pairs, {len(pairs.held_out):,} held out; {stage.steps:,} steps × {batch:,} pairs "
            f"= {tokens:,} tokens ({stage.steps * batch / len(pairs.train):.3g} epochs), rate {stage.lr:g}"
        )
    lines["compute"] = f"{flops:.3g} FLOPs"
    world_size = max(layout.world_size, 1)
    lines["memory"] = f"GiB a rank of {world_size}, with what a pass keeps of {_places(recipe):,} places"
    for stage, size in memory_by_stage(recipe, parameters, world_size).items():
        lines[f"  {stage}"] = f"{size / _GIB:,.2f}"
    lines["checkpoints"] = f"every {recipe.checkpoint.interval:,} steps, {14 * parameters / _GIB:,.2f} GiB each at bf16"
    width = max(map(len, lines))
    return f"{i.command} would {what}\n" + "\n".join(f"{name:<{width}}  {text}" for name, text in lines.items())


def memory_by_stage(recipe: RewardRecipe, parameters: int, world_size: int) -> dict[str, float]:
    """Bytes per rank under ZeRO 0 to 3: bf16 weights and gradients, fp32 main weights and Adam's two moments
    (Rajbhandari et al. 2020), and what the forward pass keeps. Without DeepSpeed all is fp32 and whole."""
    weights, gradients, optimizer = 2 * parameters, 2 * parameters, 12 * parameters
    kept = _activations(recipe)
    return {
        "without": 16 * parameters + kept,
        "zero0": weights + gradients + optimizer + kept,
        "zero1": weights + gradients + optimizer / world_size + kept,
        "zero2": weights + (gradients + optimizer) / world_size + kept,
        "zero3": (weights + gradients + optimizer) / world_size + kept,
    }


def _places(recipe: RewardRecipe) -> int:
    return 2 * recipe.training.micro_batch_size * recipe.data.seq_length


def _activations(recipe: RewardRecipe) -> float:
    """Bytes that a rank keeps for the backward pass, in bf16, where every conversation is as long as allowed."""
    model = recipe.model
    H, F, D, N, G = model.hidden_size, model.ffn_hidden_size, model.head_size, model.num_attention_heads, model.kv_heads
    layer = 5 * H + (2 * N + 2 * G) * D + (N + G) * D + 4 * F
    kept = model.num_layers * H + layer if recipe.training.recompute == "full" else model.num_layers * layer
    return 2.0 * _places(recipe) * kept
