"""A micro base run, a small source tree, and the real command on them."""

import subprocess
import sys
from pathlib import Path

import forked
import pytest

PRETRAIN = """
name: micro
model: {max_positions: 128}
data: {sources: [], seq_length: 128, validation_fraction: 0.1, text: [], text_share: 0.25,
       fim_rate: 0.5}
training: {steps: 12, global_batch_size: 4, micro_batch_size: 2, precision: fp32}
optimizer: {lr: 3.0e-3}
schedule: {kind: constant, warmup_steps: 1}
checkpoint: {interval: 4}
evaluation: {interval: 6, max_tokens: 1024}
tracking: {wandb: disabled}
"""
SFT = """
name: micro
data: {sources: [functions], seq_length: 256}
problems: {count: 300}
stages:
  - {name: broad, steps: 6, schedule: {kind: linear, warmup_steps: 2}}
  - {name: fine, steps: 6, lr: 1.0e-3}
training: {steps: 12, global_batch_size: 2, precision: fp32}
optimizer: {lr: 3.0e-3}
schedule: {kind: constant}
checkpoint: {interval: 4}
evaluation: {interval: 6, max_tokens: 1024, max_new_tokens: 8, limit: 6}
tracking: {wandb: disabled}
tasks: [functions]
"""


@pytest.fixture(scope="session")
def base_run(tmp_path_factory, qwen_base) -> Path:
    """A base model of two layers, for texts of 64 tokens."""
    run_dir = tmp_path_factory.mktemp("base") / "micro"
    qwen_base("pretrain", "--run-dir", run_dir, "training.steps=2", "schedule.warmup_steps=1")
    return run_dir


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    """A repository of forty small modules, and what is no code of anybody's."""
    tree = tmp_path_factory.mktemp("tree") / "project"
    (tree / "package").mkdir(parents=True)
    for i in range(40):
        lines = [f"def area_{i}_{k}(width, height):\n    return width * height + {i * k}\n" for k in range(8)]
        (tree / "package" / f"module_{i}.py").write_text(f'"""Areas of kind {i}."""\n\n\n' + "\n\n".join(lines))
    (tree / "logo.png").write_bytes(bytes(range(256)))
    return tree


@pytest.fixture(scope="session")
def code_qwen(tmp_path_factory, environment, tree, corpus):
    """Runs `code-qwen WORDS…` and returns the finished process; `start` gives it running. `code_qwen.recipe[verb]` is a
    micro recipe."""
    folder = tmp_path_factory.mktemp("recipes")
    recipes = {verb: folder / verb / "micro.yaml" for verb in ("pretrain", "sft")}
    pretrain = PRETRAIN.replace("sources: []", f"sources: ['{tree}']").replace("text: []", f"text: ['{corpus}']")
    for verb, text in (("pretrain", pretrain), ("sft", SFT)):
        recipes[verb].parent.mkdir()
        recipes[verb].write_text(text)

    def run(*words: object, check: int | None = 0, cwd: Path | None = None) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "code_qwen", *map(str, words)]
        done = forked.run(command, env=environment, capture_output=True, text=True, timeout=240, cwd=cwd)
        if check is not None:
            assert done.returncode == check, f"exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def start(*words: object) -> subprocess.Popen:
        command = [sys.executable, "-m", "code_qwen", *map(str, words)]
        return forked.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    run.start, run.recipe = start, recipes
    return run
