"""What `--from` may name, what a recipe makes of it, and when a run refuses to begin from something else."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from qwen_shared.convert.families import read_model
from qwen_shared.convert.names import weight_table
from qwen_shared.errors import UserError
from qwen_shared.job import parent as job_parent
from qwen_shared.recipe import PretrainRecipe, SftRecipe
from qwen_shared.run import Manifest, Parent, open_run
from qwen_shared.run.manifest import read_recipe
from qwen_shared.tokenizer import load_tokenizer

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
    shapes = {k: shape for parts in weight_table(model, model.padded_vocab_size).values() for k, shape in parts.items()}
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
        return job_parent.recipe_from(found, PretrainRecipe, config, list(overrides), tmp_path, tmp_path / "run")

    return recipe


@pytest.fixture
def begun(llama, recipe_of, tmp_path, monkeypatch):
    """A run that began from `llama` and has logged a step, but has no checkpoint. Nothing is proved, nothing heavy."""

    def prove(job, directory, tokenizer, digest, target):
        proved = {"tensors": {"compared": 11}, "logits": {"layers": 1, "max_difference": 0.0}}
        target.write_text(json.dumps(proved | {"hash": digest}))

    monkeypatch.setattr(job_parent, "in_own_process", prove)
    found = job_parent.resolve_parent(str(llama))
    _, manifest = open_run(tmp_path / "run", recipe_of(found), "toy", "toy")
    weights = found.fetch()
    job_parent.keep_parent(found, weights, tmp_path / "run", manifest)
    job_parent.prove_import(found, weights, tmp_path / "run", manifest.parent.hash)
    manifest.write(tmp_path / "run")
    (tmp_path / "run/metrics.jsonl").write_text('{"step": 1}\n')
    return tmp_path / "run"


def test_a_place_and_a_step(tmp_path):
    assert job_parent.split_step("runs/a@100") == ("runs/a", 100)
    assert job_parent.split_step("org/model") == ("org/model", None)
    (tmp_path / "a@b").mkdir()
    assert job_parent.split_step(f"{tmp_path}/a@b") == (f"{tmp_path}/a@b", None)
    with pytest.raises(UserError, match=r"'last' is not a step; write RUN@STEP, for example runs/a@100"):
        job_parent.split_step("runs/a@last")
    for step in ("²", "٣", "0", "9" * 30):
        with pytest.raises(UserError, match="is not a step"):
            job_parent.split_step(f"a@{step}")


def test_a_directory(llama, recipe_of):
    found = job_parent.resolve_parent(str(llama))
    assert (found.name, found.step, found.fetch()) == (str(llama), None, llama)
    recipe = recipe_of(found)
    assert (recipe.model.padded_vocab_size, recipe.model.max_positions, recipe.model.kv_heads) == (8192, 64, 1)
    assert recipe.tokenizer.endswith("/run/tokenizer")


def test_rows_grow_for_a_tokenizer_with_more_ids(tmp_path):
    found = job_parent.resolve_parent(str(_write(tmp_path / "small", vocab_size=8100)))
    assert found.model.padded_vocab_size == 8192


def test_anothers_tokenizer_is_noticed(tmp_path):
    with pytest.raises(UserError, match="8,192 ids and its embedding 1,000 rows: they are not of one model"):
        job_parent.resolve_parent(str(_write(tmp_path / "small", vocab_size=1000)))


def test_a_run_that_has_no_step_yet_does_not_forget_its_start(begun, llama, tmp_path):
    """Killed before its first step, and started again without --from: not quietly from random weights."""
    (begun / "metrics.jsonl").unlink()
    with pytest.raises(UserError, match=f"began from another model: say --from {llama} again"):
        job_parent.find_parent(begun, None)
    other = _write(tmp_path / "other")
    assert job_parent.find_parent(begun, str(other)).name == str(other)  # nothing is lost


def test_what_may_differ_and_what_not(llama, recipe_of):
    found = job_parent.resolve_parent(str(llama))
    overrides = [
        "model.padded_vocab_size=8320",
        "model.rope_base=5e5",
        "model.max_positions=128",
        "data.seq_length=128",
    ]
    changed = recipe_of(found, *overrides).model
    assert (changed.padded_vocab_size, changed.rope_base, changed.max_positions) == (8320, 5e5, 128)
    for override, said in (
        ("model.num_layers=2", r"model.num_layers=2 contradicts --from .*, which has 1"),
        ("model.qkv_bias=true", "model.qkv_bias=True contradicts"),
        ("model.padded_vocab_size=8064", "8192 rows; there may be more, not fewer"),
        ("model.padded_vocab_size=null", "8192 rows; there may be more, not fewer"),
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
            job_parent.resolve_parent(text)
        assert "\n" not in str(error.value)


def test_a_run_without_a_checkpoint_is_no_start(begun):
    with pytest.raises(UserError, match="no checkpoint to start from yet"):
        job_parent.resolve_parent(str(begun))


def test_a_checkpoint_of_several_models_is_exported_by_its_own_run_alone(begun):
    (begun / "checkpoints" / "step-00000004").mkdir(parents=True)
    with pytest.raises(UserError, match="exported when the run ends"):
        job_parent.exported(begun, None)


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
    found = job_parent.find_parent(begun, name)
    assert (found.name, found.model.padded_vocab_size, found.tokenizer) == (name, 8192, str(begun / "tokenizer"))
    manifest = Manifest.read(begun)
    job_parent.keep_parent(found, None, begun, manifest)
    assert manifest.parent.hash is not None
    monkeypatch.chdir(llama.parent)
    assert job_parent.find_parent(begun, "llama").name == name  # the same place in other words


def test_another_start_is_refused(begun, llama, tmp_path):
    with pytest.raises(UserError, match=f"began from another model: say --from {llama} again"):
        job_parent.find_parent(begun, None)
    other = _write(tmp_path / "other")
    with pytest.raises(UserError, match=f"began from {llama}, not from {other}"):
        job_parent.find_parent(begun, str(other))
    manifest = Manifest.read(begun)
    manifest.parent = None
    manifest.write(begun)
    with pytest.raises(UserError, match="began from random weights: leave --from"):
        job_parent.find_parent(begun, str(llama))


def test_before_the_first_checkpoint_the_weights_must_be_the_same(begun, llama):
    manifest = Manifest.read(begun)
    found = job_parent.find_parent(begun, str(llama))
    job_parent.keep_parent(found, found.fetch(), begun, manifest)
    _write(llama, seed=1)
    with pytest.raises(UserError, match=f"--from {llama} changed since .* began: put back"):
        job_parent.keep_parent(found, found.fetch(), begun, manifest)
    (begun / "metrics.jsonl").unlink()  # nothing is lost: it may begin from what there now is
    before = manifest.parent.hash
    job_parent.keep_parent(job_parent.find_parent(begun, str(llama)), llama, begun, manifest)
    assert manifest.parent.hash != before


# ---- a job that has a usual start


@pytest.fixture
def parents(begun, tmp_path, monkeypatch):
    """parents(status, step) makes runs/base/x under tmp_path, which becomes the working directory, and gives it as the
    usual start."""
    monkeypatch.chdir(tmp_path)

    def parent(status: str | None, step: int = 2) -> job_parent.DefaultParent:
        run = Path("runs/base/x")
        run.mkdir(parents=True, exist_ok=True)
        for name in ("recipe.yaml", "tokenizer"):
            target = run / name
            if not target.exists():
                (shutil.copytree if (begun / name).is_dir() else shutil.copy)(begun / name, target)
        (run / f"checkpoints/step-{step:08d}").mkdir(parents=True, exist_ok=True)
        if status:
            manifest = Manifest.create("toy base", "base", "x")
            manifest.status = status
            manifest.write(run)
        return job_parent.DefaultParent(run, "toy base --config x")

    return parent


def test_without_from_it_is_the_usual_start(parents, tmp_path, llama):
    usual = parents("finished")
    found = job_parent.find_parent(tmp_path / "new", None, usual)
    assert (found.name, found.step) == (str(tmp_path / "runs/base/x"), 2)
    assert found == job_parent.find_parent(tmp_path / "new", "runs/base/x", None)
    assert job_parent.find_parent(tmp_path / "new", str(llama), usual).name == str(llama)  # --from goes before


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (None, "runs/base/x: no run there to start from; `toy base --config x` makes it, or --from names another"),
        ("running", "runs/base/x: the run to start from is running, not finished; `toy base --config x` makes it"),
        ("stopped", "is stopped, not finished; `toy base --config x` makes it"),
        ("failed", "is failed, not finished; `toy base --config x` makes it"),
    ],
)
def test_a_usual_start_that_is_not_there_says_what_makes_it(status, says, parents, tmp_path):
    usual = parents(status)
    with pytest.raises(UserError, match=says) as error:
        job_parent.find_parent(tmp_path / "new", None, usual)
    assert "\n" not in str(error.value)


def test_a_run_that_began_never_asks_for_the_usual_start_again(parents, begun, llama):
    """Not for a parent that grew, that is gone, or that was never the one; --from another is still refused."""
    usual = parents("finished", 9)
    manifest = Manifest.read(begun)
    assert job_parent.find_parent(begun, None, usual).name == str(
        llama
    )  # before its first checkpoint: what it began from
    (begun / "checkpoints/step-00000002").mkdir(parents=True)
    shutil.rmtree(usual.run_dir)
    shutil.rmtree(llama)
    for status in ("stopped", "running", "finished"):
        manifest.status = status
        manifest.write(begun)
        for given in (None, str(llama)):
            found = job_parent.find_parent(begun, given, usual)
            assert (found.name, found.step, found.tokenizer) == (str(llama), None, str(begun / "tokenizer"))
    with pytest.raises(UserError, match=f"began from {llama}, not from elsewhere: say --from {llama} again"):
        job_parent.find_parent(begun, "elsewhere", usual)


def test_a_finished_run_without_checkpoints_asks_for_no_start(parents, begun, llama):
    """Its checkpoints were cleared away; the same command says that it is finished."""
    usual = parents("stopped")
    manifest = Manifest.read(begun)
    manifest.status = "finished"
    manifest.write(begun)
    shutil.rmtree(llama)
    assert job_parent.find_parent(begun, None, usual).name == str(llama)


def test_the_step_that_it_began_from_is_the_one_it_begins_from_again(parents, begun, tmp_path):
    """Killed before its first checkpoint, while the parent was trained on."""
    usual = parents("finished", 2)
    manifest = Manifest.read(begun)
    manifest.parent = Parent(run=str(tmp_path / "runs/base/x"), step=2)
    manifest.write(begun)
    parents("finished", 4)
    assert job_parent.find_parent(tmp_path / "new", None, usual).step == 4
    assert job_parent.find_parent(begun, None, usual).step == 2


def test_conversations_keep_to_the_positions_by_themselves(llama, tmp_path):
    """A sample holds several of them, so it may be longer than the model's positions."""
    (tmp_path / "sft.yaml").write_text(RECIPE.replace("stdlib, seq_length: 16", "a.jsonl, seq_length: 512"))
    found = job_parent.resolve_parent(str(llama))
    recipe = job_parent.recipe_from(found, SftRecipe, str(tmp_path / "sft.yaml"), [], tmp_path, tmp_path / "run")
    assert (recipe.data.seq_length, recipe.model.max_positions) == (512, 64)
    assert recipe.model == found.model and recipe.tokenizer == str(tmp_path / "run/tokenizer")
