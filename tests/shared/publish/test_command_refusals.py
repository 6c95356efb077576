"""What is not published is refused in one line with exit 2, before anything heavy is imported or written."""

import errno
import json
import os

import pytest


def refused(done, *words):
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("qwen-base publish: error: ")
    for word in words:
        assert word in done.stderr


def test_no_run(publish, tmp_path):
    refused(publish(tmp_path / "nowhere"), "nowhere", "no such run")
    refused(publish(tmp_path), "not a run", "manifest.json")


@pytest.mark.parametrize("status", ["running", "stopped", "failed"])
def test_a_run_that_is_not_finished(publish, make_run, status):
    run = make_run(status=status)
    refused(publish(run), f"is {status}, not finished", "qwen-base pretrain")


def test_no_such_step(publish, make_run):
    run = make_run()
    refused(publish(f"{run}@15"), "no checkpoint of step 15", "10, 20")
    refused(publish(f"{run}@last"), "'last' is not a step")
    refused(publish(make_run("bare", steps=())), "no checkpoint is left")


def test_the_last_checkpoint_is_gone(publish, make_run):
    """What was measured of step 20 says nothing of step 10."""
    run = make_run(steps=(10,))
    (run / "metrics.jsonl").write_text(json.dumps({"step": 20, "tokens": 1, "val/loss": 2.0}) + "\n")
    refused(publish(run), "its last step, 20, is gone", f"{run}@10 is an earlier one")


@pytest.mark.parametrize("recipe", [None, "", "- a\n", "tokenizer: default\n", "\xff"])
def test_the_recipe_is_damaged(publish, make_run, recipe):
    run = make_run()
    (run / "recipe.yaml").unlink()
    if recipe is not None:
        (run / "recipe.yaml").write_text(recipe, encoding="latin-1")
    refused(publish(run), "recipe.yaml")


def test_nothing_was_measured(publish, make_run):
    for kind, results in (
        ("base-pretrain", {"train/loss": 1.0}),
        ("math-sft", {"val/loss": 1.0}),
        ("chat-ppo", {"val/loss": 1.0}),
    ):
        run = make_run(kind, kind=kind, command="math-qwen sft", results=results)
        refused(publish(run), "nothing says how good", f"`math-qwen evaluate {run}`", "--without-evaluation")


def test_an_earlier_step_was_not_measured_by_what_was_said_of_the_last(publish, make_run):
    run = make_run()
    (run / "metrics.jsonl").write_text(json.dumps({"step": 10, "tokens": 1, "train/loss": 2.0}) + "\n")
    refused(publish(f"{run}@10"), "nothing says how good")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "hf://name"], ["hf://name", "hf://ORG/NAME"]),
        (["--to", "hf://org/name/more"], ["hf://ORG/NAME"]),
        (["--to", "wandb://entity/project"], ["wandb://ENTITY/PROJECT/NAME"]),
        (["--to", "hf:org/name"], ["hf://ORG/NAME"]),
        (["--to", "s3://bucket/name"], ["s3://bucket/name", "a directory", "hf://ORG/NAME"]),
        (["--licence", "all rights reserved"], ["all rights reserved", "apache-2.0"]),
        (["--quantise", "int3"], ["int3", "int8 and int4"]),
    ],
)
def test_words(publish, make_run, words, said):
    refused(publish(make_run(), *words), *said)


@pytest.mark.parametrize("place", [".", "export/sub", "checkpoints/new", "published/sub", "published-00000020"])
def test_a_run_s_own_places(publish, make_run, tmp_path, place):
    one, two = make_run(), make_run("two")
    for run in (one, two):
        refused(publish(one, "--to", run / place), f"inside the run {run}, ", f"for {one / 'published'},")
        refused(publish(one, "--plan", "--to", run / place), "inside the run")
    (tmp_path / "link").symlink_to(two / "export", target_is_directory=True)
    refused(publish(one, "--to", tmp_path / "link" / "sub"), f"inside the run {two}, ")
    refused(publish(one, "--to", two / "published"), f"inside the run {two}, ")
    assert publish(one, "--to", one / "published", "--plan").returncode == 0
    assert publish(f"{one}@10", "--to", one / "published-00000010", "--plan", "--without-evaluation").returncode == 0


