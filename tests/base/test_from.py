"""`pretrain --from`: a model from elsewhere comes in with its tokenizer, is trained, and goes out as what it was."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

SIZES = {
    "vocab_size": 8192,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "head_dim": 16,
    "tie_word_embeddings": True,
}
STANDING_STILL = ["optimizer.lr=1e-30", "training.steps=2", "schedule.warmup_steps=0"]


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Path:
    """A random Qwen3 with a tokenizer of which only the Hugging Face form is there."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config

    from qwen_shared.tokenizer import load_tokenizer

    directory = tmp_path_factory.mktemp("foreign") / "qwen3"
    torch.manual_seed(5)
    AutoModelForCausalLM.from_config(Qwen3Config(**SIZES)).save_pretrained(directory)
    load_tokenizer("default").save_hf(directory)
    (directory / "qwen.tiktoken").unlink()
    return directory


def _tensors(directory: Path) -> dict:
    from safetensors.torch import load_file

    return load_file(directory / "model.safetensors")


def _assert_same_tensors(a: Path, b: Path) -> None:
    import torch

    ours, theirs = _tensors(a), _tensors(b)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_two_tensor_ranks_bring_it_in_and_out_bit_for_bit(foreign, qwen_base, read, tmp_path):
    """At a rate of nothing the trained model is the one that came, through the real command from end to end."""
    from transformers import AutoConfig, AutoTokenizer

    run_dir = tmp_path / "run"
    layout = ["--nproc", 2, "parallel.tensor_parallel=2"]
    done = qwen_base("pretrain", "--from", foreign, "--run-dir", run_dir, *layout, *STANDING_STILL)
    assert f"from   {foreign}: 24 tensors bit-equal there and back, logits of 2 layers within" in done.stdout
    assert done.stderr == ""
    _assert_same_tensors(run_dir / "export", foreign)
    ours, theirs = (AutoConfig.from_pretrained(directory) for directory in (run_dir / "export", foreign))
    assert ours.model_type == theirs.model_type == "qwen3"
    assert ours.max_position_embeddings == 128
    text = "a line of text, 12 tokens <|im_end|>"
    ours, theirs = (AutoTokenizer.from_pretrained(directory) for directory in (run_dir / "export", foreign))
    assert ours(text).input_ids == theirs(text).input_ids
    parent = read.manifest(run_dir)["parent"]
    certificate = json.loads((run_dir / "import.json").read_text())
    assert (parent["run"], parent["step"], len(parent["hash"])) == (str(foreign), None, 64)
    assert certificate["hash"] == parent["hash"] and certificate["logits"]["max_difference"] <= 1e-4


