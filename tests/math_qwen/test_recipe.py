"""What a math recipe refuses."""

from pathlib import Path

import pytest

from math_qwen.cli import RECIPES
from math_qwen.recipe import MathRecipe
from qwen_shared.errors import UserError
from qwen_shared.recipe import load_recipe


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["problems.level1=0", "problems.level2=0", "problems.level3=0"], "no problem"),
        (["problems.languages=[]"], "empty"),
        (["evaluation.samples=3", "evaluation.temperature=0"], "give evaluation.temperature"),
    ],
)
def test_mistakes_are_one_line(words, message):
    with pytest.raises(UserError, match=message) as error:
        load_recipe(MathRecipe, "tiny", words, Path(RECIPES))
    assert "\n" not in str(error.value)
