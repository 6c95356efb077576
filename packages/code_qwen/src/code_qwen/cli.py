"""The command `code-qwen`."""

from __future__ import annotations

import argparse
from pathlib import Path

from code_qwen.recipe import CodePretrainRecipe, CodeSftRecipe
from qwen_shared.cli import PUBLISH, REPORT, Tool, Verb, result_names, run
from qwen_shared.cli.evaluate_verb import evaluate_verb
from qwen_shared.publish.kind import Kind

RECIPES = Path(__file__).parents[2] / "recipes"

# What `publish` says of this package's runs.
PRETRAIN = Kind(
    "code-pretrain",
    "A base language model that went on with code: it continues programs and text.",
    "base",
)
SFT = Kind(
    "code-sft",
    "A language model that writes functions as they are described.",
    "chat",
    example="Implement scale_value(x). It should return 9 times x, plus 15.",
    counts="A problem counts if the program passes all its tests, run in a sandbox.",
)
KINDS = (PRETRAIN, SFT)


def main(argv: list[str] | None = None) -> int:
    return run("code-qwen", "Teach a base model to write code, and run what it writes.", VERBS, RECIPES, argv=argv)


# Each tool's flags stand beside its work, and are looked up only when it is asked for.


def _isolation_options(parser: argparse.ArgumentParser) -> None:
    from code_qwen.evaluation.command import isolation_option

    isolation_option(parser)


def _prepare_options(parser: argparse.ArgumentParser) -> None:
    from code_qwen.corpus.command import options

    options(parser)


VERBS: list[Verb | Tool] = [
    Verb(
        "pretrain",
        "go on with a base model's training, on code and some text",
        "code_qwen.pretrain:main",
        PRETRAIN.name,
        schema=CodePretrainRecipe,
        recipes="pretrain",
        takes_parent=True,
        default_parent=("base-pretrain", "qwen-base pretrain"),
        plan="code_qwen.pretrain:plan",
        results=lambda recipe: result_names.pretrained(*(name for name in recipe.data.parts if name != "sources")),
    ),
    Verb(
        "sft",
        "teach a model to write functions, and count before and after how many pass their tests",
        "code_qwen.sft:main",
        SFT.name,
        schema=CodeSftRecipe,
        recipes="sft",
        takes_parent=True,
        default_parent=("code-pretrain", "code-qwen pretrain"),
        plan="qwen_shared.cli.sft_verb:plan_sft",
        show_batch="code_qwen.sft:show_batch",
        options=_isolation_options,
        results=lambda recipe: result_names.tuned(recipe, nearest=True),
    ),
    evaluate_verb(
        "measure how many of a model's programs pass their tests, run in a sandbox",
        SFT.name,
        CodeSftRecipe,
        recipes="sft",
        target="code_qwen.evaluation.command:main",
        options=_isolation_options,
    ),
    Tool(
        "prepare",
        "show what the filters keep of a source tree, and write it",
        "code_qwen.corpus.command:main",
        _prepare_options,
    ),
    REPORT,
    PUBLISH,
]
