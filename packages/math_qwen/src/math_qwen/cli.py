"""The command `math-qwen`."""

from __future__ import annotations

import argparse
from pathlib import Path

from math_qwen.recipe import MathRecipe
from qwen_shared.launch import Verb, run

KIND = "math-sft"
RECIPES = Path(__file__).parents[2] / "recipes"


def main(argv: list[str] | None = None) -> int:
    return run("math-qwen", "Teach a base model to answer, and prove its answers.", VERBS, RECIPES, argv=argv)


def _sft_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--show-batch",
        type=int,
        nargs="?",
        const=4,
        metavar="N",
        help="show the first N samples' tokens, coloured by what is in the loss, and stop (default: 4)",
    )


VERBS = [
    Verb(
        "sft",
        "teach a model to answer, from conversations",
        "math_qwen.sft:main",
        KIND,
        schema=MathRecipe,
        takes_start=True,
        parent=("base-pretrain", "qwen-base pretrain"),
        plan="math_qwen.sft:plan",
        options=_sft_options,
    ),
]
