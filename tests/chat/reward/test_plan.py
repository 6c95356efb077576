"""Memory by ZeRO stage."""

import pytest

from qwen_chat.reward.plan import memory_by_stage
from qwen_chat.reward.recipe import RewardRecipe
from qwen_shared.recipe import load_recipe

from .test_recipe import RECIPES


def test_zero_divides_more_and_more():
    words = ["model={num_layers: 2, hidden_size: 64, num_attention_heads: 4, ffn_hidden_size: 128}"]
    recipe = load_recipe(RewardRecipe, "tiny", words, RECIPES)
    one, four = (memory_by_stage(recipe, 10**9, n) for n in (1, 4))
    assert one["zero0"] == one["zero3"] == four["zero0"]
    assert four["zero0"] > four["zero1"] > four["zero2"] > four["zero3"]
    assert one["zero0"] - four["zero3"] == pytest.approx(16e9 * 3 / 4)
