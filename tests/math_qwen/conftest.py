"""The real command, on a micro base run."""

import subprocess
import sys
from pathlib import Path

import forked
import pytest

# Trains in seconds and learns nothing; divisible as the base model is.
MICRO = """
name: micro
data: {sources: [problems], seq_length: 128}
problems: {count: 300}
training: {steps: 12, global_batch_size: 4, micro_batch_size: 2, precision: fp32}
optimizer: {lr: 3.0e-3}
schedule: {warmup_steps: 3}
checkpoint: {interval: 4}
evaluation: {interval: 6, max_tokens: 1024, max_new_tokens: 8, limit: 6, prompts: ["7 + 8 = ?"], sample_tokens: 4}
tracking: {wandb: disabled}
tasks: [level1, level2]
"""


@pytest.fixture(scope="session")
def math_qwen(tmp_path_factory, environment):
    """`math-qwen WORDS…` as a finished process; `start` returns it running; `recipe` is a micro one."""
    recipe = tmp_path_factory.mktemp("recipe") / "micro.yaml"
    recipe.write_text(MICRO)

    def run(*words: object, check: int | None = 0, cwd: Path | None = None) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "math_qwen", *map(str, words)]
        done = forked.run(command, env=environment, capture_output=True, text=True, timeout=240, cwd=cwd)
        if check is not None:
            assert done.returncode == check, f"exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def start(*words: object) -> subprocess.Popen:
        command = [sys.executable, "-m", "math_qwen", *map(str, words)]
        return forked.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    run.start, run.recipe = start, recipe
    return run
