"""What `qwen-chat reward` would do and need. No torch."""

from __future__ import annotations

from qwen_chat.reward.pairs import load_pairs
from qwen_chat.reward.recipe import STAGES, RewardRecipe
from qwen_chat.reward.stages import stages_of
from qwen_shared.cli import Invocation
from qwen_shared.model.sizes import flops_per_token, pad_vocab_size, parameter_count
from qwen_shared.run.paths import list_checkpoints
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.training.plan.formatting import GIB, PlanOptions, TextPlan, cost, cost_lines, table


def plan_reward(invocation: Invocation[RewardRecipe]) -> TextPlan:
    """Raises UserError for what cannot run."""
    i, recipe = invocation, invocation.recipe
    assert i.layout is not None and i.parent is not None
    model, layout, terms = recipe.model, i.layout, PlanOptions.of(i.options)
    tokenizer = load_tokenizer(i.parent.tokenizer)
    rows = pad_vocab_size(model, tokenizer.vocab_size, 1)
    # A head replaces the output layer.
    output = 0 if model.tied_embeddings else rows * model.hidden_size
    parameters = parameter_count(model, rows) - output + model.hidden_size
    saved = list_checkpoints(i.run_dir / "checkpoints")
    what = f"go on with {i.run_dir} after step {saved[-1]}" if saved else f"make {i.run_dir} from {i.parent}"

    found = {
        name: load_pairs(recipe.data.of(name), recipe.pairs, recipe.seed, tokenizer, name)
        for name in STAGES[recipe.stage]
    }
    batch = recipe.training.global_batch_size
    lines = {
        "model": f"{parameters:,} parameters: {model.num_layers} layers of {model.hidden_size}, "
        f"{rows:,} vocabulary rows, and a head",
        "layout": f"{layout.world_size} processes, {layout.num_microbatches} micro-batches a step, "
        f"{recipe.deepspeed or 'no DeepSpeed'}",
    }
    flops, stages = 0.0, []
    for stage in stages_of(recipe, {name: len(pairs.train) for name, pairs in found.items()}):
        pairs = found[stage.name]
        lengths = [len(pair.chosen) + len(pair.rejected) for pair in pairs.train]
        tokens = round(sum(lengths) / len(lengths) * batch * stage.steps)
        per_token = flops_per_token(model, rows, recipe.data.seq_length) - 6.0 * rows * model.hidden_size
        flops += per_token * tokens
        epochs = stage.steps * batch / len(pairs.train)
        lines[stage.name] = (
            f"{len(pairs.train):,} pairs, {len(pairs.held_out):,} held out; {stage.steps:,} steps × {batch:,} pairs "
            f"= {tokens:,} tokens ({epochs:.3g} epochs), rate {stage.lr:g}"
        )
        counts = {"pairs": len(pairs.train), "held_out": len(pairs.held_out), "steps": stage.steps}
        stages.append({"name": stage.name, **counts, "tokens": tokens, "epochs": epochs, "lr": stage.lr})
    world_size = max(layout.world_size, 1)
    memory = memory_by_stage(recipe, parameters, world_size)
    lines["checkpoints"] = f"every {recipe.checkpoint.interval:,} steps, {14 * parameters / GIB:,.2f} GiB each at bf16"
    lines["memory"] = f"GiB a rank of {world_size}, with activations of {_tokens(recipe):,} tokens"
    lines |= {f"  {stage}": f"{size / GIB:,.2f}" for stage, size in memory.items()}
    machines = [cost(flops, world_size, machine, terms) for machine in terms.machines()]
    text = "\n".join([f"{i.command} would {what}", table(lines), "", *cost_lines(flops, machines, terms)])
    as_dict = {
        "command": i.command,
        "run_dir": str(i.run_dir),
        "from": str(i.parent),
        "steps_done": saved[-1] if saved else 0,
        "model": {"parameters": parameters, "vocabulary_rows": rows},
        "stages": stages,
        "memory": memory,
        "checkpoint_bytes": 14 * parameters,
        "flops": flops,
        "machines": machines,
        "mfu": terms.mfu,
        "price": terms.price,
    }
    return TextPlan(text, as_dict)


def memory_by_stage(recipe: RewardRecipe, parameters: int, world_size: int) -> dict[str, float]:
    """Bytes per rank under ZeRO 0 to 3: bf16 weights and gradients, fp32 main weights and Adam's moments (Rajbhandari
    et al. 2020), and activations. Without DeepSpeed all is fp32.
    """
    weights, gradients, optimizer = 2 * parameters, 2 * parameters, 12 * parameters
    kept = _activations(recipe)
    return {
        "without": 16 * parameters + kept,
        "zero0": weights + gradients + optimizer + kept,
        "zero1": weights + gradients + optimizer / world_size + kept,
        "zero2": weights + (gradients + optimizer) / world_size + kept,
        "zero3": (weights + gradients + optimizer) / world_size + kept,
    }


def _tokens(recipe: RewardRecipe) -> int:
    return 2 * recipe.training.micro_batch_size * recipe.data.seq_length


def _activations(recipe: RewardRecipe) -> float:
    """bf16 bytes kept for the backward pass, for conversations of full length."""
    model = recipe.model
    H, F, D, N, G = model.hidden_size, model.ffn_hidden_size, model.head_size, model.num_attention_heads, model.kv_heads
    layer = 5 * H + (2 * N + 2 * G) * D + (N + G) * D + 4 * F
    kept = model.num_layers * H + layer if recipe.training.recompute == "full" else model.num_layers * layer
    return 2.0 * _tokens(recipe) * kept