def test_a_place_within_a_file(publish, make_run, tmp_path):
    (tmp_path / "file").touch()
    refused(publish(make_run(), "--plan", "--to", tmp_path / "file" / "x"), f"{tmp_path / 'file'} is a file")


def test_a_reward_model_is_not_quantised(publish, make_run):
    run = make_run(kind="chat-reward", results={"eval/accuracy": 0.9})
    refused(publish(run, "--quantise", "int8"), "a reward model")


def test_a_kind_that_no_installed_package_knows_names_its_command(publish, make_run):
    run = make_run(kind="song-sft", command="song-qwen sft")
    refused(publish(run), "a run of song-sft", "`song-qwen`")


def test_a_run_of_another_package(publish, make_run):
    run = make_run(kind="chat-ppo", command="qwen-chat ppo", results={"gain/reward": 1.0})
    assert "would publish chat-ppo/one at step 20" in publish(run, "--plan").stdout


def test_the_target_holds_something_else(publish, make_run, tmp_path):
    target = tmp_path / "somewhere"
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    refused(publish(make_run(), "--to", target), "somewhere", "not published here")
    assert [path.name for path in target.iterdir()] == ["thesis.tex"]
    refused(publish(make_run("two"), "--to", target / "thesis.tex"), "a file")


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({"name": "one", "step": 30}, ["holds base-pretrain/one at step 30", "this is step 20", "--replace"]),
        ({"name": "other", "step": 5, "created": "2027-01-01T00:00:00+00:00"}, ["base-pretrain/other", "later"]),
    ],
)
def test_the_target_holds_something_newer(publish, make_run, tmp_path, there, said):
    run = make_run()
    created = json.loads((run / "manifest.json").read_text())["created"]
    (tmp_path / "there").mkdir()
    certificate = {"run": {"kind": "base-pretrain", "created": created} | there}
    (tmp_path / "there" / "certificate.json").write_text(json.dumps(certificate))
    refused(publish(run, "--to", tmp_path / "there"), *said)


@pytest.mark.parametrize(
    "run", [1, {"kind": "k", "name": "n", "created": "2026", "step": "x"}, {"kind": "k", "step": 1}, {}]
)
def test_a_certificate_that_says_nothing_is_not_ours(publish, make_run, tmp_path, run):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "certificate.json").write_text(json.dumps({"run": run}))
    refused(publish(make_run(), "--to", tmp_path / "there"), "not published here")


def test_what_a_file_says_does_not_steer_the_terminal(publish, make_run, tmp_path):
    (tmp_path / "there").mkdir()
    run = {"kind": "\x1b]0;title\x07\x1b[2J", "name": "x", "created": "9999", "step": 1}
    (tmp_path / "there" / "certificate.json").write_text(json.dumps({"run": run}))
    done = publish(make_run(), "--to", tmp_path / "there")
    refused(done, "title", "later")
    assert "\x1b" not in done.stderr


def test_a_place_where_another_run_is_being_published(publish, make_run, tmp_path):
    from qwen_shared.run.lock import lock_target

    with lock_target(tmp_path / "there"):
        refused(publish(make_run(), "--to", tmp_path / "there"), "there is being published by another process")
    assert not (tmp_path / "there").exists()


def test_a_plan_does_nothing(publish, make_run, tmp_path):
    run = make_run()
    done = publish(run, "--to", tmp_path / "there", "--plan")
    assert done.returncode == 0
    assert done.stdout == f"would publish base-pretrain/one at step 20 in {tmp_path / 'there'}\n"
    assert not (tmp_path / "there").exists() and not (run / "published").exists()
    refused(publish(f"{run}@10", "--plan"), "nothing says how good")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_line_and_no_failed_proof(publish, make_run, tmp_path, monkeypatch, number):
    """Wherever it is met: beside the target, and where the files are compared."""
    from qwen_shared.publish import command, parity

    problem = os.strerror(number)

    def full(*words, **more):
        raise OSError(number, problem, str(tmp_path / "there" / "file"))

    monkeypatch.setattr(command, "_assemble", full)
    refused(publish(make_run(), "--to", tmp_path / "there"), f"there/file: {problem}")
    monkeypatch.setattr(parity, "certify", full)
    with pytest.raises(OSError, match=problem):
        command._certify(None, tmp_path, tmp_path, None)
