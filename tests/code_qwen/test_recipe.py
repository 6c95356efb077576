"""Renamed keys of the code recipes are refused with the new key named."""

import pytest

from code_qwen.corpus.settings import Filters
from code_qwen.recipe import CodePretrainRecipe
from qwen_shared.errors import UserError
from qwen_shared.recipe import load_recipe
from qwen_shared.recipe.load import load_settings
from qwen_shared.run.manifest import read_recipe

FILE = """
name: x
model: {{num_layers: 4, hidden_size: 64, num_attention_heads: 4, ffn_hidden_size: 96}}
data: {{sources: stdlib, seq_length: 128, {data}}}
training: {{steps: 100, global_batch_size: 8}}
optimizer: {{lr: 1e-3}}
checkpoint: {{interval: 10}}
evaluation: {{interval: 10}}
"""
RATE = "'data.fill_in_middle.rate' is now 'data.fim_rate'"
SPM = "'data.fill_in_middle.spm_share' is now 'data.fim_spm_rate'"
NEAR = "'data.filters.near_duplicates' is now 'data.filters.near_duplicate_threshold'"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fill_in_middle: {rate: 0.5}", ["'data.fill_in_middle'", "0.5", RATE]),
        ("fill_in_middle: {rate: 0.5, spm_share: 0.1}", [RATE, SPM]),
        ("fill_in_middle: {}", [RATE, SPM]),
        ("filters: {near_duplicates: 0.8}", ["=0.8", NEAR]),
    ],
)
def test_in_a_file(text, words, tmp_path):
    (tmp_path / "x.yaml").write_text(FILE.format(data=text))
    refused(words, lambda: load_recipe(CodePretrainRecipe, "x", [], tmp_path))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.fill_in_middle.rate=0.5", ["=0.5", RATE]),
        ("data.fill_in_middle={rate: 0.5}", ["{rate: 0.5}", RATE]),
        ("data.filters.near_duplicates=0.8", ["=0.8", NEAR]),
        ("data.filters={near_duplicates: 0.8}", ["=0.8", NEAR]),
    ],
)
def test_in_an_override(override, words, tmp_path):
    (tmp_path / "x.yaml").write_text(FILE.format(data="isolate_documents: true"))
    load_recipe(CodePretrainRecipe, "x", ["data.fim_rate=0.5"], tmp_path)
    refused(words, lambda: load_recipe(CodePretrainRecipe, "x", [override], tmp_path))


def test_in_a_section_alone():
    new = "'near_duplicates' is now 'near_duplicate_threshold'"
    refused([new], lambda: load_settings(Filters, ["near_duplicates=0.8"], "--filters"))


def refused(words, load):
    with pytest.raises(UserError) as raised:
        load()
    for word in words:
        assert word in str(raised.value), str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_run_of_before_is_read_with_the_new_names(tmp_path):
    data = "fill_in_middle: {rate: 0.5, spm_share: 0.1}, filters: {near_duplicates: 0.8}"
    (tmp_path / "recipe.yaml").write_text(FILE.format(data=data))
    recipe = read_recipe(tmp_path, CodePretrainRecipe, ["data.fim_spm_rate=0.25"])
    assert (recipe.data.fim_rate, recipe.data.fim_spm_rate) == (0.5, 0.25)
    assert recipe.data.filters.near_duplicate_threshold == 0.8
