"""A base run fine-tuned by a real command: its parent is found and kept, and no kill and no layout changes a step."""

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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# What a step is, apart from when and how fast it ran.
RESULT = (
    "step", "tokens", "samples", "data/samples", "train/loss", "train/loss_tokens", "train/grad_norm", "val/loss"
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory, qwen_base, write, conversations) -> Path:
    """Conversations, and the finished base run that is the usual parent."""
    folder = tmp_path_factory.mktemp("sft")
    write(folder / "conversations.jsonl", conversations(40))
    few = ["training.steps=2", "schedule.warmup_steps=0", "evaluation.prompts=[]"]
    qwen_base("pretrain", "--run-dir", folder / "runs/base-pretrain/micro", *few)
    return folder


@pytest.fixture(scope="module")
def tuner(folder, environment):
    """tuner(word, …, check=exit code) runs the command in `folder`; tuner.start gives it running."""
    command = [sys.executable, "-m", "tuner", "sft", f"data.sources={folder / 'conversations.jsonl'}"]
    settings = {"cwd": folder, "env": environment | {"PYTHONPATH": str(Path(__file__).parent)}, "text": True}

    def run(*words, check=0):
        done = forked.run([*command, *map(str, words)], capture_output=True, timeout=240, **settings)
        assert done.returncode == check, f"exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    run.start = lambda *words: forked.Popen(
        [*command, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **settings,
    )
    return run


@pytest.fixture(scope="module")
def finished(folder, tuner):
    """The whole run, never stopped, and what it said."""
    done = tuner()
    return folder / "runs/toy-sft/micro", done


def records(run_dir):
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def trajectory(run_dir):
    return [tuple(record.get(name) for name in RESULT) for record in records(run_dir)]


def manifest(run_dir):
    return json.loads((run_dir / "manifest.json").read_text())


def test_a_run_from_the_usual_parent(finished, folder):
    run_dir, done = finished
    parent = folder / "runs/base-pretrain/micro"
    assert done.stderr == ""
    assert f"from   {parent}@2: " in done.stdout and "held-out conversations: loss" in done.stdout
    assert "keep the answers that fit" in done.stdout  # a remark of the checks
    told = manifest(run_dir)
    assert (told["status"], told["kind"]) == ("finished", "toy-sft")
    assert (told["parent"]["run"], told["parent"]["step"], len(told["parent"]["hash"])) == (str(parent), 2, 64)
    assert 0.9 < told["results"]["data/real_share"] <= 1
    assert told["results"]["toy/after"] == 1 and "toy/before" not in told["results"]
    evaluated = [json.loads(line) for line in (run_dir / "evaluated.jsonl").read_text().splitlines()]
    assert [(when, there) for when, _, there in evaluated] == [("before", True), ("after", True)]
    assert [folder / model for _, model, _ in evaluated] == [parent / "export", run_dir / "export"]


def test_it_learns_from_what_is_in_the_loss(finished, tokenizer):
    run_dir, _ = finished
    steps = records(run_dir)
    losses = [record["train/loss"] for record in steps]
    assert losses[-1] < losses[0] - 0.5
    assert steps[7]["val/loss"] < steps[3]["val/loss"] < losses[0]
    # Of the 192 × 4 places a few tens in a hundred are in the loss.
    assert all(0.05 < record["train/loss_tokens"] / (192 * 4) < 0.6 for record in steps)
    assert manifest(run_dir)["results"]["val/loss"] == steps[-1]["val/loss"]


def test_the_export_is_a_chat_model(finished, tokenizer):
    from transformers import AutoTokenizer

    run_dir, _ = finished
    turns = [{"role": "user", "content": "what is 12"}]
    theirs = AutoTokenizer.from_pretrained(run_dir / "export")
    ids = theirs.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert ids == tokenizer.render(turns, add_generation_prompt=True)[0]


def test_finished_is_finished_and_looking_changes_nothing(finished, folder, tuner):
    run_dir, _ = finished
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
    assert "is finished" in tuner().stdout
    assert (
        f"would make {folder / 'new'} from {folder / 'runs/base-pretrain/micro'}@2"
        in tuner("--plan", "--run-dir", folder / "new").stdout
    )
    shown = tuner("--show-batch", "2", "--run-dir", folder / "new").stdout
    assert shown.count("in the loss,") == 2 and "<|im_start|>assistant⏎" in shown
    assert not (folder / "new").exists()
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before


def test_killed_and_its_parent_gone_it_ends_the_same(finished, folder, tuner):
    """The start is resolved once: a run with a checkpoint needs it no more, and never asks for it."""
    parent, away = folder / "runs/base-pretrain/micro", folder / "away"
    process = tuner.start("--run-dir", "runs/killed")
    deadline = time.monotonic() + 200
    while not (folder / "runs/killed/checkpoints/step-00000004").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0]
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert manifest(folder / "runs/killed")["status"] == "running", "the kill came too late to prove anything"
    parent.rename(away)
    try:
        done = tuner("--run-dir", "runs/killed")
        refused = tuner("--run-dir", "runs/another", check=2)
    finally:
        away.rename(parent)
    assert "going on after step" in done.stdout and "proving the import" not in done.stdout
    assert trajectory(folder / "runs/killed") == trajectory(finished[0])
    assert (folder / "runs/killed/evaluated.jsonl").read_text().count("before") == 1
    assert refused.stderr == (
        "tuner sft: error: runs/base-pretrain/micro: no run there to start from; `qwen-base pretrain --config micro` "
        "makes it, or --from names another model\n"
    )
    shutil.rmtree(folder / "runs/killed")


@pytest.mark.parametrize("layout", [[], ["parallel.tensor_parallel=2"]])
def test_two_processes_take_the_same_steps(layout, finished, folder, tuner):
    run_dir = folder / "runs" / f"two-{len(layout)}"
    tuner("--nproc", 2, "--run-dir", run_dir, "export=none", *layout)
    ours, theirs = trajectory(run_dir), trajectory(finished[0])
    assert len(ours) == len(theirs) == 8
    for mine, whole in zip(ours, theirs, strict=True):
        assert mine[:4] == whole[:4] and mine[5] == whole[5]
        for place in (4, 6, 7):
            assert mine[place] == (whole[place] and pytest.approx(whole[place], rel=1e-3 if place == 6 else 1e-5))
