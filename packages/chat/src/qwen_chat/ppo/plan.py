"""What `qwen-chat ppo` would do and need. No torch."""

from __future__ import annotations

import math
from pathlib import Path

from qwen_chat.ppo.recipe import PpoRecipe
from qwen_chat.ppo.scorer import find_function
from qwen_shared.cli import Invocation
from qwen_shared.convert.hf_files import stored_tensors
from qwen_shared.errors import UserError
from qwen_shared.job.parent import ParentModel
from qwen_shared.model.sizes import flops_per_token, pad_vocab_size, parameter_count
from qwen_shared.recipe.schema import Model
from qwen_shared.run.manifest import MANIFEST, Manifest
from qwen_shared.run.paths import find_export, list_checkpoints
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.training.plan.formatting import GIB, PlanOptions, TextPlan, cost, cost_lines, table

KIND = "chat-ppo"
# Bytes per parameter at bf16: weights, gradients, and AdamW's two moments with the fp32 weights.
_WEIGHTS, _GRADIENTS, _OPTIMIZER = 2, 4, 12


def check(recipe: PpoRecipe, world_size: int, parent: ParentModel | None = None) -> Path | None:
    """The directory of the reward model; None if functions alone give the reward.

    Raises UserError for unknown runs or functions, an unfit parent, or a batch that ranks cannot share.
    """
    _check_parent(parent)
    for function in recipe.reward.functions:
        find_function(function.name, "reward.functions")
    for name in recipe.evaluation.functions:
        find_function(name, "evaluation.functions")
    if recipe.reward.held_out:
        find_function(recipe.reward.held_out, "reward.held_out")
    shares = {"training.global_batch_size": recipe.training.global_batch_size}
    if recipe.pretraining:
        shares["pretraining.global_batch_size"] = recipe.pretraining.global_batch_size
    for key, count in shares.items():
        if count % world_size:
            raise UserError(f"{key}={count} is not a multiple of the {world_size} processes")
    if (recipe.training.global_batch_size // world_size) % recipe.training.minibatches:
        raise UserError(
            f"training.minibatches={recipe.training.minibatches} does not divide the "
            f"{recipe.training.global_batch_size // world_size} responses of each process"
        )
    return _reward_directory(recipe)


def _check_parent(parent: ParentModel | None) -> None:
    run_dir = Path(parent.name) if parent else None
    if run_dir and (run_dir / MANIFEST).is_file() and Manifest.read(run_dir).kind == "chat-reward":
        raise UserError(f"--from {run_dir}: a reward model cannot answer; give a run of sft")


def _reward_directory(recipe: PpoRecipe) -> Path | None:
    named = recipe.reward.model
    if named is None and recipe.reward.functions:
        return None
    directory = Path(named).expanduser() if named else Path("runs") / "chat-reward" / recipe.name
    if (directory / MANIFEST).is_file():
        manifest = Manifest.read(directory)
        if manifest.kind != "chat-reward":
            raise UserError(f"reward.model={directory}: a run of {manifest.kind}, not of `qwen-chat reward`")
        if manifest.status != "finished":
            raise UserError(f"reward.model={directory}: that run is {manifest.status}, not finished")
        return find_export(directory) or directory / "export"
    if (directory / "config.json").is_file():
        return directory
    if named is None:
        raise UserError(
            f"{directory}: no reward model there; `qwen-chat reward --config {recipe.name}` makes it; or give "
            "reward.model= or reward.functions="
        )
    raise UserError(f"reward.model={named}: neither a run of `qwen-chat reward` nor a model in Hugging Face form")


def plan(invocation: Invocation[PpoRecipe]) -> TextPlan:
    """Steps, memory per rank by ZeRO stage, FLOPs and costs. Raises UserError as `check` does."""
    i, recipe = invocation, invocation.recipe
    assert i.layout is not None and i.parent is not None
    world_size, terms = i.layout.world_size, PlanOptions.of(i.options)
    reward = check(recipe, world_size, i.parent)
    saved = list_checkpoints(i.run_dir / "checkpoints")
    what = f"go on with {i.run_dir} after step {saved[-1]}" if saved else f"make {i.run_dir}"
    training, generation = recipe.training, recipe.generation
    rows = pad_vocab_size(recipe.model, load_tokenizer(i.parent.tokenizer).vocab_size, 1)
    parameters = parameter_count(recipe.model, rows)
    sizes = {
        "policy": parameters,
        "value": 0 if recipe.value.share_trunk else parameters,
        "reference": 0 if recipe.policy.lora else parameters,
        "reward": sum(math.prod(t.shape) for t in stored_tensors(reward).values()) if reward else 0,
    }
    functions = ", ".join(f"{f.weight:g} × {f.name}" for f in recipe.reward.functions)
    lines = {
        "models": ", ".join(f"{name} {size:,}" for name, size in sizes.items() if size) + " parameters",
        "reward": " + ".join(filter(None, (str(reward or ""), functions))),
        "training": f"{training.steps:,} steps × {training.global_batch_size:,} responses "
        f"({generation.responses_per_query} a prompt, at most {generation.max_new_tokens} tokens), "
        f"{training.epochs} × {training.minibatches} updates a step; the first {training.value_warmup_steps} steps "
        "train only the value",
        "rates": f"policy {recipe.policy.lr:g}, value {recipe.value.lr:g}, KL {recipe.reward.kl_coefficient:g}",
        "memory": f"GiB a rank of {world_size}, at bf16",
    }
    memory = {f"zero{stage}": _memory(recipe, sizes, rows, stage, world_size) for stage in range(4)}
    flops = _flops(recipe, rows, bool(reward), saved[-1] if saved else 0)
    machines = [cost(flops, world_size, machine, terms) for machine in terms.machines()]
    text = [
        f"{i.command} would {what} from {i.parent}",
        table(lines),
        *_memory_lines(memory),
        "",
        *cost_lines(flops, machines, terms),
        "  for responses of the longest length; generation is bound by memory and takes longer than its FLOPs",
    ]
    as_dict = {
        "command": i.command,
        "run_dir": str(i.run_dir),
        "from": str(i.parent),
        "steps_done": saved[-1] if saved else 0,
        "parameters": sizes,
        "training": {"steps": training.steps, "responses_per_step": training.global_batch_size},
        "memory": {stage: parts | {"total": sum(parts.values())} for stage, parts in memory.items()},
        "flops": flops,
        "machines": machines,
        "mfu": terms.mfu,
        "price": terms.price,
    }
    return TextPlan("\n".join(text), as_dict)


def _flops(recipe: PpoRecipe, rows: int, has_reward: bool, done: int) -> float:
    """Of the remaining steps: the policy generates, three models read, policy and value model learn."""
    training, S = recipe.training, recipe.data.seq_length
    learn = flops_per_token(recipe.model, rows, S)  # forward and backward, of one model
    read, values = learn / 3, 0 if recipe.value.share_trunk else 1
    places = training.global_batch_size * S
    steps = training.steps - done
    both = max(0, training.steps - max(done, training.value_warmup_steps))  # steps that also train the policy
    passes = (2 + values + has_reward) * read + training.epochs * values * learn
    total = steps * places * passes + both * places * training.epochs * learn
    if recipe.pretraining:
        updates = both * training.epochs * training.minibatches
        total += updates * recipe.pretraining.global_batch_size * recipe.pretraining.data.seq_length * learn
    return total


def _memory(recipe: PpoRecipe, sizes: dict[str, int], rows: int, stage: int, ranks: int) -> dict[str, float]:
    models = {name: _state(recipe, name, size, stage, ranks) for name, size in sizes.items()}
    return models | _working_memory(recipe, rows)


def _memory_lines(memory: dict[str, dict[str, float]]) -> list[str]:
    rows = [["", *next(iter(memory.values())), "total"]]
    for stage, parts in memory.items():
        rows.append([f"  {stage}", *(f"{value / GIB:,.2f}" for value in (*parts.values(), sum(parts.values())))])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _state(recipe: PpoRecipe, name: str, size: int, stage: int, ranks: int) -> float:
    """Bytes per rank of weights, gradients and optimizer."""
    lora = recipe.policy.lora
    weights, learning = float(_WEIGHTS * size), size if name in ("policy", "value") else 0
    if name == "policy" and lora:
        learning = _adapter_parameters(recipe.model, lora.rank)
        weights = size * (lora.bits / 8 if lora.bits else _WEIGHTS) + _WEIGHTS * learning
    gradients, optimizer = _GRADIENTS * learning, _OPTIMIZER * learning
    return (
        weights / (ranks if stage >= 3 else 1)
        + gradients / (ranks if stage >= 2 else 1)
        + optimizer / (ranks if stage >= 1 else 1)
    )


def _adapter_parameters(m: Model, rank: int) -> int:
    """rank · (in + out) of every linear layer."""
    H, F, D, N, G = m.hidden_size, m.ffn_hidden_size, m.head_size, m.num_attention_heads, m.kv_heads
    shapes = [(H, N * D), (H, G * D), (H, G * D), (N * D, H), (H, F), (H, F), (F, H)]
    return m.num_layers * rank * sum(a + b for a, b in shapes)


def _working_memory(recipe: PpoRecipe, rows: int) -> dict[str, float]:
    """Bytes of a micro-batch in training, and of the KV cache of all responses."""
    m, B, S = recipe.model, recipe.training.micro_batch_size, recipe.data.seq_length
    R = recipe.generation.max_new_tokens
    H, F, D, N, G = m.hidden_size, m.ffn_hidden_size, m.head_size, m.num_attention_heads, m.kv_heads
    kept = m.num_layers * (5 * H + 3 * (N + G) * D + 4 * F)
    return {
        "activations": 2.0 * B * S * kept,
        "logits": 2 * 4.0 * B * R * rows,  # and their gradient
        "cache": 2.0 * 2 * m.num_layers * G * D * S * recipe.training.global_batch_size,
    }
