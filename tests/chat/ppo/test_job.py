"""`qwen-chat ppo` from end to end, on a model too small to learn."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import forked
import pytest

MICRO = """
name: micro
data: {sources: [dialogues], seq_length: 160, documents: 40, system: ""}
training: {steps: 6, value_warmup_steps: 2, global_batch_size: 8, micro_batch_size: 4, epochs: 2, precision: fp32}
generation: {max_new_tokens: 8}
reward: {functions: [checked], held_out: preference}
policy: {lr: 1.0e-4}
value: {lr: 1.0e-3}
checkpoint: {interval: 2}
evaluation: {interval: 3, prompts: 8, functions: [checked]}
tracking: {wandb: disabled}
"""


@pytest.fixture(scope="module")
def command(tmp_path_factory, base_run):
    recipe = tmp_path_factory.mktemp("recipe") / "micro.yaml"
    recipe.write_text(MICRO)
    return [sys.executable, "-m", "qwen_chat", "ppo", "--config", str(recipe), "--from", str(base_run)]


@pytest.fixture(scope="module")
def qwen_chat(command, environment):
    """Runs `qwen-chat ppo` with a micro recipe from a micro base run, and returns the finished process."""

    def run(*words, check=0):
        done = forked.run([*command, *map(str, words)], env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == check, f"exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    return run


@pytest.fixture(scope="module")
def unbroken(qwen_chat, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("ppo") / "run"
    qwen_chat("--run-dir", run_dir)
    return run_dir


def test_a_run_keeps_its_contract(unbroken, base_run, qwen_chat, results_are_declared):
    manifest = json.loads((unbroken / "manifest.json").read_text())
    assert (manifest["kind"], manifest["status"]) == ("chat-ppo", "finished")
    assert manifest["parent"]["run"] == str(base_run)
    results = manifest["results"]
    for name in ("reward", "preference", "checked"):
        assert {f"before/val/{name}", f"val/{name}", f"gain/{name}", f"gain/{name}_low"} <= set(results)
    results_are_declared(unbroken)
    assert all("tokens" not in row and row["samples"] == 8 * row["step"] for row in metrics(unbroken))
    certificate = json.loads((unbroken / "export/certificate.json").read_text())
    assert certificate["step"] == 6
    assert certificate["tensors"]["bit_equal"]
    assert [p.name for p in sorted((unbroken / "checkpoints").iterdir())] == ["step-00000004", "step-00000006"]
    assert "finished" in qwen_chat("--run-dir", unbroken).stdout


def test_tables_and_report(unbroken):
    """Samples at validations, all answers at the end, and the report."""
    tables = [json.loads(line) for line in (unbroken / "tables.jsonl").read_text().splitlines()]
    assert [table["step"] for table in tables] == [3, 6]
    columns = ["step", "prompt", "before", "reward_before", "text", "reward"]
    assert all(list(row) == columns for table in tables for row in table["val/samples"])
    assert len(tables[-1]["eval/answers"]) == 8
    page = (unbroken / "report.html").read_text()
    for words in (
        "chat-ppo",
        "KL from the reference",
        "Seconds of a step",
        "before training",
        "gain/",
        "base-pretrain",
    ):
        assert words in page


def test_metrics_show_the_warm_up(unbroken):
    steps = metrics(unbroken)
    assert "ppo/policy_gradient" not in steps[1]
    assert steps[2]["ppo/kl"] == pytest.approx(0.0, abs=1e-6)
    assert "ppo/policy_gradient" in steps[2]


@pytest.mark.slow
def test_a_run_that_hangs_ends_and_goes_on(command, qwen_chat, environment, unbroken, tmp_path):
    words = ["--run-dir", str(tmp_path / "run"), "guards.step_timeout=20"]
    done = forked.run(
        [*command, *words], env=environment | {"QWEN_FAULTS": "hang@4"}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 1 and "no progress for 20 s (guards.step_timeout)" in done.stdout + done.stderr
    assert json.loads((tmp_path / "run/manifest.json").read_text())["status"] == "failed"
    qwen_chat(*words)
    assert metrics(tmp_path / "run") == metrics(unbroken)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_was_stopped_goes_on_exactly(number, unbroken, command, qwen_chat, environment, tmp_path):
    run_dir = tmp_path / "run"
    process = forked.Popen(
        [*command, "--run-dir", str(run_dir)], env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while len(metrics(run_dir)) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, number)
    code = process.wait(timeout=60)
    assert code == (75 if number == signal.SIGTERM else -signal.SIGKILL)
    qwen_chat("--run-dir", run_dir)
    assert metrics(run_dir) == metrics(unbroken)
    for path in ("evaluation/answers.jsonl", "export/model.safetensors"):
        assert (run_dir / path).read_bytes() == (unbroken / path).read_bytes()


def metrics(run_dir):
    """Metrics of every step without times."""
    path = run_dir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    rows = [json.loads(line) for line in lines]
    return [{k: v for k, v in row.items() if k != "time" and not k.startswith("time/")} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["adapters", "shared trunk and pretraining text"])
def test_other_ways_to_train(way, qwen_chat, tmp_path, corpus):
    words = {
        "adapters": ["policy.lora={rank: 4, alpha: 8}"],
        "shared trunk and pretraining text": [
            "value.share_trunk=true",
            f"pretraining={{data: {{sources: ['{corpus}'], seq_length: 64}}, global_batch_size: 4}}",
            "losses.pretraining_coefficient=0.1",
        ],
    }[way]
    run_dir = tmp_path / "run"
    short = ["training.steps=2", "training.value_warmup_steps=1", "evaluation.prompts=2"]
    qwen_chat("--run-dir", run_dir, *short, *words)
    steps = metrics(run_dir)
    assert steps[1]["ppo/policy_gradient"] > 0
    assert ("ppo/pretraining_loss" in steps[1]) == (way != "adapters")
    assert (run_dir / "export/certificate.json").is_file()


def test_mistakes_are_one_line(qwen_chat, tmp_path):
    for words, said in (
        (["reward.functions=[chequed]"], "nearest: checked"),
        (["reward.functions=[]"], "no reward model there"),
        ([f"reward.model={tmp_path}"], "neither a run"),
        (["deepspeed=zero9"], "zero0, zero1, zero2, zero3"),
        (["training.global_batch_size=7"], "is not a multiple of"),
        (["training.value_warmup_steps=6"], "leaves the policy none of the 6 steps"),
        (["reward.functions=[checked, checked]"], "names checked twice"),
        (["policy.lora.bits=3"], "expected 4, 8"),
        (["generation.max_new_tokens=200"], "leaves no room for a prompt"),
        (["losses.pretraining_coefficient=0.1"], "need each other"),
    ):
        error = qwen_chat("--run-dir", tmp_path / "run", *words, check=2).stderr
        assert said in error, (words, error)
        assert error.count("\n") == 1, error
    other = tmp_path / "other"
    other.mkdir()
    fields = {"command": "qwen-chat reward", "name": "r", "status": "finished", "created": "", "updated": ""}
    (other / "manifest.json").write_text(json.dumps(fields | {"kind": "chat-reward"}))
    assert f"{other} is a run of another kind, chat-reward" in qwen_chat("--run-dir", other, check=2).stderr


@pytest.mark.slow
def test_only_the_export_is_left(unbroken, qwen_chat, tmp_path):
    """Killed after the last step: the results are those of the given answers."""
    run_dir = tmp_path / "run"
    shutil.copytree(unbroken, run_dir)
    shutil.rmtree(run_dir / "export")
    before = json.loads((run_dir / "manifest.json").read_text())
    (run_dir / "manifest.json").write_text(json.dumps(before | {"status": "running", "results": {}}))
    qwen_chat("--run-dir", run_dir)
    after = json.loads((run_dir / "manifest.json").read_text())
    timed = ("seconds", "peak_memory_bytes")
    for name, value in before["results"].items():
        assert name in timed or after["results"][name] == value, name


@pytest.mark.slow
def test_other_prompts_are_noticed(qwen_chat, tmp_path):
    """Also with Unicode line separators in texts."""
    prompts = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"What is {i}\u2028 and {i}?", "answer": str(2 * i)} for i in range(60)]
    prompts.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    run_dir = tmp_path / "run"
    words = ["--run-dir", run_dir, f"data.sources={prompts}", "reward.held_out=null", "evaluation.functions=[]"]
    words += ["reward.functions=[math]"]
    qwen_chat(*words)
    manifest = json.loads((run_dir / "manifest.json").read_text())
    (run_dir / "manifest.json").write_text(json.dumps(manifest | {"status": "stopped"}))
    shutil.rmtree(run_dir / "checkpoints/step-00000006")
    qwen_chat(*words)
    (run_dir / "manifest.json").write_text(json.dumps(manifest | {"status": "stopped"}))
    prompts.write_text("".join(json.dumps(row) + "\n" for row in [*rows[::-1], {"prompt": "And?", "answer": "1"}]))
    assert "prompts changed since this run began" in qwen_chat(*words, check=2).stderr


@pytest.mark.slow
def test_a_damaged_checkpoint_is_skipped(unbroken, qwen_chat, tmp_path):
    run_dir = shutil.copytree(unbroken, tmp_path / "run", ignore=shutil.ignore_patterns("export", "evaluation"))
    manifest = json.loads((run_dir / "manifest.json").read_text()) | {"status": "failed"}
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    path = run_dir / "checkpoints/step-00000006/policy.pt"
    path.write_bytes(path.read_bytes()[:-1])
    said = qwen_chat("--run-dir", run_dir).stdout
    assert "is damaged (policy.pt: hash mismatch): going back to step 4" in said
    assert metrics(run_dir) == metrics(unbroken)
    assert (run_dir / "export/model.safetensors").read_bytes() == (unbroken / "export/model.safetensors").read_bytes()
