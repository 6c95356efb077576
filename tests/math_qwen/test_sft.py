"""`math-qwen sft` from end to end, on a model too small to learn."""

import json
import signal

import pytest


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, math_qwen, base_run):
    run_dir = tmp_path_factory.mktemp("sft") / "run"
    math_qwen("sft", "--config", math_qwen.recipe, "--from", base_run, "--run-dir", run_dir)
    return run_dir


@pytest.mark.slow
def test_the_run_knows_its_parent_and_its_accuracy(run_dir, base_run, results_are_declared):
    manifest = json.loads((run_dir / "manifest.json").read_text())
    assert manifest["kind"] == "math-sft"
    assert manifest["status"] == "finished"
    assert manifest["parent"]["run"] == str(base_run)
    assert manifest["parent"]["step"] == 2
    assert manifest["parent"]["hash"]
    results = manifest["results"]
    for task in ("level1", "level2"):
        assert results[f"eval/{task}/problems"] == results[f"before/eval/{task}/problems"] == 6
        assert 0 <= results[f"eval/{task}/accuracy"] <= 1
    assert results["data/real_share"] > 0.5
    assert results["val/loss"] < results["before/val/loss"]
    assert results["export/max_logit_difference"] < 1e-4
    results_are_declared(run_dir)


@pytest.mark.slow
def test_every_answer_is_kept(run_dir):
    for folder in ("evaluation-before", "evaluation"):
        rows = [json.loads(line) for line in (run_dir / folder / "level1.jsonl").read_text().splitlines()]
        assert len(rows) == 6
        assert all(row["outcome"] in ("right", "wrong", "unparsable") for row in rows)


@pytest.mark.slow
def test_it_goes_on_exactly_where_it_was_stopped(run_dir, tmp_path, math_qwen, base_run):
    other = tmp_path / "run"
    words = ("sft", "--config", math_qwen.recipe, "--from", base_run, "--run-dir", other)
    process = math_qwen.start(*words)
    for line in process.stdout:
        if line.startswith("step 1/"):
            process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 75
    math_qwen(*words)
    assert trajectory(other) == trajectory(run_dir)
    weights = [path / "export/model.safetensors" for path in (run_dir, other)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_without_from_it_takes_the_base_run_of_its_name(math_qwen, tmp_path, base_run):
    done = math_qwen("sft", "--config", "tiny", check=2, cwd=tmp_path)
    assert done.stderr.strip().endswith(
        "runs/base-pretrain/tiny: no run there to start from; `qwen-base pretrain --config tiny` makes it, or --from "
        "names another model"
    )
    (tmp_path / "runs/base-pretrain").mkdir(parents=True)
    (tmp_path / "runs/base-pretrain/tiny").symlink_to(base_run)
    assert f"from {base_run}@2" in math_qwen("sft", "--plan", cwd=tmp_path).stdout


def test_show_batch_shows_and_leaves_nothing(math_qwen, tmp_path, base_run):
    shown = math_qwen("sft", "--config", math_qwen.recipe, "--from", base_run, "--show-batch", "2", cwd=tmp_path).stdout
    assert shown.count("sample ") == 2
    assert "<|im_start|>assistant⏎" in shown
    assert not list(tmp_path.iterdir())


def test_a_wrong_task_is_known_before_anything_is_loaded(math_qwen, tmp_path, base_run):
    words = ("sft", "--config", math_qwen.recipe, "--from", base_run, "--run-dir", tmp_path / "run", "tasks=level7")
    error = math_qwen(*words, check=2).stderr.strip()
    assert "level7" in error
    assert "level1" in error
    assert "\n" not in error
    assert not (tmp_path / "run/recipe.yaml").exists()


def test_more_shots_than_there_are_are_known_to_the_plan(math_qwen, tmp_path, base_run):
    words = ("sft", "--config", math_qwen.recipe, "--from", base_run, "--run-dir", tmp_path / "run", "--plan")
    error = math_qwen(*words, "evaluation.shots=99", check=2).stderr
    assert "evaluation.shots=99: there are" in error and error.count("\n") == 1


def test_tasks_need_an_export(math_qwen, tmp_path, base_run):
    words = ("sft", "--config", math_qwen.recipe, "--from", base_run, "--run-dir", tmp_path / "run", "export=none")
    assert "export=none leaves no model to ask" in math_qwen(*words, check=2).stderr


@pytest.mark.slow
def test_a_trial_leaves_the_run_s_results_alone(run_dir, math_qwen):
    """Fewer problems than the recipe says are no figure of the run; other tasks, asked as it says, are."""
    before = json.loads((run_dir / "manifest.json").read_text())["results"]
    done = math_qwen("evaluate", run_dir, "tasks=level1", "evaluation.limit=2")
    assert "its results stay as they are" in done.stdout
    assert json.loads((run_dir / "manifest.json").read_text())["results"] == before
    assert len((run_dir / "evaluation-trial/level1.jsonl").read_text().splitlines()) == 2
    assert len((run_dir / "evaluation/level1.jsonl").read_text().splitlines()) == 6
    math_qwen("evaluate", run_dir, "tasks=level3")
    after = json.loads((run_dir / "manifest.json").read_text())["results"]
    assert after.keys() > before.keys()
    assert all(after[name] == value for name, value in before.items())


def trajectory(run_dir):
    names = ("step", "data/samples", "train/loss", "train/grad_norm", "train/loss_tokens", "val/loss")
    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [tuple(record.get(name) for name in names) for record in records]
