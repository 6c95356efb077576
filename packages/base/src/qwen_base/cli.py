"""The command `qwen-base`."""

from __future__ import annotations

import argparse
from pathlib import Path

from qwen_shared.cli import PUBLISH, REPORT, Tool, Verb, result_names, run
from qwen_shared.cli.evaluate_verb import evaluate_verb
from qwen_shared.publish.kind import Kind
from qwen_shared.recipe import PretrainRecipe

RECIPES = Path(__file__).parents[2] / "recipes"

# What `publish` says of this package's runs.
PRETRAIN = Kind("base-pretrain", "A base language model: it continues text.", "base")
KINDS = (PRETRAIN,)


def main(argv: list[str] | None = None) -> int:
    return run("qwen-base", "Pretrain Qwen base models and look at what they learned.", VERBS, RECIPES, argv=argv)


def _generate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompt", action="append", metavar="TEXT", help="text to continue; may stand several times")
    parser.add_argument("--max-tokens", type=int, default=128, metavar="N", help="new tokens (default: 128)")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="T", help="0 is greedy (default: 0.8)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the sampling (default: 0)")


def _export_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", type=Path, metavar="DIR", help="where to write it (default: <run>/export)")


VERBS: list[Verb | Tool] = [
    Verb(
        "pretrain",
        "train a base model, from random weights or --from another model; or go on with a stopped run",
        "qwen_base.pretrain:main",
        PRETRAIN.name,
        takes_parent=True,
        plan="qwen_base.pretrain:plan",
        results=lambda recipe: result_names.pretrained(),
    ),
    evaluate_verb(
        "measure a run's loss, bits per byte and perplexity on held-out text",
        PRETRAIN.name,
        PretrainRecipe,
        target="qwen_base.evaluate:main",
        plan="qwen_base.evaluate:plan",
        maker="pretrain",
    ),
    Verb(
        "generate",
        "continue prompts with a run's model",
        "qwen_base.generate:main",
        PRETRAIN.name,
        reads_run=True,
        reads_data=False,
        plan="qwen_base.generate:plan",
        options=_generate_options,
    ),
    Verb(
        "export",
        "write a run's model in Hugging Face form",
        "qwen_base.export:main",
        PRETRAIN.name,
        reads_run=True,
        reads_data=False,
        plan="qwen_base.export:plan",
        options=_export_options,
    ),
    REPORT,
    PUBLISH,
]