@pytest.mark.slow
def test_it_goes_on_without_its_start(foreign, qwen_base, read, tmp_path, wait_for):
    """Killed after a checkpoint, with the start gone and the run in another place, it ends as if nothing had been."""
    start = tmp_path / "start"
    shutil.copytree(foreign, start)
    words = ("pretrain", "--from", start, "training.steps=12", "export=none", "--run-dir")
    whole = qwen_base(*words, tmp_path / "whole")
    assert "tensors bit-equal" in whole.stdout
    process = qwen_base.start(*words, tmp_path / "killed")
    wait_for(lambda: (tmp_path / "killed/checkpoints/step-00000005").exists(), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    start.rename(tmp_path / "elsewhere")
    (tmp_path / "killed").rename(tmp_path / "moved")
    done = qwen_base(*words, tmp_path / "moved")
    assert "going on after step" in done.stdout and "tensors" not in done.stdout
    assert read.trajectory(tmp_path / "moved") == read.trajectory(tmp_path / "whole")

    for other, said in (
        ([], f"began from another model: say --from {start} again"),
        (["--from", foreign], f"began from {start}, not from {foreign}"),
    ):
        refused = qwen_base("pretrain", "training.steps=12", "--run-dir", tmp_path / "moved", *other, check=2)
        assert said in refused.stderr and refused.stderr.count("\n") == 1
    assert "is finished" in qwen_base(*words, tmp_path / "moved").stdout
    plan = qwen_base(*words, tmp_path / "new", "--plan", check=2)  # a new run needs its start
    assert f"--from {start}: no such directory" in plan.stderr and plan.stderr.count("\n") == 1


@pytest.mark.slow
def test_from_a_step_of_a_run(finished_run, qwen_base, read, tmp_path):
    run_dir = tmp_path / "run"
    words = ("pretrain", "--run-dir", run_dir, *STANDING_STILL, "--from")
    plan = qwen_base(*words, f"{finished_run}@15", "--plan").stdout
    assert f"from {finished_run}@15" in plan and not run_dir.exists()
    qwen_base(*words, f"{finished_run}@15")
    assert read.manifest(run_dir)["parent"]["step"] == 15
    _assert_same_tensors(run_dir / "export", finished_run / "export-00000015")
    refused = qwen_base(*words, f"{finished_run}@20", check=2)
    assert f"began from {finished_run}@15" in refused.stderr


def test_a_foreign_model_is_never_mixed_up_with_a_run(foreign, finished_run, qwen_base, tmp_path):
    """Also where a run of the recipe's name is there: the model of --from is meant, or one line says why not."""
    both = qwen_base("evaluate", "--from", foreign, "--run-dir", finished_run, check=2)
    assert f"--from {foreign} is not a run, but --run-dir {finished_run} is" in both.stderr
    exported = qwen_base("export", "--from", foreign, "--to", tmp_path / "export", check=2)
    assert f"--from {foreign}: not a run" in exported.stderr and exported.stderr.count("\n") == 1


@pytest.mark.slow
def test_reading_verbs_take_a_foreign_model(foreign, qwen_base):
    said = qwen_base("generate", "--from", foreign, "--prompt", "the model", "--max-tokens", 4).stdout
    assert said.startswith("the model")
    assert "bits per byte" in qwen_base("evaluate", "--from", foreign, "evaluation.lengths=[32]").stdout


def test_a_mistake_is_one_line_before_torch(foreign, finished_run, qwen_base, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(foreign, broken)
    whole = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(whole[:-100])
    for words, said in (
        (["--from", tmp_path / "nowhere"], "no such directory"),
        (["--from", tmp_path], "has no config.json"),
        (["--from", broken], "model.safetensors: damaged or cut short"),
        (
            ["--from", foreign, "model.hidden_size=64"],
            f"model.hidden_size=64 contradicts --from {foreign}, which has 48",
        ),
        (["--from", foreign, "model.padded_vocab_size=100"], "has 8192 rows"),
        (["--from", foreign, "tokenizer=default"], "--from brings its own tokenizer"),
        (["--from", foreign, "data.seq_length=256"], "more than the 128 positions"),
        (["--from", f"{finished_run}@7"], "no checkpoint of step 7; there are 15, 20"),
        (["--from", f"{foreign}@7"], "only runs have steps"),
    ):
        done = qwen_base("pretrain", "--run-dir", tmp_path / "run", *words, check=2)
        assert said in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert "loading torch" not in done.stdout
    assert not (tmp_path / "run").exists()


def _losses(run_dir: Path) -> list[tuple[float, float]]:
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [(record["train/loss"], record["train/grad_norm"]) for record in map(json.loads, lines)]


@pytest.mark.slow
def test_the_optimizer_is_carried_over(qwen_base, tmp_path, foreign):
    """The first gradient is that of the same weights; the first update is that of an optimizer with a memory."""
    few = ["training.steps=4", "schedule.warmup_steps=0", "schedule.kind=constant", "evaluation.prompts=[]"]
    parent = tmp_path / "parent"
    qwen_base("pretrain", "--run-dir", parent, *few)
    for name in ("fresh", "carry"):
        words = ["--from", parent, "--run-dir", tmp_path / name, f"init.optimizer={name}"]
        qwen_base("pretrain", *words, *few)
    fresh, carried = _losses(tmp_path / "fresh"), _losses(tmp_path / "carry")
    assert carried[0] == pytest.approx(fresh[0], rel=1e-6)
    assert carried[1][0] != pytest.approx(fresh[1][0], rel=1e-5)

    wrong = {
        "that run's checkpoint is not there any more (there: none)": [parent, "init.optimizer=carry"],
        "is no run, so it has no optimizer state": [foreign, "init.optimizer=carry"],
        "was trained in fp32": [tmp_path / "carry", "init.optimizer=carry", "training.precision=bf16"],
    }
    shutil.rmtree(parent / "checkpoints")
    for said, (start, *words) in wrong.items():
        error = qwen_base("pretrain", "--from", start, "--run-dir", tmp_path / "other", *words, check=2).stderr
        assert said in error
        assert error.count("\n") == 1
    error = qwen_base("pretrain", "--run-dir", tmp_path / "other", "init.optimizer=carry", check=2).stderr
    assert "--from names a run" in error
