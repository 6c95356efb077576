"""`qwen-chat sft` from end to end, on a model too small to learn."""

import json
import sys

import forked
import pytest

MICRO = """
name: micro
data: {sources: [dialogues], seq_length: 256}
dialogues: {count: 300}
training: {steps: 12, global_batch_size: 2, precision: fp32}
optimizer: {lr: 3.0e-3}
schedule: {warmup_steps: 3}
checkpoint: {interval: 4}
evaluation: {interval: 6, max_tokens: 1024, max_new_tokens: 8, limit: 12, prompts: ["Hello!"], sample_tokens: 4}
tracking: {wandb: disabled}
tasks: [dialogues]
"""


@pytest.fixture(scope="module")
def qwen_chat(tmp_path_factory, environment, base_run):
    """Runs `qwen-chat sft` with a micro recipe from a micro base run, and returns the finished process."""
    recipe = tmp_path_factory.mktemp("recipe") / "micro.yaml"
    recipe.write_text(MICRO)

    def run(*words, check=0):
        command = [sys.executable, "-m", "qwen_chat", "sft", "--config", recipe, "--from", base_run, *words]
        done = forked.run(map(str, command), env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == check, f"exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    return run


def test_a_run_is_asked_before_and_after(qwen_chat, tmp_path, base_run, results_are_declared):
    run_dir = tmp_path / "run"
    qwen_chat("--run-dir", run_dir)
    manifest = json.loads((run_dir / "manifest.json").read_text())
    assert (manifest["kind"], manifest["status"]) == ("chat-sft", "finished")
    assert manifest["parent"]["run"] == str(base_run)
    results = manifest["results"]
    assert results["val/loss"] < results["before/val/loss"]
    for name in ("eval/dialogues", "before/eval/dialogues"):
        assert results[f"{name}/problems"] == 12
        assert -2 <= results[f"{name}/preference"] <= 4
        assert 0 <= results[f"{name}/ended"] <= 1
    results_are_declared(run_dir)
    rows = [json.loads(line) for line in (run_dir / "evaluation/dialogues.jsonl").read_text().splitlines()]
    assert len(rows) == 12
    assert rows[0]["messages"][-1]["role"] == "user"


def test_mistakes_are_one_line(qwen_chat, tmp_path):
    for words, said in ((["tasks=dialogue"], "nearest: dialogues"), (["export=none"], "leaves no model to ask")):
        error = qwen_chat("--run-dir", tmp_path / "run", *words, check=2).stderr
        assert said in error
        assert error.count("\n") == 1
