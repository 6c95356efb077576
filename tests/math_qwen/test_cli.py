"""The verbs of `math-qwen`."""

from math_qwen.cli import RECIPES, VERBS
from math_qwen.recipe import MathRecipe
from qwen_shared.cli import Verb
from qwen_shared.recipe import load_recipe


def test_a_model_from_elsewhere_is_not_asked_as_our_tiny_ones_are(math_qwen, tmp_path):
    """Their answers are short, and they know no system prompt."""
    plan = lambda *words: math_qwen("evaluate", "org/model", "--plan", *words, cwd=tmp_path).stdout
    assert "up to 512 tokens" in plan()
    assert "up to 96 tokens" in plan("--config", "tiny")
    assert "up to 7 tokens" in plan("evaluation.max_new_tokens=7")
    for verb in VERBS:
        if isinstance(verb, Verb) and verb.reads_run:
            recipe = load_recipe(MathRecipe, "tiny", [], RECIPES, verb.own_keys)
            assert recipe.data.system is None and recipe.evaluation.max_new_tokens == 512
            assert recipe.tasks and recipe.data.sources
