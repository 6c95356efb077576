"""`qwen-base pretrain`: a base model, from random weights or from another model's."""

from __future__ import annotations

from qwen_base.kinds import PRETRAIN
from qwen_shared.cli import Invocation
from qwen_shared.log import say
from qwen_shared.recipe import PretrainRecipe
from qwen_shared.training.plan import RunPlan, plan_run


def main(invocation: Invocation[PretrainRecipe]) -> None:
    plan(invocation)  # what the tokenizer and the layout make impossible shows here, before anything heavy
    say("loading torch and Megatron")  # takes ten seconds

    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.training.pretrain import pretrain

    assert invocation.layout is not None
    pretrain(
        invocation.recipe,
        invocation.layout,
        invocation.run_dir,
        invocation.command,
        PRETRAIN.name,
        invocation.parent,
    )


def plan(invocation: Invocation[PretrainRecipe]) -> RunPlan:
    i = invocation
    assert i.layout is not None
    return plan_run(i.command, i.recipe, i.layout, i.run_dir, i.parent, i.options)
