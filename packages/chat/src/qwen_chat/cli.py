"""The command `qwen-chat`."""

from __future__ import annotations

import argparse
from pathlib import Path

from qwen_chat.ppo_recipe import PpoRecipe
from qwen_chat.recipe import ChatSftRecipe
from qwen_chat.reward.recipe import RewardRecipe
from qwen_shared.launch import REPORT, Verb, publish_tool, run

RECIPES = Path(__file__).parents[2] / "recipes"


def main(argv: list[str] | None = None) -> int:
    return run("qwen-chat", "Teach a base model to converse.", VERBS, RECIPES, argv=argv)


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    from qwen_chat.evaluation.command import options

    options(parser)


def _talk_options(parser: argparse.ArgumentParser) -> None:
    from qwen_chat.talk import options

    options(parser)


# What a recipe says of how a model is asked holds for models that were taught by it.
_OWN_KEYS = ("evaluation.", "data.system")

VERBS = [
    Verb(
        "sft",
        "teach a model to converse, and check its answers before and after",
        "qwen_chat.sft:main",
        "chat-sft",
        schema=ChatSftRecipe,
        takes_start=True,
        parent=("base-pretrain", "qwen-base pretrain"),
        recipes="sft",
        plan="qwen_chat.sft:plan",
        show_batch="qwen_chat.sft:show_batch",
    ),
    Verb(
        "reward",
        "train a reward model on pairs of answers",
        "qwen_chat.reward.job:main",
        "chat-reward",
        schema=RewardRecipe,
        takes_start=True,
        parent=("base-pretrain", "qwen-base pretrain"),
        recipes="reward",
        plan="qwen_chat.reward.job:plan",
    ),
    Verb(
        "ppo",
        "teach a chat model what a reward model, or reward functions, prefer",
        "qwen_chat.ppo_run.job:main",
        "chat-ppo",
        schema=PpoRecipe,
        takes_start=True,
        parent=("chat-sft", "qwen-chat sft"),
        recipes="ppo",
        plan="qwen_chat.ppo_run.plan:plan",
    ),
    Verb(
        "evaluate",
        "measure how a model converses, alone or against another; or how a reward model judges",
        "qwen_chat.evaluation.command:main",
        "chat-sft",
        schema=ChatSftRecipe,
        reads_run=True,
        reads_data=False,
        maker="sft",
        recipes="sft",
        plan="qwen_chat.evaluation.command:plan",
        own_keys=_OWN_KEYS,
        options=_evaluate_options,
    ),
    Verb(
        "talk",
        "converse with a model in the terminal",
        "qwen_chat.talk:main",
        "chat-sft",
        schema=ChatSftRecipe,
        reads_run=True,
        reads_data=False,
        maker="sft",
        recipes="sft",
        own_keys=_OWN_KEYS,
        options=_talk_options,
    ),
    REPORT,
    publish_tool("qwen_chat.publish:main"),
]
