"""`code-qwen pretrain` and `code-qwen sft` from end to end, on a model too small to learn."""

import json
import random
import time
from argparse import ArgumentParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from code_qwen import sandbox, sft
from code_qwen.cli import VERBS
from qwen_shared.errors import UserError

# What a step is, apart from when and how fast it ran.
RESULT = ("step", "data/samples", "train/loss", "train/grad_norm", "train/lr", "val/loss", "val/text/loss")


@pytest.fixture(scope="module")
def code_run(tmp_path_factory, code_qwen, base_run) -> Path:
    run_dir = tmp_path_factory.mktemp("code") / "run"
    code_qwen("pretrain", "--config", code_qwen.recipe["pretrain"], "--from", base_run, "--run-dir", run_dir)
    return run_dir


@pytest.fixture(scope="module")
def sft_run(tmp_path_factory, code_qwen, code_run) -> Path:
    run_dir = tmp_path_factory.mktemp("sft") / "run"
    code_qwen("sft", "--config", code_qwen.recipe["sft"], "--from", code_run, "--run-dir", run_dir)
    return run_dir


def test_a_base_run_goes_on_with_code_and_text(code_run, base_run, results_are_declared):
    manifest = json.loads((code_run / "manifest.json").read_text())
    assert (manifest["kind"], manifest["status"]) == ("code-pretrain", "finished")
    assert manifest["parent"]["run"] == str(base_run)
    results = manifest["results"]
    for name in ("val/bits_per_byte", "val/text/bits_per_byte"):
        assert results[name] < results[f"before/{name}"]
    assert {Path(source["name"]).name for source in manifest["data"]} == {"project", "documents.jsonl"}
    results_are_declared(code_run)
    config = json.loads((code_run / "export/config.json").read_text())
    assert config["max_position_embeddings"] == 128  # twice the base's


def test_what_was_left_out_of_the_tree_is_counted(code_run):
    code, _ = json.loads((code_run / "manifest.json").read_text())["data"]
    assert 1 <= code["validation"]["documents"] <= 8  # whole files
    assert code["train"]["documents"] == 1  # files that stay together: fewer bytes than data.filters.repository_span


@pytest.mark.slow
def test_functions_are_taught_in_stages_and_run(sft_run, code_run, results_are_declared):
    manifest = json.loads((sft_run / "manifest.json").read_text())
    assert (manifest["kind"], manifest["status"]) == ("code-sft", "finished")
    assert manifest["parent"]["run"] == str(code_run)
    results = manifest["results"]
    assert results["eval/functions/problems"] == results["before/eval/functions/problems"] == 6
    assert 0 <= results["eval/functions/pass@1"] <= 1
    assert results["val/loss"] < results["before/val/loss"]
    results_are_declared(sft_run)
    rates = [record["train/lr"] for record in records(sft_run)]
    assert rates[:2] == pytest.approx([1.5e-3, 3e-3])
    assert rates[2:6] == sorted(rates[2:6], reverse=True)
    assert rates[6:] == [1e-3] * 6


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("verb", ["pretrain", "sft"])
def test_killed_runs_go_on_exactly(verb, code_qwen, code_run, sft_run, base_run, tmp_path):
    """kill -9 at three random moments, the second stage and its border among them."""
    whole, start = {"pretrain": (code_run, base_run), "sft": (sft_run, code_run)}[verb]
    words = (verb, "--config", code_qwen.recipe[verb], "--from", start, "--run-dir", tmp_path / "run")
    draw = random.Random(verb)
    for _ in range(3):
        process = code_qwen.start(*words)
        wanted = draw.randint(1, 11)
        for line in process.stdout:
            if line.startswith("step ") and int(line.split()[1].partition("/")[0].rstrip(":")) >= wanted:
                time.sleep(draw.random() * 0.2)
                break
        process.kill()
        process.wait()
    code_qwen(*words)
    assert trajectory(tmp_path / "run") == trajectory(whole)
    weights = [path / "export/model.safetensors" for path in (tmp_path / "run", whole)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize(
    ("verb", "words", "said"),
    [
        ("pretrain", ["data.text_share=0"], "with text it must lie between 0 and 1"),
        ("pretrain", ["data.text=[]"], "text names no source"),
        ("pretrain", ["data.text=[gone.jsonl]"], "data.text.0.path=gone.jsonl"),
        ("pretrain", ["data.sources=[gone]"], "data.sources.0.path=gone"),
        ("pretrain", ["data.filters.languages=[Pyton]"], "nearest: Python"),
        ("pretrain", ["model.max_positions=64"], "data.seq_length=128 is more than the 64 positions"),
        ("sft", ["stages.0.steps=7"], "but the stages have 13: make them equal"),
        ("sft", ["tasks=humanevel"], "humaneval"),
        ("sft", ["export=none"], "export=none leaves no model to ask"),
        ("sft", ["--plan", "tasks=mbpp", "evaluation.shots=9"], "evaluation.shots=9: there are 3"),
    ],
)
def test_mistakes_are_one_line(verb, words, said, code_qwen, base_run, tmp_path):
    command = (verb, "--config", code_qwen.recipe[verb], "--from", base_run, "--run-dir", tmp_path / "run")
    error = code_qwen(*command, *words, check=2).stderr
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run/recipe.yaml").exists()


def test_sft_refuses_to_run_programs_that_it_cannot_isolate(monkeypatch):
    def refuse():
        raise UserError("this machine cannot isolate programs")

    parser = ArgumentParser()
    next(verb for verb in VERBS if verb.name == "sft").options(parser)
    monkeypatch.setattr(sandbox, "require_isolation", refuse)
    monkeypatch.setattr(sft, "readers", lambda recipe: {})
    ran = []
    monkeypatch.setattr(sft, "run_sft", lambda *given: ran.append(given))
    invocation = lambda tasks, *flags: SimpleNamespace(
        recipe=SimpleNamespace(tasks=tasks), options=parser.parse_args(flags)
    )
    with pytest.raises(UserError, match="cannot isolate"):
        sft.main(invocation(["functions"], "--require-isolation"))
    assert not ran
    sft.main(invocation(["functions"]))
    sft.main(invocation([], "--require-isolation"))  # no program is run
    assert len(ran) == 2


def records(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def trajectory(run_dir: Path) -> list[tuple]:
    return [tuple(record.get(name) for name in RESULT) for record in records(run_dir)]
