"""Good recipes mean what they say, whichever way they are written."""

import pytest

from qwen_shared.errors import UserError
from qwen_shared.recipe import PretrainRecipe, check_layout, differing_keys, load_recipe, nearest, recipe_text
from qwen_shared.recipe.keys import field_at, leaf_keys
from qwen_shared.recipe.load import read_stored, validate_with
from qwen_shared.recipe.yaml_text import dump_yaml, parse_yaml


def load(recipes, *overrides):
    return load_recipe(PretrainRecipe, "good", list(overrides), recipes)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("optimizer.lr=3e-4", "optimizer.lr", 3e-4),
        ("optimizer.lr=3E-4", "optimizer.lr", 3e-4),
        ("optimizer.lr=1", "optimizer.lr", 1.0),
        (" optimizer.lr = .5 ", "optimizer.lr", 0.5),
        ("training.steps=1e3", "training.steps", 1000),
        ("training.steps=1_000", "training.steps", 1000),
        ("seed=010", "seed", 10),  # not octal
        ("name=007", "name", "007"),
        ("name='quoted'", "name", "quoted"),
        ("name=off", "name", "off"),
        ("export=none", "export", "none"),
        ("tracking.project=a: b", "tracking.project", "a: b"),
        ("model.padded_vocab_size=null", "model.padded_vocab_size", None),
        ("evaluation.prompts=['yes: no', on, 七]", "evaluation.prompts", ["yes: no", "on", "七"]),
        ("data.isolate_documents=true", "data.isolate_documents", True),
    ],
)
def test_override(override, key, value, recipes):
    got = load(recipes, override)
    for part in key.split("."):
        got = getattr(got, part)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("overrides", "sources"),
    [
        (["data.sources=a.txt"], [("a.txt", None)]),
        (["data.sources=[a, b]"], [("a", None), ("b", None)]),
        (["data.sources=[{path: a, weight: 2}]"], [("a", 2.0)]),
        (["data.sources={path: a, weight: 2}"], [("a", 2.0)]),
        (["data.sources=[{path: a, weight: 2}, b]"], [("a", 2.0), ("b", None)]),
        (["data.sources.0.weight=3"], [("stdlib", 3.0)]),
        (["data.sources=[a, b]", "data.sources.1.weight=3"], [("a", None), ("b", 3.0)]),
        (["data.sources=[a, b]", "data.sources.1=c"], [("a", None), ("c", None)]),
        (["data.sources='text #1.txt'"], [("text #1.txt", None)]),
    ],
)
def test_sources(overrides, sources, recipes):
    assert [(s.path, s.weight) for s in load(recipes, *overrides).data.sources] == sources


def test_keys_that_the_file_need_not_answer_for(recipes):
    (recipes / "own.yaml").write_text(
        (recipes / "good.yaml").read_text().replace("evaluation: {", "evaluation: {prompts: [a], sample_tokens: 7, ")
    )
    own = load_recipe(PretrainRecipe, "own", [], recipes)
    assert (own.evaluation.prompts, own.evaluation.sample_tokens) == (["a"], 7)
    other = load_recipe(PretrainRecipe, "own", ["evaluation.sample_tokens=9"], recipes, ("evaluation.", "schedule."))
    assert (other.evaluation.prompts, other.evaluation.sample_tokens) == ([], 9)
    assert other.evaluation.interval == own.evaluation.interval  # which has no default
    assert other.data == own.data


def test_later_override_wins_and_sections_replace(recipes):
    recipe = load(recipes, "schedule={kind: linear, warmup_steps: 5}", "schedule.warmup_steps=7")
    assert (recipe.schedule.kind, recipe.schedule.warmup_steps) == ("linear", 7)


def test_resolved_text_reads_back_equal(recipes, tmp_path):
    """recipe.yaml is the recipe: all keys, in one order, every value with all its bits."""
    recipe = load(
        recipes,
        "name=1e5",  # a word that looks like a number
        "optimizer.lr=0.00012345678901234567",
        "evaluation.prompts=['off', '1e5', 'a\n b', '七 \U0001f600 # no: comment', '', ' x ']",
        "data.sources=[{path: a, weight: 2}, b]",
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe_text(recipe), encoding="utf-8")
    again = load_recipe(PretrainRecipe, str(path), [], recipes)
    assert again == recipe
    assert recipe_text(again) == path.read_text(encoding="utf-8")
    assert differing_keys(recipe, again) == []


@pytest.mark.parametrize(
    "word", ["on", "12:30", "2024-01-01", "0x10", "1_0", "~", "1e5", "null", "007", ".5", "a: b", "-"]
)
def test_words_survive(word):
    assert parse_yaml(dump_yaml({"k": word}), "test") == {"k": word}


def test_differing_keys(recipes):
    old = load(recipes)
    new = load(recipes, "optimizer.lr=0.5", "data.sources=[stdlib, b]")
    assert differing_keys(old, new)[-1] == ("optimizer.lr", 1e-3, 0.5)
    assert ("data.sources.1.path", None, "b") in differing_keys(old, new)
    assert {key.split(".")[0] for key, _, _ in differing_keys(old, new)} == {"data", "optimizer"}


def test_layout_divides_the_world(recipes):
    recipe = load(recipes, "parallel.tensor_parallel=2", "parallel.pipeline_parallel=2")
    layout = check_layout(recipe, 8)
    assert (layout.data_parallel, layout.num_microbatches) == (2, 2)
    assert layout.tensor_parallel * layout.pipeline_parallel * layout.data_parallel == layout.world_size


def test_every_key_is_its_own_nearest():
    for key in leaf_keys(PretrainRecipe):
        assert nearest(key, leaf_keys(PretrainRecipe)) == key
        assert field_at(PretrainRecipe, key.replace(".N", ".0").split(".")) is not None


def test_a_stored_recipe_is_read_with_the_new_names(recipes):
    old = parse_yaml((recipes / "good.yaml").read_text(), "good")
    old["model"]["vocab_rows"], old["data"]["validation_share"] = 512, 0.5
    path = recipes / "old.yaml"
    path.write_text(dump_yaml(old))
    recipe = validate_with(PretrainRecipe, read_stored(path), [], "old")
    assert (recipe.model.padded_vocab_size, recipe.data.validation_fraction) == (512, 0.5)
    with pytest.raises(UserError, match=r"'model.vocab_rows' is now 'model.padded_vocab_size'"):
        load_recipe(PretrainRecipe, "old", ["data.validation_fraction=0.1"], recipes)
    with pytest.raises(UserError, match=r"'data.validation_share' is now 'data.validation_fraction'"):
        load(recipes, "data.validation_share=0.1")
