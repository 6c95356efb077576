"""`qwen-base pretrain`: a base model from random weights."""

from __future__ import annotations

from qwen_shared.launch import Invocation
from qwen_shared.tracking import say
from qwen_shared.training.plan import plan_pretrain


def main(invocation: Invocation) -> None:
    plan(invocation)  # what the tokenizer and the layout make impossible shows here, before anything heavy
    say("loading torch and Megatron")  # the next ten seconds would be silent

    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.training.pretrain import pretrain

    pretrain(invocation.recipe, invocation.layout, invocation.run_dir, invocation.command, "base-pretrain")


def plan(invocation: Invocation) -> str:
    return (
        f"{invocation.command} would make {invocation.run_dir}\n{plan_pretrain(invocation.recipe, invocation.layout)}"
    )
