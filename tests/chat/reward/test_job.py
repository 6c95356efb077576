"""`qwen-chat reward` from end to end, on a model too small to learn much: kills, processes, stages."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import forked
import pytest
import torch
from transformers import AutoModelForSequenceClassification, Qwen2Config, Qwen2ForCausalLM

from qwen_chat.reward.model import load_reward_model
from qwen_shared.run import read_metrics
from qwen_shared.tokenizer import load_tokenizer

MICRO = """
name: micro
data: {sources: [pairs], seq_length: 256}
pairs: {count: 64, held_out: 24}
training: {steps: 12, global_batch_size: 8, micro_batch_size: 4, precision: fp32}
optimizer: {lr: 3.0e-3}
checkpoint: {interval: 4}
evaluation: {interval: 6, max_pairs: 10}
tracking: {wandb: disabled}
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """A language model with random weights, with its tokenizer, as a Hugging Face directory."""
    directory = tmp_path_factory.mktemp("start")
    tokenizer = load_tokenizer("default")
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=-(-tokenizer.vocab_size // 128) * 128,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        use_sliding_window=False,
    )
    Qwen2ForCausalLM(config).save_pretrained(directory)
    tokenizer.save_hf(directory)
    return directory


@pytest.fixture(scope="module")
def command(tmp_path_factory, start):
    recipe = tmp_path_factory.mktemp("recipe") / "micro.yaml"
    recipe.write_text(MICRO)
    return lambda *words: [
        sys.executable, "-m", "qwen_chat", "reward", "--config", str(recipe), "--from", str(start), *map(str, words),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def reward(command, environment):
    def run(*words, check=0):
        done = forked.run(command(*words), env=environment, capture_output=True, text=True, timeout=280)
        assert done.returncode == check, f"exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    return run


@pytest.fixture(scope="module")
def finished(reward, tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    reward("--run-dir", run_dir)
    return run_dir


def losses(run_dir) -> list[float]:
    return [record["train/loss"] for record in read_metrics(run_dir / "metrics.jsonl")]


def test_a_run_leaves_a_reward_model_and_a_report(finished, results_are_declared):
    manifest = json.loads((finished / "manifest.json").read_text())
    assert (manifest["kind"], manifest["status"]) == ("chat-reward", "finished")
    (data,) = manifest["data"]
    assert (data["name"], data["train"], data["held_out"]) == ("finetune", 64, 24)
    assert len(data["sha256"]) == 64
    results = manifest["results"]
    assert results["eval/pairs"] == 24
    results_are_declared(finished)
    assert 0 <= results["eval/accuracy_low"] <= results["eval/accuracy"] <= results["eval/accuracy_high"] <= 1
    rows = [json.loads(line) for line in (finished / "evaluation/pairs.jsonl").read_text().splitlines()]
    assert len(rows) == 24
    assert len(losses(finished)) == 12
    assert "val/accuracy" in read_metrics(finished / "metrics.jsonl")[5]
    assert not list(finished.glob("checkpoints/.writing/checkpoint-*"))
    assert "share of pairs" in (finished / "report.html").read_text()

    # Others read the rewards that we read.
    tokenizer = load_tokenizer(str(finished / "export"))
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    ids = tokenizer.render(messages)[0][:-1]
    theirs = AutoModelForSequenceClassification.from_pretrained(finished / "export")
    with torch.no_grad():
        assert load_reward_model(finished).score([ids])[0] == pytest.approx(
            theirs(torch.tensor([ids])).logits.item(), abs=1e-5
        )


@pytest.mark.slow
def test_a_run_that_hangs_ends_and_goes_on(command, reward, environment, finished, tmp_path):
    run_dir = tmp_path / "run"
    words = ("--run-dir", run_dir, "guards.step_timeout=20")
    done = forked.run(
        command(*words), env=environment | {"QWEN_FAULTS": "hang@6"}, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 1 and "no progress for 20 s (guards.step_timeout)" in done.stdout + done.stderr
    assert json.loads((run_dir / "manifest.json").read_text())["status"] == "failed"
    assert "on_step_begin" in (run_dir / "logs/stacks-rank-0.txt").read_text()
    reward(*words)
    assert losses(run_dir) == losses(finished)


@pytest.mark.slow
@pytest.mark.parametrize("blow", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_goes_on_exactly(command, reward, environment, finished, tmp_path, blow):
    run_dir = tmp_path / "run"
    process = forked.Popen(
        command("--run-dir", run_dir), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (run_dir / "checkpoints/step-00000004").is_dir():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, blow)
    assert process.wait(timeout=60) == (75 if blow == signal.SIGTERM else -blow)
    status = json.loads((run_dir / "manifest.json").read_text())["status"]
    assert status == ("stopped" if blow == signal.SIGTERM else "running")
    reward("--run-dir", run_dir)
    assert losses(run_dir) == losses(finished)
    a, b = (load_reward_model(directory).module.state_dict() for directory in (run_dir, finished))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert reward("--run-dir", run_dir).stdout.count("is finished") == 1


@pytest.mark.slow
def test_zero_changes_no_loss(reward, tmp_path):
    # Adam's first steps are of one size whatever the gradient: a high rate makes much of the order of sums.
    words = ["optimizer.lr=3e-4", "training.steps=8"]
    reward("--run-dir", tmp_path / "one", *words)
    expected = load_reward_model(tmp_path / "one").module.state_dict()
    for name in ("null", "zero0", "zero2", "zero3"):
        run_dir = tmp_path / name
        reward("--run-dir", run_dir, "--nproc", 2, f"deepspeed={name}", *words)
        assert losses(run_dir) == pytest.approx(losses(tmp_path / "one"), abs=1e-4), name
        found = load_reward_model(run_dir).module.state_dict()
        for key in expected:
            torch.testing.assert_close(found[key], expected[key], atol=1e-4, rtol=0, msg=f"{name}: {key}")


@pytest.mark.slow
def test_two_stages_follow_each_other(reward, start, tmp_path, results_are_declared):
    words = ["data.pmp_sources=[pairs]", "training.steps=4", "pmp.lr=1e-3"]
    both, pmp, finetune = tmp_path / "both", tmp_path / "pmp", tmp_path / "finetune"
    reward("--run-dir", both, "stage=both", *words)
    reward("--run-dir", pmp, "stage=pmp", *words)
    reward("--from", pmp, "--run-dir", finetune, "stage=finetune", *words)
    assert losses(both) == losses(pmp) + losses(finetune)
    results = json.loads((both / "manifest.json").read_text())["results"]
    assert {"eval/accuracy", "eval/pmp/accuracy"} <= set(results)
    results_are_declared(both)


def test_plan_and_mistakes(reward, tmp_path):
    plan = reward("--plan", "--run-dir", tmp_path / "run").stdout
    assert "64 pairs, 24 held out; 12 steps" in plan
    assert "zero3" in plan
    for words, said in (
        (["deepspeed=zero9"], "nearest"),
        (["stage=both"], "data.pmp_sources"),
        (["schedule.warmup_steps=12"], "leaves nothing of the 12 steps"),
    ):
        error = reward("--plan", "--run-dir", tmp_path / "run", *words, check=2).stderr
        assert said in error
        assert error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["a bit", "the end"])
def test_a_damaged_checkpoint_is_skipped(harm, reward, finished, tmp_path):
    """Training goes on from the one before."""
    run_dir = shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("export", "evaluation"))
    manifest = json.loads((run_dir / "manifest.json").read_text()) | {"status": "failed"}
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    path = run_dir / "checkpoints/step-00000012/model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content if harm == "a bit" else content[:-1])
    said = reward("--run-dir", run_dir).stdout
    assert "is damaged (model.safetensors: hash mismatch): going back to step 8" in said
    assert losses(run_dir) == losses(finished)
    a, b = (load_reward_model(directory).module.state_dict() for directory in (run_dir, finished))
    assert all(torch.equal(a[name], b[name]) for name in a)
