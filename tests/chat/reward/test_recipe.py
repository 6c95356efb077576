"""Recipes and DeepSpeed's files: what is refused, and that those here are whole."""

import json
from pathlib import Path

import pytest

from qwen_chat import deepspeed_config
from qwen_chat.reward.plan import memory_by_stage
from qwen_chat.reward.recipe import RewardRecipe
from qwen_chat.reward.stages import stages_of
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


@pytest.mark.parametrize("name", ["zero0", "zero1", "zero2", "zero3"])
def test_deepspeeds_files_leave_the_recipe_what_is_the_recipes(name):
    config = deepspeed_config.load_config(name, 2, 4, 1.0, "bf16")
    assert config["zero_optimization"]["stage"] == int(name[-1])
    assert config["train_micro_batch_size_per_gpu"] == 2
    assert config["gradient_accumulation_steps"] == 4
    assert config["bf16"] == {"enabled": True}


def test_a_file_with_keys_of_the_recipe_is_refused(tmp_path):
    path = tmp_path / "mine.json"
    for content, said in (("{", "JSON"), ("[]", "expected an object"), ('{"fp16": {}}', "'fp16' is set by")):
        path.write_text(content)
        with pytest.raises(UserError, match=said):
            deepspeed_config.load_config(str(path), 1, 1, 1.0, "fp32")
    path.write_text(json.dumps({"zero_optimization": {"stage": 1}}))
    assert deepspeed_config.load_config(str(path), 1, 1, 1.0, "fp32")["zero_optimization"] == {"stage": 1}
    with pytest.raises(UserError, match="nearest: 'zero2'"):
        load_recipe(RewardRecipe, "tiny", ["deepspeed=zero-2"], RECIPES)


def test_a_missing_compiler_is_one_line(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match="no-such-compiler"):
        deepspeed_config.check_compiler()


def test_zero_divides_more_and_more():
    words = ["model={num_layers: 2, hidden_size: 64, num_attention_heads: 4, ffn_hidden_size: 128}"]
    recipe = load_recipe(RewardRecipe, "tiny", words, RECIPES)
    one, four = (memory_by_stage(recipe, 10**9, n) for n in (1, 4))
    assert one["zero0"] == one["zero3"] == four["zero0"]
    assert four["zero0"] > four["zero1"] > four["zero2"] > four["zero3"]
    assert one["zero0"] - four["zero3"] == pytest.approx(16e9 * 3 / 4)
