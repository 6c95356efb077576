"""Every benchmark runs to its end on a model that takes no time. Its figures mean nothing here."""

import importlib.util
import json
import sys
from pathlib import Path

import forked
import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def run(environment, tmp_path):
    """run(script, words…) → the JSON that it wrote."""

    def benchmark(script: str, *words: str) -> dict:
        out = tmp_path / "figures.json"
        command = [sys.executable, str(BENCHMARKS / script), "--out", str(out), *map(str, words)]
        done = forked.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        return json.loads(out.read_text())

    return benchmark


@pytest.fixture
def startup(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import startup

    return startup


@pytest.mark.slow
def test_train_throughput(run, micro):
    if importlib.util.find_spec("accelerate") is None:
        pytest.skip("Hugging Face's Trainer needs accelerate")
    words = ["--precision", "fp32", "--rounds", 1, "--steps", 2, "--warmup", 1, "--threads", 1]
    figures = run("train_throughput.py", "--config", micro, *words, "--trainer", "fp32 weights, adamw_torch_fused")
    result = figures["results"]["fp32"]
    assert result["ratio"] > 0 and result["matmul_gflops_per_second"] > 0
    suite, trainer = result["rounds"][0]["suite"], result["rounds"][0]["trainer"]
    assert suite["parameters"] == trainer["parameters"] == figures["parameters"]
    assert len(suite["seconds_per_step"]) == len(trainer["seconds_per_step"]) == 2
    # The same model on the same samples: both begin at a uniform guess and have hardly moved.
    assert abs(suite["mean_loss"] - trainer["mean_loss"]) < 0.3


@pytest.mark.slow
def test_sft_throughput(run, qwen_base, tmp_path):
    if importlib.util.find_spec("trl") is None:
        pytest.skip("the peer is trl")
    base = tmp_path / "base"
    qwen_base("pretrain", "--run-dir", base, "training.steps=2", "schedule.warmup_steps=1", "data.seq_length=256")
    words = ["--precision", "fp32", "--rounds", 1, "--steps", 1, "--warmup", 1, "--threads", 1, "--no-trials"]
    recipe = ["data.seq_length=256", "training.global_batch_size=2", "training.micro_batch_size=1"]
    figures = run("sft_throughput.py", "--from", base, "--problems", 80, *words, *recipe)
    result = figures["results"]["fp32"]
    assert result["ratio"] == result["packed"]["ratio"] > 0
    forms = {name: result[name] for name in ("suite", "packed", "wrapped", "padded")}
    # The same tokens are learned from, but for the few that cutting conversations costs.
    assert len({form["supervised_per_epoch"] for name, form in forms.items() if name != "wrapped"}) == 1
    assert {name for name, form in forms.items() if not form["isolated"]} == {"wrapped"}
    # The first step's loss is that of the same weights in all of them, on other samples.
    losses = [form["mean_loss"] for form in forms.values()]
    assert max(losses) - min(losses) < 0.5


def test_ppo_step(run, base_run, tmp_path):
    import shutil

    from transformers import AutoModelForSequenceClassification

    start, reward = base_run / "export", tmp_path / "reward"
    shutil.copytree(start, reward)
    judge = AutoModelForSequenceClassification.from_pretrained(start, num_labels=1)
    judge.config.pad_token_id = judge.config.eos_token_id
    judge.save_pretrained(reward)
    sizes = ["--responses", 4, "--tokens", 4, "--rounds", 1, "--steps", 1, "--warmup", 1, "--threads", 1]
    figures = run("ppo_step.py", "--from", start, "--reward", reward, "--precision", "fp32", *sizes)
    found = figures["results"]["fp32"]
    assert found["ratio"] == found["ppo"]["step"] / found["rloo"]["step"] > 0
    assert sum(found["ppo"][phase] for phase in ("rollout", "score", "learn")) <= 1.01 * found["ppo"]["step"]
    assert 0 < found["ppo"]["response_tokens"] <= 4 and 0 < found["rloo"]["response_tokens"] <= 4


def test_data_loading(run, micro):
    words = ["--config", micro, "--steps", 5, "--train-steps", 1, "--documents", 5_000]
    figures = run("data_loading.py", *words)
    assert figures["documents"]["documents"] == 5_000
    for name in ("recipe", "large"):
        assert 0 < figures[name]["median_seconds"] <= figures[name]["slowest_seconds"]
        assert figures[name]["share_of_step"] > 0


def test_first_step_is_seen(startup, micro, tmp_path, environment):
    seconds = startup.first_step(str(micro), ["training.steps=19"], tmp_path / "run", Path(environment["QWEN_CACHE"]))
    assert 0 < seconds < 240
    assert (tmp_path / "run" / "metrics.jsonl").read_text().startswith('{"step": 1,')


def test_startup_reports_medians(startup, tmp_path, monkeypatch):
    times = iter([9.0, 3.0, 7.0, 1.0, 8.0, 2.0])
    monkeypatch.setattr(startup, "first_step", lambda *_: next(times))
    assert startup.main(["--out", str(tmp_path / "figures.json")]) == 0
    seconds = json.loads((tmp_path / "figures.json").read_text())["seconds"]
    assert seconds["empty cache"] == {"median": 8.0, "all": [9.0, 7.0, 8.0]}
    assert seconds["filled cache"]["median"] == 2.0


@pytest.mark.slow
def test_gpu_throughput(run, micro):
    words = ["--micro-batches", 2, "--recompute", "none", "--accumulate", 2, "--steps", 1, "--warmup", 1, "--no-peer"]
    figures = run("gpu_throughput.py", "--config", micro, *words, "model.padded_vocab_size=512")
    (line,) = figures["lines"]
    assert "failed" not in line, line
    assert line["tokens_per_second"] > 0 and line["peak_memory_bytes"] > 0
