"""Goals, and the recipes that are shipped."""

import pytest

from qwen_shared.family.cli import RECIPES
from qwen_shared.family.schema import Family, parse_goal
from qwen_shared.recipe import load_recipe


@pytest.mark.parametrize(
    ("text", "holds", "fails"),
    [
        ("<= 1e-3", 0.0009, 0.002),
        (">= .5", 0.5, 0.4),
        (">=5.", 5.0, 4.9),
        ("<= -1.5E+2", -151.0, 0.0),
        (">= +2", 2.0, 1.0),
    ],
)
def test_goals_are_usual_numbers(text, holds, fails):
    assert parse_goal(text).holds(holds) and not parse_goal(text).holds(fails)


@pytest.mark.parametrize("text", [">= .", ">= nan", "<= inf", ">= 1e", "<= 1_0", "> 1", "== 1", "<= 1 2", "1"])
def test_what_is_no_goal(text):
    with pytest.raises(ValueError, match="is not a goal"):
        parse_goal(text)


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_recipes_hold(name):
    family = load_recipe(Family, name, [], RECIPES)
    assert family.name == name
    kinds = {stage.kind for stage in family.stages}
    assert {"base-pretrain", "code-sft", "math-sft", "chat-ppo"} <= kinds
