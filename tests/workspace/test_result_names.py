"""A family's goals are checked against the names of results before anything is trained."""

import sys

import forked
import pytest

from qwen_shared.cli.result_names import check_result_names
from qwen_shared.errors import UserError
from qwen_shared.family.cli import RECIPES
from qwen_shared.family.schema import Family
from qwen_shared.recipe import load_recipe

FAMILIES = [load_recipe(Family, path.stem, [], RECIPES) for path in sorted(RECIPES.glob("*.yaml"))]
STAGES = [(family, stage) for family in FAMILIES for stage in family.stages]
MODEL = "model={num_layers: 2, hidden_size: 64, num_attention_heads: 8, ffn_hidden_size: 64}"


@pytest.fixture
def check(verb_of, members):
    """check(family, stage, names): as the stage's command would."""

    def run(family, stage, names) -> None:
        verb = verb_of(stage.command)
        (member,) = [m for m in members if m.package.name == verb.target.split(".")[0]]
        recipes = member.folder / "recipes" / verb.recipes
        words = [MODEL] if verb.default_parent else []
        recipe = load_recipe(verb.schema, stage.config or family.name, [*words, *family.keys_of(stage)], recipes)
        check_result_names(verb, recipe, names)

    return run


@pytest.mark.parametrize(("family", "stage"), STAGES, ids=[f"{family.name}-{stage.name}" for family, stage in STAGES])
def test_goals_are_on_results_that_there_will_be(family, stage, check):
    check(family, stage, stage.goals)
    for goal in stage.goals:
        with pytest.raises(UserError, match=f"'{goal}s'; nearest: {goal}"):
            check(family, stage, [f"{goal}s"])
    with pytest.raises(UserError, match="'val/nothing'"):
        check(family, stage, ["val/nothing"])


def test_a_task_that_is_not_asked_has_no_result(check):
    family = next(family for family in FAMILIES if family.name == "tiny")
    stage = next(stage for stage in family.stages if stage.command == "math-qwen sft")
    with pytest.raises(UserError, match=r"'eval/level4/accuracy'; nearest: eval/level[1-3]/accuracy"):
        check(family, stage, ["eval/level4/accuracy"])


def test_the_command_says_it(tmp_path, environment):
    words = ["pretrain", "--config", "tiny", "--check", "--result", "val/bits_per_bite"]
    done = forked.run(
        [sys.executable, "-m", "qwen_base", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    said = "the run will have no result 'val/bits_per_bite'; nearest: val/bits_per_byte"
    assert done.stderr == f"qwen-base pretrain: error: {said}\n"


def test_the_flags_old_name_is_refused(tmp_path, environment):
    command = [sys.executable, "-m", "qwen_base", "pretrain", "--check", "--figure", "val/loss"]
    done = forked.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    said = "qwen-base pretrain: error: no flag --figure; it is now called --result\n"
    assert (done.returncode, done.stderr) == (2, said)
