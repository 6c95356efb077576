"""The recipes here are complete, and a stage needs its sources."""

from pathlib import Path

import pytest

from qwen_chat import deepspeed_config
from qwen_chat.reward.recipe import RewardRecipe
from qwen_shared.errors import UserError
from qwen_shared.recipe import check_layout, load_recipe

RECIPES = Path(deepspeed_config.CONFIGS).parent / "reward"
SOURCES = ["data.sources=[pairs]", "data.pmp_sources=[pairs]"]


@pytest.mark.parametrize("name", ["tiny", "7b", "14b"])
def test_the_recipes_here_are_whole(name):
    recipe = load_recipe(RewardRecipe, name, SOURCES, RECIPES)
    assert check_layout(recipe, 1).data_parallel == 1
    if name != "tiny":  # report, section 3.2.1
        assert (recipe.optimizer.lr, recipe.training.global_batch_size) == (3e-6, 64)
        assert (recipe.data.seq_length, recipe.training.epochs) == (2048, 1)
        assert (recipe.schedule.kind, recipe.schedule.warmup_steps) == ("constant", 0)
        assert recipe.stage == "both"


def test_a_stage_needs_its_sources():
    with pytest.raises(UserError, match=r"stage=both reads data\.pmp_sources"):
        load_recipe(RewardRecipe, "tiny", ["stage=both"], RECIPES)
    both = load_recipe(RewardRecipe, "tiny", ["stage=both", *SOURCES], RECIPES)
    assert list(both.data.parts) == ["sources", "pmp_sources"]
