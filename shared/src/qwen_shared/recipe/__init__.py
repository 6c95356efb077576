"""Typed recipes: YAML plus key=value, checked without heavy imports."""

from qwen_shared.recipe.keys import nearest
from qwen_shared.recipe.layout import Layout, check_layout
from qwen_shared.recipe.load import check_tokenizer, differing_keys, load_recipe, recipe_name, recipe_text, validate
from qwen_shared.recipe.schema import RESULT_NEUTRAL, PretrainRecipe, Recipe, RunRecipe, TrainedModel
from qwen_shared.recipe.sft_schema import SftRecipe

__all__ = [
    "RESULT_NEUTRAL",
    "Layout",
    "PretrainRecipe",
    "Recipe",
    "RunRecipe",
    "SftRecipe",
    "TrainedModel",
    "check_layout",
    "check_tokenizer",
    "differing_keys",
    "load_recipe",
    "nearest",
    "recipe_name",
    "recipe_text",
    "validate",
]
