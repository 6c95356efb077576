"""`qwen-base pretrain`: a base model, from random weights or from another model's."""

from __future__ import annotations

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

    pretrain(invocation)


def plan(invocation: Invocation[PretrainRecipe]) -> RunPlan:
    return plan_run(invocation, invocation.options)
