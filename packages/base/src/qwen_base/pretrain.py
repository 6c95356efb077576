"""`qwen-base pretrain`: a base model, from random weights or from another model's."""

from __future__ import annotations

from qwen_shared.launch import Invocation
from qwen_shared.tracking import say
from qwen_shared.training.plan import plan_pretrain
from qwen_shared.training.run_files import list_checkpoints


def main(invocation: Invocation) -> None:
    plan(invocation)  # what the tokenizer and the layout make impossible shows here, before anything heavy
    say("loading torch and Megatron")  # the next ten seconds would be silent

    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.training.pretrain import pretrain

    pretrain(
        invocation.recipe,
        invocation.layout,
        invocation.run_dir,
        invocation.command,
        "base-pretrain",
        invocation.origin,
    )


def plan(invocation: Invocation) -> str:
    saved = list_checkpoints(invocation.run_dir / "checkpoints")
    what = f"go on with {invocation.run_dir} after step {saved[-1]}" if saved else f"make {invocation.run_dir}"
    recipe = invocation.recipe
    if invocation.origin:
        what += f" from {invocation.origin}"
        recipe = recipe.model_copy(update={"tokenizer": invocation.origin.tokenizer})  # the run may not have it yet
    return f"{invocation.command} would {what}\n{plan_pretrain(recipe, invocation.layout)}"
