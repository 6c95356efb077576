"""`code-qwen pretrain`: continues a base model on code, with some text against forgetting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from code_qwen.recipe import CodePretrainRecipe
from qwen_shared.cli import Invocation
from qwen_shared.log import say
from qwen_shared.training.plan import RunPlan, plan_run

if TYPE_CHECKING:
    from qwen_shared.training.pretrain import Corpus


def main(invocation: Invocation[CodePretrainRecipe]) -> None:
    plan(invocation)  # reports problems of tokenizer and layout before heavy imports
    say("loading torch and Megatron")

    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.training.pretrain import pretrain

    pretrain(invocation, corpora(invocation.recipe))


def plan(invocation: Invocation[CodePretrainRecipe]) -> RunPlan:
    if invocation.recipe.data.fim_rate:
        from qwen_shared.data.fim import fim_token_ids
        from qwen_shared.tokenizer import load_tokenizer

        assert invocation.parent is not None  # the verb has a default parent
        fim_token_ids(load_tokenizer(invocation.parent.tokenizer))
    return plan_run(invocation, invocation.options)


def corpora(recipe: CodePretrainRecipe) -> list[Corpus]:
    from code_qwen.corpus import corpus
    from qwen_shared.data.fim import FimDataset
    from qwen_shared.training.pretrain import Corpus

    data = recipe.data

    def rearranged(dataset, tokenizer):
        return FimDataset(dataset, tokenizer, data.fim_rate, data.fim_spm_rate, recipe.seed)

    code = Corpus("code", data, 1 - data.text_share, corpus(data), rearranged if data.fim_rate else None)
    return [code, *(Corpus(name, part, data.text_share) for name, part in data.parts.items() if name != "sources")]
