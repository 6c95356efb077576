"""Stages with their own rates and steps."""

import pytest

from qwen_chat.reward.recipe import RewardRecipe
from qwen_chat.reward.stages import stages_of
from qwen_shared.errors import UserError
from qwen_shared.recipe import load_recipe

from .test_recipe import RECIPES, SOURCES


def test_stages_have_their_own_rates_and_steps():
    words = ["stage=both", *SOURCES, "pmp.lr=1e-3", "pmp.epochs=2", "training.epochs=1", "schedule.warmup_steps=0"]
    recipe = load_recipe(RewardRecipe, "tiny", [*words, "training.global_batch_size=16"], RECIPES)
    pmp, finetune = stages_of(recipe, {"pmp": 100, "finetune": 50})
    assert (pmp.first, pmp.steps, pmp.lr) == (0, 12, 1e-3)
    assert (finetune.first, finetune.steps, finetune.lr) == (12, 3, recipe.optimizer.lr)
    with pytest.raises(UserError, match="leaves nothing of the 12 steps of pmp"):
        stages_of(recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update={"warmup_steps": 12})}), {
            "pmp": 100, "finetune": 50,
        })  # fmt: skip
