"""A package's command that does nothing but fine-tune: the smallest one there can be."""

import sys
from pathlib import Path

from qwen_shared.cli import Verb, run
from qwen_shared.recipe import SftRecipe

VERBS = [
    Verb(
        "sft",
        "fine-tune",
        "tuner.work:sft",
        "toy-sft",
        schema=SftRecipe,
        takes_parent=True,
        default_parent=("base-pretrain", "qwen-base pretrain"),
        plan="tuner.work:plan",
        show_batch="tuner.work:show_batch",
    )
]

if __name__ == "__main__":
    sys.exit(run("tuner", "A toy.", VERBS, Path(__file__).parent / "recipes", default_config="micro"))
