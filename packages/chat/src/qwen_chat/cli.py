"""The command `qwen-chat`."""

from __future__ import annotations

from pathlib import Path

from qwen_chat.ppo_recipe import PpoRecipe
from qwen_chat.recipe import ChatSftRecipe
from qwen_chat.reward.recipe import RewardRecipe
from qwen_shared.launch import Verb, run

RECIPES = Path(__file__).parents[2] / "recipes"


def main(argv: list[str] | None = None) -> int:
    return run("qwen-chat", "Teach a base model to converse.", VERBS, RECIPES, argv=argv)


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
]
