"""The command `math-qwen`."""

from __future__ import annotations

import argparse
from pathlib import Path

from math_qwen.recipe import MathRecipe
from qwen_shared.cli import PUBLISH, REPORT, Tool, Verb, result_names, run
from qwen_shared.cli.evaluate_verb import OWN_KEYS, evaluate_verb
from qwen_shared.publish.kind import Kind

RECIPES = Path(__file__).parents[2] / "recipes"

# What `publish` says of this package's runs.
SFT = Kind(
    "math-sft",
    "A language model that answers questions of mathematics step by step.",
    "chat",
    example="Mia found 20 pears and Rosa found 11. How many fewer did Rosa find?",
    counts="A problem counts if the answer is proved equal to the known one.",
)
KINDS = (SFT,)


def main(argv: list[str] | None = None) -> int:
    return run("math-qwen", "Teach a base model to answer, and prove its answers.", VERBS, RECIPES, argv=argv)


# Each tool's flags stand beside its work, and are looked up only when it is asked for.


def _verify_options(parser: argparse.ArgumentParser) -> None:
    from math_qwen.verify.command import options

    options(parser)


def _prepare_options(parser: argparse.ArgumentParser) -> None:
    from math_qwen.prepare.command import options

    options(parser)


def _sample_options(parser: argparse.ArgumentParser) -> None:
    from math_qwen.rejection import options

    options(parser)


VERBS: list[Verb | Tool] = [
    Verb(
        "sft",
        "teach a model to answer, from conversations, and measure it before and after",
        "math_qwen.sft:main",
        SFT.name,
        schema=MathRecipe,
        takes_parent=True,
        default_parent=("base-pretrain", "qwen-base pretrain"),
        plan="qwen_shared.cli.sft_verb:plan_sft",
        show_batch="math_qwen.sft:show_batch",
        results=lambda recipe: result_names.tuned(recipe, nearest=True),
    ),
    evaluate_verb("measure a model's accuracy on math problems, judged by sympy", SFT.name, MathRecipe),
    Verb(
        "sample",
        "draw answers from a model and keep the verified ones, as data to train on",
        "math_qwen.rejection:main",
        SFT.name,
        schema=MathRecipe,
        reads_run=True,
        reads_data=False,
        maker="sft",
        options=_sample_options,
        own_keys=OWN_KEYS,
    ),
    Tool("verify", "compare answers as mathematics", "math_qwen.verify.command:main", _verify_options),
    Tool(
        "prepare",
        "check worked solutions, their answers and every equation, and write those to train on",
        "math_qwen.prepare.command:main",
        _prepare_options,
    ),
    REPORT,
    PUBLISH,
]
