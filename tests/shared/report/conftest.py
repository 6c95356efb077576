"""Run directories of every kind, small and made up."""

import json
import math

import pytest

from qwen_shared.run import Manifest, Parent

HOSTILE = "</pre></style><script>alert(1)</script><img src=x onerror=alert(1)> \"' {{ 7*7 }} \ud800 \u202e"

METRICS = {
    "base-pretrain": ["train/loss", "train/grad_norm", "train/lr", "train/tokens_per_second", "train/mfu"],
    "chat-reward": ["train/loss", "train/accuracy", "train/margin", "train/lr"],
    "chat-ppo": [
        "ppo/reward",
        "ppo/kl",
        "ppo/entropy",
        "ppo/value_loss",
        "time/rollout",
        "time/learn",
        "ppo/ratio_max",
    ],
}


@pytest.fixture
def make_run(tmp_path):
    """make_run(kind, steps): a run directory as such a run leaves it."""

    def make(kind="base-pretrain", steps=100, text="some text", **manifest_keys):
        run_dir = tmp_path / kind
        run_dir.mkdir()
        manifest = Manifest.create(f"qwen {kind.rpartition('-')[2]}", kind, "small")
        manifest.status = "finished"
        manifest.parent = Parent(run="/elsewhere/model", hash="0" * 64)
        plain = text.replace("\ud800", "")  # which no manifest could hold
        manifest.data = [{"name": plain, "train": {"tokens": 5, "sha256": "1" * 64}, "validation": {"tokens": 3}}]
        manifest.results = {
            "val/loss": 1.25,
            "before/val/loss": 2.5,
            "eval/task/accuracy": 0.75,
            "eval/task/accuracy_low": 0.5,
            "eval/task/accuracy_high": 0.875,
            "parameters": 7_000_000,
            "seconds": 90.0,
        }
        for key, value in manifest_keys.items():
            setattr(manifest, key, value)
        manifest.write(run_dir)
        (run_dir / "recipe.yaml").write_text(f"name: {json.dumps(text)}\n")
        lines = []
        for step in range(1, steps + 1):
            record = {"step": step, "tokens": 64 * step, "samples": 4 * step, "time": step / 10}
            record |= {name: 2 + math.sin(step) / step for name in METRICS[kind]}
            record |= {"val/loss": 3.0 / step, "val/text/loss": 4.0} if step % 20 == 0 else {}
            lines.append(json.dumps(record | {"data/samples": text}) + "\n")
        (run_dir / "metrics.jsonl").write_text("".join(lines))
        rows = [{"step": 20, "prompt": text, "text": text}]
        tables = [{"step": 20, "val/samples": rows}, {"step": 40, "val/samples": rows}]
        (run_dir / "tables.jsonl").write_text("".join(json.dumps(line) + "\n" for line in tables))
        for folder, outcome in (("evaluation", "right"), ("evaluation-before", "wrong")):
            (run_dir / folder).mkdir()
            answer = {
                "question": text,
                "prediction": f"{text} {folder}",
                "outcome": outcome,
                "reason": text,
                "gold": text,
            }
            other = {"prompt": [{"role": text, "content": text}], "answer": text, "right": False, "margin": 1.0}
            (run_dir / folder / "task.jsonl").write_text(json.dumps(answer) + "\n" + json.dumps(other) + "\n")
            pair = {"prompt": text, "chosen": text, "rejected": text, "chosen_reward": 2.0, "margin": -1.0}
            (run_dir / folder / "pairs.jsonl").write_text(json.dumps(pair) + "\n" + '{"torn": ')
        return run_dir

    return make


@pytest.fixture
def hostile():
    return HOSTILE
