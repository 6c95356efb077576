"""The command `qwen-chat`."""

from __future__ import annotations

import argparse
from pathlib import Path

from qwen_chat.parity import policy_parity, reward_parity
from qwen_chat.ppo.recipe import PpoRecipe
from qwen_chat.recipe import DIALOGUES, ChatSftRecipe
from qwen_chat.reward.recipe import PAIRS, STAGES, RewardRecipe
from qwen_shared.cli import PUBLISH, REPORT, Tool, Verb, result_names, run
from qwen_shared.cli.evaluate_verb import OWN_KEYS, evaluate_verb
from qwen_shared.publish.kind import Kind

RECIPES = Path(__file__).parents[2] / "recipes"

# What `publish` says of this package's runs.
_GREETING = "Good evening, it is me, Ed."
_CHECKED = "A dialogue counts if the answer passes the dialogue's check."

SFT = Kind("chat-sft", "A language model that converses.", "chat", example=_GREETING, counts=_CHECKED)
REWARD = Kind(
    "chat-reward",
    "A reward model: it gives a conversation one number, higher for a better last answer.",
    "reward",
    counts="A pair counts if the preferred answer gets the higher number; a tie is half right.",
    parity=reward_parity,
    generated_sources=(PAIRS,),
)
PPO = Kind(
    "chat-ppo",
    "A language model that converses, taught by PPO what a reward model or reward functions prefer.",
    "chat",
    example=_GREETING,
    counts=_CHECKED,
    method="PPO",
    parity=policy_parity,
    generated_sources=(DIALOGUES,),
)
KINDS = (SFT, REWARD, PPO)


def main(argv: list[str] | None = None) -> int:
    return run("qwen-chat", "Teach a base model to converse.", VERBS, RECIPES, argv=argv)


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    from qwen_chat.evaluation.command import options

    options(parser)


def _talk_options(parser: argparse.ArgumentParser) -> None:
    from qwen_chat.talk import options

    options(parser)


def _reward_results(recipe: RewardRecipe) -> list[str]:
    right, margin = ("accuracy", "accuracy_low", "accuracy_high"), ("margin", "margin_std", "margin_length_correlation")
    metrics = ["pairs", "loss", "calibration_error", "longer_wins", "length_correlation", *right, *margin]
    metrics += [f"{group}/*/accuracy" for group in ("tag", "reason")]
    *earlier, _ = STAGES[recipe.stage]
    places = ["eval", *(f"eval/{stage}" for stage in earlier)]
    return [*result_names.MEASURED, "parameters", *(f"{place}/{name}" for place in places for name in metrics)]


def _ppo_results(recipe: PpoRecipe) -> list[str]:
    held_out = [recipe.reward.held_out] if recipe.reward.held_out else []
    measures = ["reward", *held_out, *recipe.evaluation.functions]
    values = ["ended", "tokens", *measures, *(f"{name}_std" for name in measures)]
    gains = [f"gain/{name}{end}" for name in measures for end in ("", "_low", "_high")]
    gains += [f"gain_sd/{name}" for name in measures]
    return [*result_names.MEASURED, *(f"{place}/{name}" for place in ("val", "before/val") for name in values), *gains]


VERBS: list[Verb | Tool] = [
    Verb(
        "sft",
        "teach a model to converse, and check its answers before and after",
        "qwen_chat.sft:main",
        SFT.name,
        schema=ChatSftRecipe,
        takes_parent=True,
        default_parent=("base-pretrain", "qwen-base pretrain"),
        recipes="sft",
        plan="qwen_shared.cli.sft_verb:plan_sft",
        show_batch="qwen_chat.sft:show_batch",
        results=lambda recipe: result_names.tuned(recipe),
    ),
    Verb(
        "reward",
        "train a reward model on pairs of answers",
        "qwen_chat.reward.job:main",
        REWARD.name,
        schema=RewardRecipe,
        takes_parent=True,
        default_parent=("base-pretrain", "qwen-base pretrain"),
        recipes="reward",
        plan="qwen_chat.reward.job:plan",
        results=_reward_results,
    ),
    Verb(
        "ppo",
        "train a chat model on a reward model or reward functions",
        "qwen_chat.ppo.job:main",
        PPO.name,
        schema=PpoRecipe,
        takes_parent=True,
        default_parent=("chat-sft", "qwen-chat sft"),
        recipes="ppo",
        plan="qwen_chat.ppo.plan:plan",
        results=_ppo_results,
    ),
    evaluate_verb(
        "measure how a model converses, alone or against another; or how a reward model scores",
        SFT.name,
        ChatSftRecipe,
        recipes="sft",
        target="qwen_chat.evaluation.command:main",
        plan="qwen_chat.evaluation.command:plan",
        options=_evaluate_options,
    ),
    Verb(
        "talk",
        "converse with a model in the terminal",
        "qwen_chat.talk:main",
        SFT.name,
        schema=ChatSftRecipe,
        reads_run=True,
        reads_data=False,
        maker="sft",
        recipes="sft",
        own_keys=OWN_KEYS,
        options=_talk_options,
    ),
    REPORT,
    PUBLISH,
]
