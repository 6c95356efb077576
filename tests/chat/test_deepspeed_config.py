"""DeepSpeed's files are complete and without a recipe's keys."""

import json

import pytest

from qwen_chat import deepspeed_config
from qwen_chat.reward.recipe import RewardRecipe
from qwen_shared.errors import UserError
from qwen_shared.recipe import load_recipe

RECIPES = deepspeed_config.CONFIGS.parent / "reward"


@pytest.mark.parametrize("name", ["zero0", "zero1", "zero2", "zero3"])
def test_the_files_here_leave_the_recipe_its_keys(name):
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
