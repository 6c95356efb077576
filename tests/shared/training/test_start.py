"""What `--from` may name, what a recipe makes of it, and when a run refuses to begin from something else."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from qwen_shared.convert.families import read_model
from qwen_shared.convert.names import weight_table
from qwen_shared.errors import UserError
from qwen_shared.recipe import PretrainRecipe
from qwen_shared.tokenizer import load_tokenizer
from qwen_shared.tracking import Manifest, open_run
from qwen_shared.tracking.manifest import read_recipe
from qwen_shared.training import start

CONFIG = {"model_type": "llama", "vocab_size": 8192, "hidden_size": 8, "intermediate_size": 6, "num_hidden_layers": 1}
CONFIG |= {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64}
RECIPE = """
name: x
data: {sources: stdlib, seq_length: 16}
training: {steps: 4, global_batch_size: 4}
optimizer: {lr: 1e-3}
checkpoint: {interval: 2}
evaluation: {interval: 2}
"""


def _write(directory: Path, seed=0, **changes) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(CONFIG | changes))
    model, draw = read_model(directory), np.random.default_rng(seed)
    shapes = {k: shape for parts in weight_table(model, model.vocab_rows).values() for k, shape in parts.items()}
    save_file({k: draw.random(shape, np.float32) for k, shape in shapes.items()}, directory / "model.safetensors")
    load_tokenizer("default").save_hf(directory)
    return directory


@pytest.fixture
def llama(tmp_path) -> Path:
    return _write(tmp_path / "llama")


@pytest.fixture
def recipe_of(tmp_path):
    """recipe_of(resolved start, override, …): the recipe of a run in tmp_path/run."""
    (tmp_path / "x.yaml").write_text(RECIPE)

    def recipe(found, *overrides):
        config = str(tmp_path / "x.yaml")
        return start.recipe_from(found, PretrainRecipe, config, list(overrides), tmp_path, tmp_path / "run")

    return recipe


@pytest.fixture
def begun(llama, recipe_of, tmp_path, monkeypatch):
    """A run that began from `llama` and has logged a step, but has no checkpoint. Nothing is proved, nothing heavy."""

    def prove(job, directory, tokenizer, digest, target):
        proved = {"tensors": {"compared": 11}, "logits": {"layers": 1, "max_difference": 0.0}}
        target.write_text(json.dumps(proved | {"hash": digest}))

    monkeypatch.setattr(start, "in_own_process", prove)
    found = start.resolve_start(str(llama))
    _, manifest = open_run(tmp_path / "run", recipe_of(found), "toy", "toy")
    start.keep_start(found, found.fetch(), tmp_path / "run", manifest)
    manifest.write(tmp_path / "run")
    (tmp_path / "run/metrics.jsonl").write_text('{"step": 1}\n')
    return tmp_path / "run"


def test_a_place_and_a_step(tmp_path):
    assert start.split_start("runs/a@100") == ("runs/a", 100)
    assert start.split_start("org/model") == ("org/model", None)
    (tmp_path / "a@b").mkdir()
    assert start.split_start(f"{tmp_path}/a@b") == (f"{tmp_path}/a@b", None)
    with pytest.raises(UserError, match=r"'last' is not a step; write RUN@STEP, for example runs/a@100"):
        start.split_start("runs/a@last")


def test_a_directory(llama, recipe_of):
    found = start.resolve_start(str(llama))
    assert (found.name, found.step, found.fetch()) == (str(llama), None, llama)
    recipe = recipe_of(found)
    assert (recipe.model.vocab_rows, recipe.model.max_positions, recipe.model.kv_heads) == (8192, 64, 1)
    assert recipe.tokenizer.endswith("/run/tokenizer")


def test_rows_grow_for_a_tokenizer_with_more_ids(tmp_path):
    found = start.resolve_start(str(_write(tmp_path / "small", vocab_size=8100)))
    assert found.model.vocab_rows == 8192


def test_anothers_tokenizer_is_noticed(tmp_path):
    with pytest.raises(UserError, match="8,192 ids and its embedding 1,000 rows: they are not of one model"):
        start.resolve_start(str(_write(tmp_path / "small", vocab_size=1000)))


def test_a_run_that_has_no_step_yet_does_not_forget_its_start(begun, llama, tmp_path):
    """Killed before its first step, and started again without --from: not quietly from random weights."""
    (begun / "metrics.jsonl").unlink()
    with pytest.raises(UserError, match=f"began from another model: say --from {llama} again"):
        start.find_start(begun, None)
    other = _write(tmp_path / "other")
    assert start.find_start(begun, str(other)).name == str(other)  # nothing is lost


def test_what_may_differ_and_what_not(llama, recipe_of):
    found = start.resolve_start(str(llama))
    overrides = ["model.vocab_rows=8320", "model.rope_base=5e5", "model.max_positions=128", "data.seq_length=128"]
    changed = recipe_of(found, *overrides).model
    assert (changed.vocab_rows, changed.rope_base, changed.max_positions) == (8320, 5e5, 128)
    for override, said in (
        ("model.num_layers=2", r"model.num_layers=2 contradicts --from .*, which has 1"),
        ("model.qkv_bias=true", "model.qkv_bias=True contradicts"),
        ("model.vocab_rows=8064", "8192 rows, and more can be had"),
        ("model.vocab_rows=null", "8192 rows, and more can be had"),
        ("tokenizer=default", "--from brings its own tokenizer"),
        ("data.seq_length=65", r"more than the 64 positions .*set model.max_positions=65"),
    ):
        with pytest.raises(UserError, match=said):
            recipe_of(found, override)


def test_what_is_no_start(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for text, said in (
        (f"{tmp_path}/nowhere", "no such directory, and no name that the Hugging Face hub could have"),
        ("organisation/no-such-model", "no such directory, and not to be had from the Hugging Face hub"),
        (str(tmp_path), r"has no config\.json"),
        (f"{tmp_path}@3", "only runs have steps"),
    ):
        with pytest.raises(UserError, match=said) as error:
            start.resolve_start(text)
        assert "\n" not in str(error.value)


def test_a_run_without_a_checkpoint_is_no_start(begun):
    with pytest.raises(UserError, match="no checkpoint to start from yet"):
        start.resolve_start(str(begun))


def test_the_run_keeps_its_tokenizer_wherever_it_is(begun, llama, tmp_path):
    assert "tokenizer: ./tokenizer\n" in (begun / "recipe.yaml").read_text()
    moved = begun.rename(tmp_path / "moved")
    recipe = read_recipe(moved, PretrainRecipe)
    assert recipe.tokenizer == str(moved / "tokenizer")
    assert load_tokenizer(recipe.tokenizer).fingerprint == load_tokenizer(str(llama)).fingerprint


def test_a_run_with_a_checkpoint_needs_its_start_no_more(begun, llama, monkeypatch):
    (begun / "checkpoints/step-00000002").mkdir(parents=True)
    name = str(llama)
    llama.rename(llama.with_name("gone"))
    found = start.find_start(begun, name)
    assert (found.name, found.model.vocab_rows, found.tokenizer) == (name, 8192, str(begun / "tokenizer"))
    manifest = Manifest.read(begun)
    start.keep_start(found, None, begun, manifest)
    assert manifest.parent.hash is not None
    monkeypatch.chdir(llama.parent)
    assert start.find_start(begun, "llama").name == name  # the same place in other words


def test_another_start_is_refused(begun, llama, tmp_path):
    with pytest.raises(UserError, match=f"began from another model: say --from {llama} again"):
        start.find_start(begun, None)
    other = _write(tmp_path / "other")
    with pytest.raises(UserError, match=f"began from {llama}, not from {other}"):
        start.find_start(begun, str(other))
    manifest = Manifest.read(begun)
    manifest.parent = None
    manifest.write(begun)
    with pytest.raises(UserError, match="began from random weights: leave --from"):
        start.find_start(begun, str(llama))


def test_before_the_first_checkpoint_the_weights_must_be_the_same(begun, llama):
    manifest = Manifest.read(begun)
    found = start.find_start(begun, str(llama))
    start.keep_start(found, found.fetch(), begun, manifest)
    _write(llama, seed=1)
    with pytest.raises(UserError, match=f"--from {llama} changed since .* began, which has no checkpoint yet"):
        start.keep_start(found, found.fetch(), begun, manifest)
    (begun / "metrics.jsonl").unlink()  # nothing is lost: it may begin from what there now is
    before = manifest.parent.hash
    start.keep_start(start.find_start(begun, str(llama)), llama, begun, manifest)
    assert manifest.parent.hash != before
